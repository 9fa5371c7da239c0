"""The composition root of chaos runs: rounds from a seed, on the local stack alone; a round that fails is shrunk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from prompt_keda.core.errors import DeadlinePassed, Interrupted, PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.lab import drilling
from prompt_keda.lab.as_text import ChaosDone, SmallestRound
from prompt_keda.lab.drills import chaos_acts
from prompt_keda.lab.drills.chaos import RoundOutcome, run_round
from prompt_keda.lab.drills.chaos_plan import INJECT, Round, Targets, make_round, shrink
from prompt_keda.lab.drills.stack_runs import StackRuns
from prompt_keda.lab.drills.toolkit import LOCAL, Toolkit
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.redeploy.approval import Ask
from prompt_keda.redeploy.observing import agree_while_observing
from prompt_keda.report.result import Result
from prompt_keda.runbooks.commands import go_on, run_command

MOST_TRIES = 8
"""So many rounds are run at most to shrink one that fails: about ten minutes."""
HEAD = """# Chaos rounds
Made by `./run drill --rounds N --seed S --markdown FILE` on the local stack. Each round is a redeploy while workers run and
events come. Each act of its row happens at an entry of the run's journal. Afterwards an interrupted run is resumed, or a new
redeploy begun, as people would do. What chaos rounds found: [found.md](found.md).

A round keeps its promises when:
- no Job or pod is lost (seen by a watch), and every event is acknowledged by exactly one worker;
- no command ends with a traceback or an unknown exit code;
- no check is green whose fault is still there, and all checks are green in the end;
- nothing of the toolkit's is left behind.

"""


def run(
    rounds: int,
    seed: int,
    only: int | None,
    file: str,
    write: Callable[[str], None],
    observer: Observer,
    while_observing: bool = False,
    ask: Ask | None = None,
) -> Result[ChaosDone]:
    """Run rounds 1 to ``rounds`` of a seed, or one of them, or one that a file describes.

    Parameters
    ----------
    only
        The number of the one round; None: all.
    file
        A file with a round as JSON, as a failing one is printed; empty: rounds are made from the seed.
    write
        Given the table as Markdown after each round: an hour of them may be stopped.

    Raises
    ------
    Refusal
        When the cluster is not the local stack that `lab.up` made, another drill is at work on it, a number is wrong, or the
        file holds no round; and what ``write`` raises.
    EnvironmentFileError, ClientError
        As `drilling.alone` does.
    """
    with drilling.alone() as stage:
        agree_while_observing(stage.environment, "chaos run", while_observing, ask)
        chosen = [_read(file)] if file else _made(rounds, seed, only, chaos_acts.targets(stage))
        return _run_rounds(chosen, stage, write, observer)


def _run_rounds(
    chosen: Sequence[Round], stage: Stage, write: Callable[[str], None], observer: Observer
) -> Result[ChaosDone]:
    toolkit = Toolkit(observer)
    outcomes: list[RoundOutcome] = []
    smallest: list[SmallestRound] = []
    is_whole, runs = False, StackRuns(stage)

    def once(chaos_round: Round) -> RoundOutcome:
        nonlocal is_whole
        if not is_whole and go_on(run_command(["redeploy", "--env", LOCAL]).exit_code):
            observer(Event(EventKind.NOTE, "chaos", "", "the redeploy before a round did not end well"))
        outcome = run_round(chaos_round, stage, toolkit, runs, LOCAL, observer)
        is_whole = not outcome.problems
        return outcome

    def made_smaller(chaos_round: Round) -> str:
        try:
            smaller, tries = shrink(chaos_round, lambda candidate: bool(once(candidate).problems), MOST_TRIES)
        except DeadlinePassed as error:  # no redeploy repairs what it has left behind
            return f"it cannot be made smaller: {error.what}"
        smallest.append(SmallestRound(smaller, tries))
        return f"still fails after {tries} tries: {json.dumps(smaller.to_json())}"

    def report(chaos_round: Round, message: str) -> None:
        observer(Event(EventKind.NOTE, f"chaos/{chaos_round.seed}-{chaos_round.number}", "", message))

    try:
        for chaos_round in chosen:
            outcomes.append(once(chaos_round))
            write(page(outcomes))
            if outcomes[-1].problems:
                report(chaos_round, f"failed: {json.dumps(chaos_round.to_json())}")
                if len(chaos_round.acts) > 1:
                    report(chaos_round, made_smaller(chaos_round))
    except (KeyboardInterrupt, PromptKedaError) as error:
        ended = error if isinstance(error, PromptKedaError) else _stopped(chosen, outcomes)
        ended.parts = ChaosDone(outcomes, smallest)
        raise ended from None
    header = f"{len(chosen)} rounds of seed {chosen[0].seed} on the local stack"
    code = 1 if any(outcome.problems for outcome in outcomes) else 0
    return Result("drill", LOCAL, header, ChaosDone(outcomes, smallest), code)


def _stopped(chosen: Sequence[Round], outcomes: Sequence[RoundOutcome]) -> Interrupted:
    """Return the message for a person who has stopped it: which rounds are done, and how the next one is run."""
    left = chosen[len(outcomes)] if len(outcomes) < len(chosen) else chosen[-1]
    kept = sum(not outcome.problems for outcome in outcomes)
    what = f"stopped after {len(outcomes)} of {len(chosen)} rounds, {kept} of which kept every promise"
    return Interrupted(what, f"The next one: ./run drill --seed {left.seed} --only {left.number}")


def _made(rounds: int, seed: int, only: int | None, targets: Targets) -> list[Round]:
    if rounds < 1 and only is None:
        raise Refusal("a chaos run without a round", "Say how many: --rounds 5")
    numbers = range(1, rounds + 1) if only is None else [only]
    return [make_round(seed, number, targets) for number in numbers]


def _read(file: str) -> Round:
    fault_ids = {fault.id for fault in ALL_FAULTS}
    try:
        chaos_round = Round.read(json.loads(Path(file).read_text()))
        if unknown := [act.target for act in chaos_round.acts if act.kind == INJECT and act.target not in fault_ids]:
            raise ValueError(f"there is no fault {unknown[0]!r}")
        return chaos_round
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{file} holds no round: {error}", "A round that fails is printed as JSON: keep that.") from error


def page(outcomes: Sequence[RoundOutcome]) -> str:
    """Return the table of rounds, as Markdown."""
    kept = sum(not outcome.problems for outcome in outcomes)
    seeds = ", ".join(str(seed) for seed in sorted({outcome.round.seed for outcome in outcomes}))
    sent = sum(outcome.events_sent for outcome in outcomes)
    head = f"Seed {seeds}: {kept} of {len(outcomes)} rounds kept every promise; {sent} events.\n\n"
    rows = ["| round | mode | what happened | starts | events | took | kept |", "|---|---|---|---|---|---|---|"]
    return HEAD + head + "".join(f"{row}\n" for row in [*rows, *map(_row, outcomes)])


def _row(outcome: RoundOutcome) -> str:
    acts = "; ".join(map(str, outcome.round.acts))
    kept = "yes" if not outcome.problems else "; ".join(outcome.problems).replace("|", "/")
    if outcome.not_done:
        acts += f". Not done: {'; '.join(outcome.not_done)}".replace("|", "/")
    events = (
        f"{outcome.events_sent}, {outcome.events_unseen} unseen" if outcome.events_unseen else str(outcome.events_sent)
    )
    cells = [str(outcome.round.number), outcome.round.mode, acts, str(outcome.starts_count), events]
    return f"| {' | '.join([*cells, f'{outcome.duration_s:.0f} s', kept])} |"
