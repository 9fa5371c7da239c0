"""The rules of the house, held by tests."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from prompt_keda import components, redeploy
from prompt_keda.commands import reference
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.check import Check
from prompt_keda.core.event import Event, EventKind
from prompt_keda.core.plan import Step
from prompt_keda.core.untrusted import neutral
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.redeploy.planner import STEPS
from prompt_keda.report.progress import ProgressPrinter

ROOT = Path(__file__).parents[2]
LIBRARY = sorted((ROOT / "prompt_keda").rglob("*.py"))
IDS = {check.id for check in (*ALL_CHECKS, *STEPS, *ALL_FAULTS)}


def test_tasks_import_invoke_alone():
    """And what costs nothing: listing the tasks stays fast."""
    tree = ast.parse((ROOT / "tasks.py").read_text())
    modules = {n.module for n in tree.body if isinstance(n, ast.ImportFrom)}
    modules |= {a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names}
    assert modules == {"__future__", "importlib", "inspect", "os", "signal", "sys", "typing", "invoke"}


def test_the_library_neither_prints_nor_weakens():
    """No print, no shell, no TLS without verification."""
    for path in LIBRARY:
        text = path.read_text()
        for forbidden in (r"(?<![.\w])print\(", r"shell\s*=\s*True", r"verify\s*=\s*False", r"CERT_NONE"):
            assert not re.search(forbidden, text), f"{path.name}: {forbidden}"


def test_every_task_has_a_line_of_help():
    """`invoke --list` explains each."""
    done = subprocess.run(
        [sys.executable, "tasks.py", "--list", "--list-format=json"], cwd=ROOT, capture_output=True, text=True
    )
    listed = json.loads(done.stdout)
    tasks = listed["tasks"] + [task for sub in listed["collections"] for task in sub["tasks"]]
    assert len(tasks) >= 10 and all(task["help"] for task in tasks)


def test_the_folders_of_unit_tests_are_those_of_the_package():
    """A test lies where what it tests does; beside the folders only what is about no part of the package."""
    unit = ROOT / "tests" / "unit"
    folders = {str(path.parent.relative_to(unit)) for path in unit.rglob("test_*.py")}
    assert sorted(folder for folder in folders if not (ROOT / "prompt_keda" / folder).is_dir()) == []
    beside = {"alerts", "house_rules", "leaks", "tasks", "wheel"}
    assert {path.stem.removeprefix("test_") for path in unit.glob("test_*.py")} == beside


def test_every_check_is_unique_and_what_it_names_exists():
    """Its function is named as its id, a title is a sentence, needs and runbooks exist, and its page says what it looks at."""
    ids, titles = [check.id for check in ALL_CHECKS], [check.title for check in ALL_CHECKS]
    assert len(set(ids)) == len(ids) >= 80
    assert len(set(titles)) == len(titles)
    for check in ALL_CHECKS:
        assert check.title[0].isupper(), check.id
        assert check.run.__name__ == check.id.partition("/")[2].replace("-", "_"), check.id
        assert set(check.needs) <= set(ids), check.id
        assert "\n\nCause: " in check.page and not check.page.startswith("\n"), check.id
        assert not check.runbook or (ROOT / "runbooks" / f"{check.runbook}.md").is_file(), check.id


def test_every_decorated_check_is_offered():
    """A file with a check that the catalogue does not name would be looked at by nobody."""
    declared = set()
    for info in pkgutil.walk_packages(components.__path__, "prompt_keda.components."):
        declared |= {
            value.id for value in vars(importlib.import_module(info.name)).values() if isinstance(value, Check)
        }
    assert declared == {check.id for check in ALL_CHECKS}


def test_every_step_is_planned():
    """The steps of a file that the planner does not name would never run."""
    declared = set()
    for package in (components, redeploy):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(info.name)).values():
                declared |= {
                    step.id for step in (value if isinstance(value, tuple) else (value,)) if isinstance(step, Step)
                }
    assert declared == {step.id for step in STEPS}


def test_what_is_made_from_the_code_is_up_to_date():
    """`.venv/bin/python -m prompt_keda.commands.reference` makes it."""
    assert [path.name for path, text in reference.pages(ROOT).items() if path.read_text() != text] == []


def test_jobs_and_events_are_asked_for_in_pages():
    """There may be thousands of each: all at once they take the API server seconds, and this machine's memory."""
    sources = (
        (path.name, path.read_text()) for path in (ROOT / "prompt_keda").rglob("*.py") if "lab" not in path.parts
    )
    whole = re.compile(r"\.list\(\s*(JOBS|EVENTS)\b")
    assert [name for name, text in sources if whole.search(text)] == []


def pages():
    """Yield name and text of each page that tells of today: decisions and the changelog tell of their own day."""
    for path in (ROOT / name for name in tracked("*.md")):
        if path.name != "CHANGELOG.md" and path.parent.name != "decisions":
            # the one section that lists ids as they were before
            yield path.name, re.sub(r"### What changed with schema .*?(?=\n## )", "", path.read_text(), flags=re.DOTALL)


def tracked(*patterns):
    listing = ["git", "ls-files", "-z", "--", *patterns]
    return subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]


def is_an_id(name):
    """Return whether this is the id of a check, step or fault, or the start of one, as `--only` takes it.

    KEDA's own objects look the same, by namespace and name: keda/keda-operator.
    """
    return name.startswith("keda/keda-") or any(id_.startswith(name) for id_ in IDS)


def test_the_files_that_pages_name_exist():
    """With a folder before its name: `core/places.py` of the package, or a path from the root."""
    for page, text in pages():
        for name in re.findall(r"(?<![\w/>.-])(?:\w+/)+\w+\.py\b", text):
            assert (ROOT / name).is_file() or (ROOT / "prompt_keda" / name).is_file(), f"{page}: {name}"


def test_the_checks_steps_and_faults_that_pages_name_exist():
    """By the category or stage before the name: `keda/parts-ready`, or `keda/parts` of a command."""
    groups = "|".join(sorted({id_.split("/")[0] for id_ in IDS}))
    for page, text in pages():
        named = re.findall(rf"(?<![\w./-])(?:{groups})/[a-z][a-z0-9-]*\b(?![\w/.#])", text)
        assert [name for name in named if not is_an_id(name)] == [], page


def test_the_tests_that_pages_name_exist():
    """A file, or a test by the start of its name."""
    files = [ROOT / name for name in tracked("tests/*.py")]
    known = {path.stem for path in files}
    known |= {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)}
    for page, text in pages():
        for name in re.findall(r"\btest_\w+", text):
            assert any(test_name.startswith(name) for test_name in known), f"{page}: {name}"


def test_every_failure_mode_that_is_cited_is_defined_once():
    """A number has at most two digits: longer ones are ruff's."""
    rows = re.findall(r"^\| (F?\w+) \|", (ROOT / "docs/failure-modes.md").read_text(), re.MULTILINE)
    assert rows.pop(0) == "case" and all(re.fullmatch(r"F\d{1,2}", row) for row in rows)
    assert sorted(set(rows)) == sorted(rows)
    for name in tracked("*.py", "*.md", "*.yaml"):
        cited = set(re.findall(r"\bF\d{1,2}\b", (ROOT / name).read_text()))
        assert cited <= set(rows), f"{name}: {sorted(cited - set(rows))}"


def test_a_terminal_escape_from_outside_does_not_reach_the_terminal(capsys):
    """Control characters and direction marks are replaced."""
    assert neutral("a\x1b[31mb\u202ec\rd\ne") == "a\ufffd[31mb\ufffdc\ufffdd\ne"
    from prompt_keda.core.event import Event, EventKind

    ProgressPrinter()(Event(EventKind.FINISHED, "s", "done", "evil\x1b]0;title\x07"))
    assert "\x1b" not in capsys.readouterr().err


def test_no_tracked_file_names_this_machine():
    """A path of a machine or the host of a package registry is of no use to others."""
    names = tracked()
    hosts = ("pypi" + ".org", "proxy.golang" + ".org", "files.pythonhosted" + ".org", "/wo" + "rk/", "../sha" + "red")
    for name in names:
        text = (ROOT / name).read_text(errors="replace")
        assert not [host for host in hosts if host in text], name


def test_progress_goes_on_when_nobody_reads_it_any_more():
    """`redeploy 2>&1 | tee log`, and tee dies: the redeploy does not."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        progress = ProgressPrinter(stream)
        for _ in range(3):
            progress(Event(EventKind.NOTE, "a", "", "x" * 100_000))
        progress.close()
        with suppress(BrokenPipeError):
            stream.flush()
