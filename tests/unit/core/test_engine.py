"""The engines: unknown is never green, and every step is journaled and can be resumed."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from prompt_keda.core import exit_code
from prompt_keda.core.check import Check, Outcome, Verdict
from prompt_keda.core.deadline import in_time
from prompt_keda.core.errors import (
    DeadlinePassed,
    Interrupted,
    LoggedOut,
    Missing,
    PromptKedaError,
    Refusal,
    StepBroken,
    Unexpected,
    Unfilled,
    Unreachable,
)
from prompt_keda.core.event import EventKind, nobody
from prompt_keda.core.plan import Progress, State, Step
from prompt_keda.core.run_checks import look, run_checks
from prompt_keda.core.run_plan import run_plan

OVERALL = timedelta(seconds=5)


def check(name, outcome, needs=(), deadline=timedelta(seconds=2)):
    def run(context):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome() if callable(outcome) else Outcome(outcome, "seen")

    return Check(f"c/{name}", name, run, tuple(f"c/{need}" for need in needs), deadline)


def verdicts(*checks, overall=OVERALL):
    return [result.verdict for result in run_checks(checks, None, nobody, overall)]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (Unreachable("Redis", "a:1", "x"), Verdict.UNKNOWN),
        (Missing("Redis", "a:1", "x"), Verdict.FAIL),
        (Unfilled("vault.url", "ask"), Verdict.UNKNOWN),
        (ZeroDivisionError(), Verdict.UNKNOWN),
    ],
)
def test_an_error_is_never_green(error, verdict):
    """What did not answer is UNKNOWN, what said no is FAIL, and a defect of the check itself is UNKNOWN."""
    assert verdicts(check("a", error)) == [verdict]


def tries(*outcomes, deadline=2.0):
    """Run a check whose tries end so, one after the other; give the result and how many tries there were."""
    left = list(outcomes)

    def run(context):
        result = left.pop(0)
        if isinstance(result, Exception):
            raise result
        return result() if callable(result) else result

    check = Check("c/a", "a", run, deadline=timedelta(seconds=deadline))
    return run_checks([check], None, nobody, OVERALL)[0], len(outcomes) - len(left)


RESET = Unreachable("Redis", "a:1", "connection reset", "look")
SEEN = Outcome(Verdict.OK, "7.2.4", detail="more")


def test_a_connection_that_broke_at_once_is_tried_a_second_time():
    """What the second try sees counts, and both are told."""
    result, count = tries(RESET, SEEN)
    assert (result.verdict, result.observed, count) == (Verdict.OK, "second try: 7.2.4", 2)
    assert result.detail == f"more\nfirst try: {RESET.what}"


def test_a_second_failure_is_the_last():
    """UNKNOWN, with the fix; there is no third try."""
    result, count = tries(RESET, RESET, SEEN)
    assert (result.verdict, count) == (Verdict.UNKNOWN, 2)
    assert (result.observed, result.fix) == (f"second try: {RESET.what}", "look")


def test_what_the_second_try_is_refused_is_red():
    """An answer is an answer."""
    result, _ = tries(RESET, Missing("Redis", "a:1", "gone"))
    assert (result.verdict, result.observed) == (Verdict.FAIL, "second try: Redis at a:1: gone")


@pytest.mark.parametrize(
    "first",
    [Missing("Redis", "a:1", "gone"), Unfilled("vault.url", "ask"), ZeroDivisionError()],
    ids=["an answer", "a value that is not filled in", "a defect"],
)
def test_what_cannot_pass_by_itself_is_tried_once(first):
    """A second try would only say the same."""
    assert tries(first, SEEN)[1] == 1


def test_what_took_long_to_fail_is_not_tried_again(monkeypatch):
    """It would take as long again; the time is the monotonic clock's, and no test waits."""
    times = iter((0.0, 1.5))
    monkeypatch.setattr("prompt_keda.core.run_checks.time", Clock(times))
    result = look(Check("c/a", "a", lambda context: raise_(RESET)), None)
    assert (result.verdict, result.observed) == (Verdict.UNKNOWN, RESET.what)


def test_there_is_no_second_try_beyond_the_deadline(monkeypatch):
    """A check that has a tenth of a second left is over."""
    monkeypatch.setattr("prompt_keda.core.run_checks.time", Clock(iter((0.0, 0.3))))
    check = Check("c/a", "a", lambda context: raise_(RESET), deadline=timedelta(milliseconds=350))
    assert look(check, None).observed == RESET.what


class Clock:
    """Stands in for the module time; it never sleeps."""

    def __init__(self, times):
        self.monotonic = lambda: next(times)

    def sleep(self, seconds):
        raise AssertionError("there is nothing to wait for")


def raise_(error):
    raise error


@pytest.mark.parametrize("failed", [Verdict.FAIL, Verdict.UNKNOWN])
def test_a_failed_need_shows_its_dependents_as_skipped(failed):
    """Also those that depend on them; each names what it waited for."""
    results = run_checks(
        [check("c", Verdict.OK, ["b"]), check("b", Verdict.OK, ["a"]), check("a", failed)], None, nobody, OVERALL
    )
    assert [result.verdict for result in results] == [Verdict.SKIPPED, Verdict.SKIPPED, failed]
    assert results[0].observed == "needs c/b" and results[1].observed == "needs c/a"


def test_a_warning_does_not_skip_its_dependents():
    """It holds, so what needs it can look."""
    assert verdicts(check("a", Verdict.WARN), check("b", Verdict.OK, ["a"])) == [Verdict.WARN, Verdict.OK]


def test_a_check_that_hangs_is_unknown_and_holds_nobody_up():
    """Its deadline passes; the others' results are there."""
    never = threading.Event()
    slow = check("slow", lambda: never.wait() and None, deadline=timedelta(milliseconds=50))
    assert verdicts(slow, check("a", Verdict.OK)) == [Verdict.UNKNOWN, Verdict.OK]


def test_what_has_no_result_in_the_overall_time_is_unknown():
    """Also a check that never began."""
    never = threading.Event()
    first = check("a", lambda: never.wait() and None, deadline=timedelta(seconds=60))
    assert verdicts(first, check("b", Verdict.OK, ["a"]), overall=timedelta(milliseconds=80)) == [Verdict.UNKNOWN] * 2


@pytest.mark.parametrize(
    ("verdicts", "strict", "code"),
    [
        ([Verdict.OK], False, 0),
        ([Verdict.OK, Verdict.WARN], False, 0),
        ([Verdict.OK, Verdict.WARN], True, 4),
        ([Verdict.UNKNOWN, Verdict.WARN], True, 3),
        ([Verdict.FAIL, Verdict.UNKNOWN], True, 1),
        ([Verdict.SKIPPED], False, 3),
        ([], False, 3),
    ],
)
def test_exit_codes_have_their_order(verdicts, strict, code):
    """1 beats 3 beats 4; nothing looked at is not green."""
    results = run_checks([check(str(n), verdict) for n, verdict in enumerate(verdicts)], None, nobody, OVERALL)
    assert exit_code.of_checks(results, strict) == code


class Book:
    """A journal in memory."""

    def __init__(self):
        self.lines = []

    def append(self, step_id, event, detail=""):
        self.lines.append((step_id, event))


class Signal:
    """Lets a test say what happens while a step waits."""

    def __init__(self, *happenings):
        self.happenings = list(happenings)

    def wait(self, timeout_s):
        if self.happenings:
            self.happenings.pop(0)()
        return True

    def close(self):
        pass


def step(inspections, act=lambda context: None, signal=None, deadline=10):
    remaining = iter(inspections)
    last = []

    def inspect(context):
        last[:] = [next(remaining, last[0] if last else None)]
        if isinstance(last[0], Exception):
            raise last[0]
        return Progress(last[0], "why")

    watch = (lambda context: signal) if signal else (lambda context: Signal())
    return Step("s/one", "one", inspect, act, deadline=timedelta(seconds=deadline), watch=watch)


def test_a_step_that_is_done_is_skipped():
    """A second run does nothing."""
    acted, book = [], Book()
    results = run_plan([step([State.DONE], acted.append)], None, book, nobody)
    assert not acted and not results[0].acted and book.lines == [("s/one", "skipped")]


def test_a_step_is_journaled_before_and_after_its_act():
    """So that a crash in between is known."""
    book = Book()
    act = lambda context: book.append("s/one", "ACT")  # noqa: E731
    run_plan([step([State.TODO, State.WORKING, State.DONE], act)], None, book, nobody)
    assert book.lines == [("s/one", "begin"), ("s/one", "ACT"), ("s/one", "done")]


def test_a_broken_step_stops_the_plan():
    """Waiting cannot repair it; what comes after is not begun."""
    book = Book()
    with pytest.raises(StepBroken):
        run_plan([step([State.TODO, State.BROKEN]), step([State.TODO])], None, book, nobody)
    assert [event for _, event in book.lines] == ["begin", "failed"]


def test_a_deadline_reports_what_was_seen_last():
    """By an injected clock: no test waits."""
    times = iter(range(0, 1000, 4))
    with pytest.raises(DeadlinePassed) as caught:
        run_plan([step([State.TODO, State.WORKING])], None, Book(), nobody, now=lambda: next(times))
    assert "why" in caught.value.what


def test_a_system_that_is_away_for_a_moment_is_waited_for():
    """A lost connection during a wait is shown and survived."""
    lost = Unreachable("Kubernetes", "a", "gone")
    assert run_plan([step([State.TODO, lost, State.DONE])], None, Book(), nobody)[0].acted


def test_the_first_look_of_a_step_waits_once_something_is_written():
    """Redis away for a second, KEDA already replaced: giving up would leave the ScaledJobs away. Before any write it ends."""
    lost = Unreachable("Redis", "a:1", "gone")
    written = step([State.TODO, State.DONE])
    results = run_plan([written, step([lost, State.TODO, State.DONE], deadline=2)], None, Book(), nobody)
    assert [result.acted for result in results] == [True, True]
    for before in ([], [step([State.DONE])]):
        with pytest.raises(Unreachable):
            run_plan([*before, step([lost, State.DONE])], None, Book(), nobody)


def test_an_act_without_an_answer_is_done_again_once_something_is_written():
    """A busy API server took too long for a CRD: it may be applied, and applying twice does no harm. Before any write it ends."""
    answers = [Unreachable("Kubernetes", "a", "no answer"), None]

    def act(context):
        if error := answers.pop(0):
            raise error

    book, written = Book(), step([State.TODO, State.DONE])
    results = run_plan([written, step([State.TODO, State.DONE], act, deadline=2)], None, book, nobody)
    assert results[1].acted and answers == []
    assert [event for _, event in book.lines] == ["begin", "done"] * 2
    answers = [Unreachable("Kubernetes", "a", "no answer"), None]
    with pytest.raises(Unreachable):
        run_plan([step([State.TODO], act, deadline=2)], None, Book(), nobody)


def test_an_act_that_stays_without_an_answer_ends_the_run_at_its_deadline():
    """Exit code 3, and `resume` goes on."""
    times = iter(range(0, 1000, 4))
    lost = raising(Unreachable("Kubernetes", "a", "no answer"))
    with pytest.raises(Unreachable):
        run_plan([step([State.TODO, State.DONE]), step([State.TODO], lost)], None, Book(), nobody, lambda: next(times))


def test_a_system_that_stays_away_at_the_first_look_ends_the_run_at_its_deadline():
    """Exit code 3, and `resume` goes on: it was not seen broken."""
    times = iter(range(0, 1000, 4))
    lost = Unreachable("Redis", "a:1", "gone")
    with pytest.raises(Unreachable):
        run_plan([step([State.TODO, State.DONE]), step([lost])], None, Book(), nobody, now=lambda: next(times))


def test_a_system_that_stays_away_until_the_deadline_is_not_seen_broken():
    """Exit code 3, with why it cannot be seen, and not 1: the step may well be done by then."""
    times = iter(range(0, 1000, 4))
    lost = Unreachable("Kubernetes", "a", "gone")
    with pytest.raises(Unreachable) as caught:
        run_plan([step([State.TODO, lost])], None, Book(), nobody, now=lambda: next(times))
    assert caught.value.exit_code == 3 and caught.value.parts.steps[0].progress.state is State.BROKEN


def test_ctrl_c_is_journaled_and_can_be_resumed():
    """Exit code 130, and the step stands as interrupted."""
    book = Book()

    def press():
        raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        run_plan([step([State.TODO, State.WORKING], signal=Signal(press))], None, book, nobody)
    assert caught.value.exit_code == 130 and book.lines[-1] == ("s/one", "interrupted")


def raising(error):
    def act(context):
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "alone", "after_a_write"),
    [
        (Refusal("no"), Refusal, StepBroken),
        (LoggedOut("Kubernetes", "a:1", "401"), LoggedOut, Interrupted),
        (Unreachable("Redis", "a:1", "x"), Unreachable, Unreachable),
        (PromptKedaError("disk full"), PromptKedaError, PromptKedaError),
        (KeyError("value"), Unexpected, Unexpected),
    ],
)
def test_an_error_after_a_write_does_not_say_that_nothing_was_written(error, alone, after_a_write):
    """2 means before any write; a login that expires in mid-run can be resumed. All is journaled, and all steps are told."""
    for before, kind in (([], alone), ([step([State.TODO, State.DONE])], after_a_write)):
        book = Book()
        with pytest.raises(kind) as caught:
            run_plan([*before, step([State.TODO], raising(error), deadline=0)], None, book, nobody)
        assert type(caught.value) is kind
        assert book.lines[-1][1] == ("interrupted" if kind is Interrupted else "failed")
        steps = caught.value.parts.steps
        assert len(steps) == len(before) + 1 and steps[-1].progress.state is State.BROKEN


def test_ctrl_c_in_a_round_of_checks_ends_with_130():
    """What is known is told; what is not is UNKNOWN."""
    never = threading.Event()
    checks = [check("a", Verdict.OK), check("slow", lambda: never.wait() and None, ["a"])]

    def observer(event):
        if event.kind is EventKind.STARTED and event.subject == "c/slow":
            raise KeyboardInterrupt

    results = run_checks(checks, None, observer, OVERALL)
    assert [result.verdict for result in results] == [Verdict.OK, Verdict.UNKNOWN] and exit_code.of_checks(
        results
    ) == 130


def test_work_in_time_gives_what_it_gives_and_raises_what_it_raises():
    """In the thread that waits for it."""
    assert in_time(lambda: 7, timedelta(seconds=5), "x") == 7
    with pytest.raises(Refusal, match="no"):
        in_time(lambda: refuses("no"), timedelta(seconds=5), "x")


def refuses(what):
    raise Refusal(what)


def test_work_that_takes_too_long_is_given_up():
    """It holds up neither who waits nor the exit: its thread is a daemon."""
    over, threads = threading.Event(), []

    def hangs():
        threads.append(threading.current_thread())
        over.wait(30)

    began = time.monotonic()
    with pytest.raises(DeadlinePassed, match="the answer: not within 0 s"):
        in_time(hangs, timedelta(seconds=0.1), "the answer")
    assert time.monotonic() - began < 5 and threads[0].daemon
    over.set()
