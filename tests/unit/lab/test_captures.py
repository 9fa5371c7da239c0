"""What is kept of terminals in docs/ fits one, and begins with what matters. `./run lab.captures` makes it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from prompt_keda.lab.captures import DOCS, FAULTS, SCENES
from prompt_keda.lab.drills.drill import runbook_of
from prompt_keda.lab.faults import fault_of
from prompt_keda.lab.terminal import COLUMNS

ASKED_FOR = {
    "healthy",
    "redis-away",
    "api-server-away",
    "keda-deleted",
    "plan-healthy",
    "plan-namespace-deleted",
    "redeploy",
    "redeploy-in-ci",
}
LINES = {name: most for scene in SCENES for name, most in scene.lines.items()}
CATEGORIES = {"cluster", "identity", "vault", "redis", "images", "keda", "capacity", "scaling"}
PICTURES = ("check-deps.svg", "check-deps-redis-away.svg", "plan.svg")


def kept(name):
    return (DOCS / "captures" / f"{name}.txt").read_text().splitlines()


def names():
    folder = DOCS / "captures"
    return {str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.txt")}


@pytest.mark.parametrize("name", sorted(names()))
def test_a_capture_fits_a_terminal(name):
    """So many lines at most, none wider than 80 columns, the command in the first."""
    lines = kept(name)
    assert lines[0].startswith("$ ") and "./run " in lines[0]
    assert 1 < len(lines) <= LINES[name], "\n".join(lines)
    assert [line for line in lines if cell_len(line) > COLUMNS] == []


def test_nothing_is_kept_that_no_scene_makes():
    """And what people asked for is there."""
    assert ASKED_FOR <= names() <= set(LINES)


@pytest.mark.parametrize("id_", FAULTS)
def test_the_first_ten_lines_name_the_cause_and_the_next_command(id_):
    """Of ten faults: the check that detects it, and the runbook that answers it, in one piece that can be copied."""
    begin = kept(f"faults/{id_.replace('/', '-')}")[1:11]
    root = next(line for line in begin if line.startswith(("✗", "?", "!")))
    assert any(f" {check}:" in root for check in fault_of(id_).expected_checks), "\n".join(begin)
    assert any(line.endswith(f" ./run runbook {runbook_of(fault_of(id_))} --env local") for line in begin), begin


def test_the_ten_faults_are_of_all_categories():
    """Ten of them."""
    assert len(FAULTS) == 10 and {id_.split("/")[0] for id_ in FAULTS} == CATEGORIES


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_loads_nothing(name):
    """No font and no script from elsewhere."""
    picture = (DOCS / name).read_text()
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert "url(http" not in picture and "@font-face" not in picture and "<script" not in picture
