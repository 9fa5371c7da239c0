"""The project's own test run: static checks, unit, contract and stack tests. Prints what each took.

It lies beside the layers, not in them: only `tasks.py` calls it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from xml.etree import ElementTree

from prompt_keda.core.errors import Refusal
from prompt_keda.core.event import Event, EventKind
from prompt_keda.core.places import ROOT, TASKS, state_home
from prompt_keda.lab.machine import Machine
from prompt_keda.report import as_junit
from prompt_keda.report.progress import ProgressPrinter

AT_STACK, AT_DESK = "not desk_first", "viewpoint or desk_first or desk_only"
"""What is run there by its markers, which pyproject.toml explains; with --exhaustive everything that can be."""
STOP_S = 30
"""Time to tidy up for what is stopped."""
BESIDE_S = 1200
"""Time for what runs beside other tests once these have ended: one that hangs must not take the whole run with it."""
IN_PARALLEL = ("-n", "auto", "--maxprocesses", "4")
"""Of unit tests, which share nothing (pytest-xdist): each process collects them all, so that many of them gain nothing."""
ON_TWO_STACKS = ("-n", "2", "--dist", "loadfile", "--max-worker-restart", "0")
"""Of stack tests, which mostly wait: each process has a stack of its own (tests/stack/conftest.py), a file's tests share one."""
LAST_FAILED = ("--last-failed", "--last-failed-no-failures", "none")
SLOWEST = 15
"""So many of the slowest tests are named; JUnit has the times of all."""


def run(quick: bool, exhaustive: bool, junit: str = "") -> int:
    """Run everything, and return the exit code: 0 if all passed.

    A stack that was not up before is taken down afterwards. The stack's tests run as its own user; those that depend on
    who looks from where run once more as production's operators see a cluster (environment prodlike).

    Parameters
    ----------
    quick
        Static checks and unit tests alone.
    exhaustive
        Also the tests marked ``exhaustive``, all that can be run from the desk, and the others once more on stacks by kind.
    junit
        File for the results as JUnit XML; empty: none.

    Raises
    ------
    Refusal
        When who is not root on Debian asks for more than the quick ones: those bring up stacks, an engine and a desk.
    """
    from prompt_keda.lab import requirements

    if not quick and (os.geteuid() or not requirements.is_debian()):
        what = f"the tests on the local stack need root on Debian {requirements.DEBIAN_VERSION} or newer"
        raise Refusal(what, "./run test --quick runs static checks and unit tests alone.")
    with TemporaryDirectory(prefix="prompt-keda-test-") as folder:
        progress = ProgressPrinter()
        tests = _TestRun(Path(folder), exhaustive, progress)
        try:
            tests.run_quick()
            if not (quick or tests.failed):  # no need to build a cluster to know that something is wrong
                tests.run_on_stack()
            tests.end(quick)
        finally:
            progress.close()
        if junit:
            Path(junit).write_text(as_junit.merge(sorted(tests.folder.glob("*.xml"))))
    return 1 if tests.failed else 0


@dataclass
class _TestRun:
    """One run: its folder for what pytest writes, the parts that have failed, and the tests that passed only when run again."""

    folder: Path
    exhaustive: bool
    progress: ProgressPrinter
    failed: list[str] = field(default_factory=list)
    passed_again: list[str] = field(default_factory=list)

    def run_quick(self) -> None:
        """Run the static checks and the unit tests, the slowest of both side by side; and build the docs' site."""
        self._run("ruff", [sys.executable, "-m", "ruff", "check", "."])
        self._run("import-linter", [str(Path(sys.executable).parent / "lint-imports")])
        site = [sys.executable, "-m", "prompt_keda.lab.docs_site"]
        with self._beside("mypy", [sys.executable, "-m", "mypy"]), self._beside("docs", site):
            self._run("unit", self._pytest("unit", *IN_PARALLEL, "tests/unit"))

    def run_on_stack(self) -> None:
        """Run what needs the local stack, and beside it the contract tests that bring servers of their own."""
        from prompt_keda.lab import stack, state

        before = state.status().state
        try:
            if before != "up":
                stack.up(self.progress)
            with (
                self._second_stack(),
                self._beside("contracts", self._pytest("contracts", "tests/contracts", only="not stack_only")),
            ):
                self._run("api-server", self._pytest("api-server", "tests/contracts", only="stack_only"))
                self._run_stack_tests("stack", AT_STACK)
                self._run_stack_tests("prodlike", AT_DESK, PROMPT_KEDA_TEST_ENV="prodlike")
        finally:
            if before == "down":
                stack.down(self.progress)
        if self.exhaustive:
            only = f"not exhaustive and {AT_STACK}"
            by_kind = self._pytest("kind", "--provider", "kind", *ON_TWO_STACKS, "tests/stack", only=only)
            self._run("kind", by_kind, PROMPT_KEDA_LAB="by-kind")

    def _run_stack_tests(self, name: str, by_default: str, **variables: str) -> None:
        """Run the stack tests by their markers; those that fail while the machine stands still once more, one after the other."""
        kept = ("-o", f"cache_dir={self.folder / f'{name}.cache'}", "tests/stack")
        machine = Machine()
        self._run(name, self._pytest(name, *ON_TWO_STACKS, *kept, by_default=by_default), **variables)
        load = machine.since_last()
        if name in self.failed and load.is_standstill:
            self.progress(Event(EventKind.NOTE, f"test/{name}", "unknown", f"the machine stood still: {load}"))
            again = f"{name}-again"
            variables |= {"PROMPT_KEDA_TEST_NOT_RUN": ""}  # what is left out now has run
            self._run(again, self._pytest(again, *LAST_FAILED, *kept, by_default=by_default), **variables)
            if again not in self.failed:
                self.failed.remove(name)
                self.passed_again += [
                    f"{test}: failed while the machine stood still, and passed again"
                    for test in _failed(self.folder / f"{name}.xml")
                ]

    @contextmanager
    def _second_stack(self) -> Iterator[None]:
        """Bring up the stack of the second process, and take it down. One that a killed run has left is cleared first."""
        lab = [sys.executable, str(TASKS)]
        variables = second_stack()
        self._run("second-stack", [*lab, "lab.down"], **variables)
        try:
            self._run("second-stack", [*lab, "lab.up"], **variables)
            yield
        finally:
            self._run("second-stack", [*lab, "lab.down"], **variables)

    def end(self, quick: bool) -> None:
        """Print how it ended. What was skipped, left out or not come to is named: it is not verified."""
        lines = [*not_verified(self.folder, quick), *self.passed_again]
        for line in lines:
            self.progress(Event(EventKind.NOTE, "test/not-verified", "unknown", line))
        end = f"failed: {', '.join(self.failed)}" if self.failed else "all that ran passed"
        end += f"; {len(lines)} not verified" if lines else ""
        self.progress(Event(EventKind.FINISHED, "test", "fail" if self.failed else "ok", end))

    def _pytest(self, name: str, *words: str, only: str = "", by_default: str = "") -> list[str]:
        """Return a command line of pytest that ends with ``words``: the tests that markers select, and a file of its results."""
        wanted = [only] if self.exhaustive else [only, by_default, "not exhaustive"]
        selection = " and ".join(f"({expression})" for expression in wanted if expression)
        markers = ["-m", selection] if selection else []
        results = [f"--junit-xml={self.folder / f'{name}.xml'}", "-o", f"junit_suite_name={name}"]
        slowest = [f"--durations={SLOWEST}", "--durations-min=1"]
        return [sys.executable, "-m", "pytest", "-q", *markers, *slowest, *results, *words]

    def _run(self, name: str, argv: Sequence[str], **variables: str) -> None:
        began = self._begins(name)
        code = subprocess.run(argv, cwd=ROOT, env=self._variables(name, **variables), check=False).returncode
        self._ended(name, code, time.monotonic() - began)

    @contextmanager
    def _beside(self, name: str, argv: Sequence[str]) -> Iterator[None]:
        """Run a command beside the block. What it prints is shown when both have ended, not in the middle of the other's."""
        began, env = self._begins(name), self._variables(name)
        with (
            TemporaryFile() as printed,
            subprocess.Popen(argv, cwd=ROOT, env=env, stdout=printed, stderr=subprocess.STDOUT) as running,
        ):
            try:
                yield
                running.wait(BESIDE_S)
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGABRT)  # pytest then prints where each thread stands
                running.wait()
            finally:
                _stop(running)
                printed.seek(0)
                sys.stdout.write(printed.read().decode(errors="replace"))
                sys.stdout.flush()
        self._ended(name, running.returncode, time.monotonic() - began)

    def _variables(self, name: str, **more: str) -> dict[str, str]:
        own = {"PROMPT_KEDA_TEST_ENV": "local", "PROMPT_KEDA_TEST_NOT_RUN": str(self.folder / f"{name}.not-run")}
        return {**os.environ, "PYTHONPATH": str(ROOT), **own, **more}

    def _begins(self, name: str) -> float:
        self.progress(Event(EventKind.NOTE, f"test/{name}", "working", "begins"))
        return time.monotonic()

    def _ended(self, name: str, code: int, took_s: float) -> None:
        if code:
            self.failed.append(name)
        verdict = "fail" if code else "ok"
        self.progress(Event(EventKind.FINISHED, f"test/{name}", verdict, f"exit code {code}", took_s))


def second_stack() -> dict[str, str]:
    """Return the variables of whoever works on the tests' second stack: its name, and a state folder that no other stack shares."""
    return {"PROMPT_KEDA_LAB": "beside", "XDG_STATE_HOME": str(state_home() / "prompt-keda" / "beside")}


def _stop(running: subprocess.Popen[bytes]) -> None:
    """End a process as Ctrl-C does, so that it takes down its own servers; one that ignores that is killed."""
    if running.poll() is not None:
        return
    running.send_signal(signal.SIGINT)
    try:
        running.wait(STOP_S)
    except subprocess.TimeoutExpired:
        running.kill()


def not_verified(folder: Path, quick: bool) -> Iterator[str]:
    """Return a line for each test that was skipped, each that was left out with its cases, and each part not come to.

    Parameters
    ----------
    folder
        With the files of pytest's runs: their JUnit, and what each has left out (tests/conftest.py).
    quick
        Whether only the quick parts were meant to run.
    """
    yield from _skipped(folder)
    yield from _left_out(folder)
    if not (folder / "stack.xml").exists():
        why = "without --quick" if quick else "once static checks and unit tests pass"
        yield f"contract tests, stack tests, and those at the desk: they run {why}"


def _skipped(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*.xml")):
        for test, skipped in _cases(file, "skipped"):
            yield f"{test}: {skipped.get('message')}"


def _failed(file: Path) -> Iterator[str]:
    for how in ("failure", "error"):
        yield from (test for test, _ in _cases(file, how))


def _cases(file: Path, how: str) -> Iterator[tuple[str, ElementTree.Element]]:
    """Return the tests of a JUnit file that ended in one way, by part and name, each with what is said of that."""
    for case in ElementTree.parse(file).iter("testcase"):  # noqa: S314  pytest has just written it
        if (end := case.find(how)) is not None:
            yield f"{file.stem}: {case.get('classname')}.{case.get('name')}", end


def _left_out(folder: Path) -> Iterator[str]:
    at_stack_alone = on_native_alone = 0
    exhaustive: Counter[str] = Counter()
    for file in sorted(folder.glob("*.not-run")):
        for line in file.read_text().splitlines():
            why, _, test = line.partition(" ")
            if file.stem == "prodlike":
                at_stack_alone += why == "viewpoint"
            elif file.stem == "kind":
                on_native_alone += why == "exhaustive"
            elif why == "exhaustive":
                exhaustive[f"{file.stem}: {test.partition('[')[0]}"] += 1
    for test, count in exhaustive.items():
        yield f"{test}{f' ({count} cases)' if count > 1 else ''}: only with --exhaustive"
    if at_stack_alone:
        yield f"prodlike: {at_stack_alone} tests ran as the stack's own user alone; at the desk only with --exhaustive"
    if on_native_alone:
        yield f"kind: {on_native_alone} exhaustive tests ran on native alone"
