"""One chaos round: a redeploy while events come and much goes wrong; afterwards everything has to be whole again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import TASKS
from prompt_keda.core.waiting import looks
from prompt_keda.lab.drills.chaos_acts import Acts
from prompt_keda.lab.drills.chaos_plan import KILL, STOP, Act, Round
from prompt_keda.lab.drills.delivery_audit import DeliveryAudit
from prompt_keda.lab.drills.drill import REVERT, until_green
from prompt_keda.lab.drills.job_watcher import JobWatcher
from prompt_keda.lab.drills.leftovers import leftovers
from prompt_keda.lab.drills.stack_runs import StackRuns
from prompt_keda.lab.drills.toolkit import Toolkit
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.report.failure import UNEXPECTED

MOST_TRIES = 4
"""So often people try again once nothing goes wrong any more."""
LOOK_S = 0.02
COMMAND_S, TIDY_S = 600.0, 30.0
"""A command may take so many seconds, and so many to tidy up when the chaos run is stopped."""
KNOWN_CODES = (0, 1, 2, 3, 130)
SIGNALS = {KILL: signal.SIGKILL, STOP: signal.SIGINT}


@dataclass
class RoundOutcome:
    """What a round has shown.

    Parameters
    ----------
    duration_s
        In seconds, with the wait for the last event.
    starts_count
        How often the toolkit was started until it ended well.
    not_done
        Acts that were not possible, each with the reason: nothing is said about them.
    problems
        What should not have been. Empty: every promise was kept.
    """

    round: Round
    duration_s: float = 0.0
    starts_count: int = 0
    events_sent: int = 0
    events_unseen: int = 0
    not_done: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def run_round(
    chaos_round: Round, stage: Stage, toolkit: Toolkit, runs: StackRuns, environment: str, observer: Observer
) -> RoundOutcome:
    """Run a round, and see whether every promise was kept. The stack is whole before, or this raises.

    Parameters
    ----------
    environment
        The path of the local stack's environment: by its name alone a redeploy would repair the stack itself.

    Raises
    ------
    DeadlinePassed
        When the stack is not green before.
    """
    until_green(toolkit, f"the steady state before round {chaos_round.number}", observer=observer)
    begun = time.monotonic()
    instruments = stage.environment.instruments
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        job_watcher = stack.enter_context(
            JobWatcher.at_work(lambda: stage.kube, [instrument.namespace for instrument in instruments])
        )
        pace = chaos_round.events_a_second
        audits = [stack.enter_context(DeliveryAudit.kept(stage, instrument, pace)) for instrument in instruments]
        acts = stack.enter_context(Acts.of(stage))
        running = _Round(chaos_round, stage, toolkit, runs, environment, observer, acts, folder)
        outcome = running.run(job_watcher, audits)
    outcome.duration_s = round(time.monotonic() - begun, 1)
    return outcome


class _Round:
    def __init__(
        self,
        chaos_round: Round,
        stage: Stage,
        toolkit: Toolkit,
        runs: StackRuns,
        environment: str,
        observer: Observer,
        acts: Acts,
        folder: Path,
    ) -> None:
        self.round, self.stage, self.toolkit, self.runs = chaos_round, stage, toolkit, runs
        self.environment, self.observer, self.acts, self.folder = environment, observer, acts, folder
        self.outcome = RoundOutcome(chaos_round)
        newest = runs.newest()
        self.before = newest[0] if newest else ""
        self.last_words, self.is_well = "", False
        self.left_before = set(leftovers(stage))

    def run(self, job_watcher: JobWatcher, audits: Sequence[DeliveryAudit]) -> RoundOutcome:
        self._report(f"mode {self.round.mode}, {self.round.events_a_second} events a second; {_words(self.round.acts)}")
        job_watcher.phase("the disruptions")
        for audit in audits:
            audit.recovery_begins()
        self._guarded(self._disrupt)
        self._guarded(self._look)
        job_watcher.phase(REVERT)
        self._guarded(self.acts.undo)
        job_watcher.phase("the recovery")
        self._guarded(self._recover)
        self._guarded(lambda: until_green(self.toolkit, "the steady state after it", may_be_slow=True))
        self._guarded(self._nothing_left)
        self._guarded(lambda: self._count(job_watcher, audits))
        self.outcome.not_done += self.acts.not_done
        self._report("; ".join(self.outcome.problems) or "every promise was kept")
        return self.outcome

    def _report(self, news: str) -> None:
        self.observer(Event(EventKind.NOTE, f"chaos/{self.round.seed}-{self.round.number}", "", news))

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except PromptKedaError as error:
            self.outcome.problems.append(error.what)

    def _disrupt(self) -> None:
        """Redeploy; at its entry each act disrupts it. What was killed is resumed; what ended badly waits for the recovery."""
        left = list(self.round.acts)
        command = ["redeploy", "--env", self.environment, "--mode", self.round.mode]
        while self._run(command, left) and left:
            command = self._next_command()
        for act in left:
            if act.kind in SIGNALS:
                self.outcome.not_done.append(f"{act}: the toolkit had ended before")
            else:
                self.acts.disrupt(act)

    def _next_command(self) -> list[str]:
        newest = self.runs.newest()
        if newest and newest[0] != self.before and newest[1]:
            return ["resume", "--env", self.environment, "--run", newest[0]]
        return ["redeploy", "--env", self.environment]

    def _run(self, command: Sequence[str], left: list[Act]) -> bool:
        """Run the toolkit, and let the acts disrupt it whose entry comes. Return whether one of them ended it."""
        self.outcome.starts_count += 1
        file = self.folder / f"{self.outcome.starts_count}.stderr"
        was_ended, was_killed = False, False
        with file.open("wb") as out, _toolkit(command, out) as process:
            for _ in looks(COMMAND_S, every_s=LOOK_S):
                if process.poll() is not None:
                    break
                while left and not was_ended and left[0].at_entry <= self._entries():
                    act = left.pop(0)
                    if act.kind in SIGNALS:
                        process.send_signal(SIGNALS[act.kind])
                        was_ended, was_killed = True, act.kind == KILL
                    else:
                        self.acts.disrupt(act)
            else:
                process.kill()
                process.wait()
                was_killed = True
                self.outcome.problems.append(f"{command[0]} did not end within {COMMAND_S:.0f} s")
        task = command[0]
        self.is_well = process.returncode == 0
        text = file.read_text(errors="replace")
        if process.returncode not in KNOWN_CODES and not (was_killed and process.returncode == -signal.SIGKILL):
            self.outcome.problems.append(f"{task} ended with {process.returncode}")
        if "Traceback" in text or UNEXPECTED in text:
            self.outcome.problems.append(f"{task} ended with an error of its own: {text.strip().splitlines()[-1]}")
        self.last_words = " / ".join(text.strip().splitlines()[-2:])
        return was_ended

    def _entries(self) -> int:
        newest = self.runs.newest()
        return newest[2] if newest and newest[0] != self.before else 0

    def _look(self) -> None:
        """What is broken, and what cannot be seen because of that, may not be green."""
        verdicts = {result.id: result.verdict.value for result in self.toolkit.look()}
        for fault in self.acts.still_injected:
            green = [id_ for id_ in fault.expected_checks if verdicts[id_] == "ok"]
            self.outcome.problems += [f"{id_} is green while {fault.title}" for id_ in green]

    def _recover(self) -> None:
        """What people do once nothing goes wrong any more: resume what was interrupted, else redeploy, until it is well."""
        for number in range(MOST_TRIES):
            command = self._next_command() if number < MOST_TRIES - 1 else ["redeploy", "--env", self.environment]
            self._run(command, [])
            if self.is_well:
                return
        self.outcome.problems.append(f"no redeploy ended well after {MOST_TRIES} tries: {self.last_words}")

    def _nothing_left(self) -> None:
        """Nothing of the toolkit's own may be left that was not there before."""
        left = [leftover for leftover in leftovers(self.stage) if leftover not in self.left_before]
        if left:
            self.outcome.problems.append(f"left behind: {', '.join(left)}")

    def _count(self, job_watcher: JobWatcher, audits: Sequence[DeliveryAudit]) -> None:
        reports = [audit.close() for audit in audits]  # this waits: what is lost meanwhile counts as well
        lost, ran = job_watcher.lost().items(), job_watcher.have_run()
        self.outcome.problems += [
            f"lost: {what} in {phase}" for uid, (phase, what) in lost if phase != REVERT or uid in ran
        ]
        for report in reports:
            self.outcome.events_sent += report.sent_count
            self.outcome.events_unseen += report.unseen_count
            self.outcome.problems += report.problems()
        if not self.outcome.events_sent:
            self.outcome.problems.append("no event was sent: nothing is known of events")


@contextmanager
def _toolkit(command: Sequence[str], out: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the toolkit as ./run does: SIGINT waits until tasks.py can answer it; Python itself would show a traceback.

    It is ended when we are stopped, once: a Ctrl-C at the terminal is for us alone, and a second signal would keep it from
    giving its lock back.
    """
    argv = [sys.executable, str(TASKS), *command, "--json"]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = subprocess.Popen(
            argv,
            cwd=TASKS.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=out,
            start_new_session=True,
        )
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TIDY_S)
                process.kill()
                process.wait()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _words(acts: Sequence[Act]) -> str:
    return ", ".join(map(str, acts)) or "nothing goes wrong"
