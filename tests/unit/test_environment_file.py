"""Environment files: every fault is told with file, line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompt_keda.errors import EnvironmentFileError
from prompt_keda.files.environment_file import find_environment, load_environment, schema, unfilled

FOLDER = Path(__file__).parents[2] / "environments"
PROD = (FOLDER / "prod.yaml").read_text()


def fault(tmp_path, old, new):
    """Load prod.yaml with one change, and give what is said about it."""
    assert old in PROD
    file = tmp_path / "changed.yaml"
    file.write_text(PROD.replace(old, new, 1))
    with pytest.raises(EnvironmentFileError) as caught:
        load_environment(file, None)
    return caught.value.what


def line_of(text):
    return next(n for n, line in enumerate(PROD.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  port: 6379", "  prot: 6379", "redis.prot: unknown key; did you mean 'port'?"),
        ("  port: 6379", "  port: many", "redis.port: Input should be a valid integer"),
        ("  port: 6379", "  port: 70000", "less than or equal to 65535"),
        ("polling_interval: 2s", "polling_interval: 2x", "a duration is a whole number and a unit"),
        ("approval: digest", "approval: maybe", "'none', 'confirm' or 'digest'"),
        ("approval: digest", "", "approval: this key is missing"),
        ("approval: digest", "approval: digest\napproval: none", "'approval' stands here twice"),
        ("name: prod", "name: !!python/object:os.system x", "tag"),
        ("name: prod", "name: [", "this is no YAML"),
    ],
)
def test_a_fault_is_told_with_its_kind(tmp_path, old, new, said):
    """Unknown key, wrong type, range, duration, choice, missing, duplicate, tag, syntax."""
    assert said in fault(tmp_path, old, new)


def test_a_fault_is_told_with_line_and_column(tmp_path):
    """The place is that of the key in the file, counted from 1."""
    assert f"changed.yaml:{line_of('  port: 6379')}:3: redis.port" in fault(tmp_path, "  port: 6379", "  port: x")


def test_all_faults_are_told_at_once(tmp_path):
    """A person corrects a file once, not once for each fault."""
    file = tmp_path / "two.yaml"
    file.write_text(PROD.replace("port: 6379", "port: x").replace("approval: digest", "approval: x"))
    with pytest.raises(EnvironmentFileError) as caught:
        load_environment(file, None)
    assert len(caught.value.what.splitlines()) == 2


def test_an_unknown_environment_names_the_nearest():
    """A typing error is answered with what was probably meant."""
    with pytest.raises(EnvironmentFileError) as caught:
        find_environment("prd", FOLDER)
    assert "Did you mean prod?" in caught.value.fix


def test_the_local_environment_without_a_stack_says_how_to_get_one():
    """${lab:…} cannot be filled in while the stack is down."""
    with pytest.raises(EnvironmentFileError) as caught:
        load_environment(FOLDER / "local.yaml", None)
    assert "lab.up" in caught.value.fix


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_what_is_not_public_is_marked(name):
    """dev and prod load, and say which values are still to be filled in; never a guess."""
    wanted = dict(unfilled(load_environment(FOLDER / f"{name}.yaml", None)))
    assert "kubernetes.identity.ca_sha256" in wanted and "smoke.image" in wanted


def test_the_schema_file_is_current():
    """environments/environment.schema.json is what the model gives."""
    assert (FOLDER / "environment.schema.json").read_text() == schema()
