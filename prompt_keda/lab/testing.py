"""The project's own test run: static checks, unit, contract and stack tests. Prints what each took.

It lies beside the layers, not in them: only `tasks.py` calls it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from prompt_keda.core.event import Event, EventKind
from prompt_keda.core.places import ROOT
from prompt_keda.report import as_junit
from prompt_keda.report.progress import Progress

OF_THE_STACK = (
    "test_audit",
    "test_deep",
    "test_drills",
    "test_events",
    "test_faults",
    "test_lab",
    "test_latency",
    "test_network",
    "test_recovery",
    "test_rights",
    "test_secrets",
    "test_secrets_of_a_run",
    "test_terminal",
)
"""Tests of the stack itself, or that break it: they are not run a second time from the desk."""


def run(exhaustive: bool, junit: str = "") -> int:
    """Run everything, and give the exit code: 0 if all passed.

    A stack that was not up before is taken down afterwards. The stack's tests run twice: as its own user, and as
    production's operators see a cluster (environment prodlike).

    Parameters
    ----------
    exhaustive
        Also the tests marked ``exhaustive``.
    junit
        File for the results as JUnit XML; empty: none.
    """
    with TemporaryDirectory(prefix="prompt-keda-test-") as folder:
        parts = Path(folder)
        progress = Progress()
        try:
            code = _run(exhaustive, parts, progress)
        finally:
            progress.close()
        if junit:
            Path(junit).write_text(as_junit.merge(sorted(parts.glob("*.xml"))))
    return code


def _run(exhaustive: bool, parts: Path, progress: Progress) -> int:
    from prompt_keda.lab import stack, state

    selection = [] if exhaustive else ["-m", "not exhaustive"]

    def pytest(name: str, *paths: str, environment: str = "local") -> bool:
        results = [f"--junit-xml={parts / f'{name}.xml'}", "-o", f"junit_suite_name={name}"]
        argv = [sys.executable, "-m", "pytest", "-q", *selection, *results, *paths]
        env = {"PROMPT_KEDA_TEST_ENV": environment, "PROMPT_KEDA_TEST_NOT_RUN": str(parts / f"{name}.not-run")}
        return _passes(name, argv, progress, env)

    quick = [
        ("ruff", [sys.executable, "-m", "ruff", "check", "."]),
        ("mypy", [sys.executable, "-m", "mypy"]),
        ("import-linter", [str(Path(sys.executable).parent / "lint-imports")]),
    ]
    failed = [name for name, argv in quick if not _passes(name, argv, progress)]
    if not pytest("unit", "tests/unit"):
        failed.append("unit")
    if failed:
        return _end(failed, parts, progress)  # no need to build a cluster to know that this is wrong
    found = state.status()["state"]
    try:
        if found != "up":
            stack.up(progress)
        if not pytest("stack", "tests/contracts", "tests/stack"):
            failed.append("stack")
        ignored = [f"--ignore=tests/stack/{name}.py" for name in OF_THE_STACK]
        if not pytest("prodlike", "tests/stack", *ignored, environment="prodlike"):
            failed.append("prodlike")
    finally:
        if found == "down":
            stack.down(progress)
    return _end(failed, parts, progress)


def _passes(name: str, argv: list[str], progress: Progress, env: Mapping[str, str] | None = None) -> bool:
    started = time.monotonic()
    progress(Event(EventKind.NOTE, f"test/{name}", "working", "begins"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    code = subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode
    verdict = "ok" if code == 0 else "fail"
    took = time.monotonic() - started
    progress(Event(EventKind.FINISHED, f"test/{name}", verdict, f"exit code {code}", took))
    return code == 0


def _end(failed: list[str], parts: Path, progress: Progress) -> int:
    """Say how it ended. What was skipped or left out is named: it is not proven."""
    not_proven = [*_skipped(parts), *_left_out(parts)]
    for one in not_proven:
        progress(Event(EventKind.NOTE, "test/not-proven", "unknown", one))
    said = f"failed: {', '.join(failed)}" if failed else "all that ran passed"
    said += f"; {len(not_proven)} not proven" if not_proven else ""
    progress(Event(EventKind.FINISHED, "test", "fail" if failed else "ok", said))
    return 1 if failed else 0


def _skipped(parts: Path) -> Iterator[str]:
    for file in sorted(parts.glob("*.xml")):
        for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314  pytest has just written it
            skipped = case.find("skipped")
            if skipped is not None:
                yield f"{file.stem}: {case.get('classname')}.{case.get('name')}: {skipped.get('message')}"


def _left_out(parts: Path) -> Iterator[str]:
    for file in sorted(parts.glob("*.not-run")):
        for name in file.read_text().splitlines():
            yield f"{file.stem}: {name}: only with --exhaustive"
