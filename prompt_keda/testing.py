"""The project's own test run: static checks, unit, contract and stack tests. Prints what each took.

It lies beside the layers, not in them: only `tasks.py` calls it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from prompt_keda.model.event import Event, EventKind
from prompt_keda.report.progress import Progress

ROOT = Path(__file__).parents[1]


def run(exhaustive: bool) -> int:
    """Run everything, and give the exit code: 0 if all passed.

    A stack that was not up before is taken down afterwards.

    Parameters
    ----------
    exhaustive
        Also the tests marked ``exhaustive``.
    """
    from prompt_keda.lab import stack, state

    progress = Progress()
    selection = [] if exhaustive else ["-m", "not exhaustive"]
    pytest = [sys.executable, "-m", "pytest", "-q", *selection]
    quick = [
        ("ruff", [sys.executable, "-m", "ruff", "check", "."]),
        ("mypy", [sys.executable, "-m", "mypy"]),
        ("import-linter", [str(Path(sys.executable).parent / "lint-imports")]),
        ("unit", [*pytest, "tests/unit"]),
    ]
    failed = [name for name, argv in quick if not _passes(name, argv, progress)]
    if failed:
        return _end(failed, progress)  # no need to build a cluster to know that this is wrong
    found = state.status()["state"]
    try:
        if found != "up":
            stack.up(progress)
        failed = [] if _passes("stack", [*pytest, "tests/contracts", "tests/stack"], progress) else ["stack"]
    finally:
        if found == "down":
            stack.down(progress)
    return _end(failed, progress)


def _passes(name: str, argv: list[str], progress: Progress) -> bool:
    started = time.monotonic()
    progress(Event(EventKind.NOTE, f"test/{name}", "working", "begins"))
    code = subprocess.run(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
    verdict = "ok" if code == 0 else "fail"
    took = time.monotonic() - started
    progress(Event(EventKind.FINISHED, f"test/{name}", verdict, f"exit code {code}", took))
    return code == 0


def _end(failed: list[str], progress: Progress) -> int:
    said = f"failed: {', '.join(failed)}" if failed else "all passed"
    progress(Event(EventKind.FINISHED, "test", "fail" if failed else "ok", said))
    return 1 if failed else 0
