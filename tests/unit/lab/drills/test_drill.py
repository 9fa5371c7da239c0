"""A drill reports what was seen, who answered it, and what should not have been. Without a stack."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.errors import DeadlinePassed, PromptKedaError, Refusal
from prompt_keda.core.event import nobody
from prompt_keda.core.exit_code import STOPPED
from prompt_keda.core.run_checks import INTERRUPTED
from prompt_keda.lab import drilling, provider, state
from prompt_keda.lab.drilling import Selection
from prompt_keda.lab.drills import drill as module
from prompt_keda.lab.drills import toolkit
from prompt_keda.lab.drills.delivery_audit import DeliveryReport
from prompt_keda.lab.drills.drill import drill
from prompt_keda.lab.faults import ALL_FAULTS, argocd
from prompt_keda.lab.faults.fault import Fault
from prompt_keda.report.failure import UNEXPECTED
from prompt_keda.report.response import RunbookRun, StepDone
from tests.unit.world import World

CHECKS = {check.id: check for check in ALL_CHECKS}
SEEN = {"keda/parts-ready": "fail"}


def result(id_, verdict, observed=""):
    check = CHECKS[id_]
    return CheckResult(id_, check.title, verdict, "", observed, "", "", check.runbook, datetime.now(UTC), 0.0)


class Stack:
    """Is injected, and repaired by the runbook or by people; a toolkit that works."""

    def __init__(self, runbook_repairs=True, runbook_code=0, verify_code=0, verifies=True):
        self.broken, self.asked, self.folder = False, [], TemporaryDirectory()
        self.runbook_repairs, self.runbook_code = runbook_repairs, runbook_code
        self.verify_code, self.verifies = verify_code, verifies
        self.world = World()
        self.stage = SimpleNamespace(
            kube=self.world.kube,
            environment=SimpleNamespace(name="here", instruments=[], argocd=None),
            redis=self.world.redis,
            lab=SimpleNamespace(state=Path(self.folder.name)),
        )

    def fault(self, expected_checks=SEEN, inject=None, revert=None, says=""):
        return Fault("keda/x", "", "x is broken", inject or self.inject, revert or self.revert, expected_checks, says)

    def inject(self, stage):
        self.broken = True

    def revert(self, stage):
        self.broken = False

    def look(self):
        return [result("keda/parts-ready", Verdict.FAIL if self.broken else Verdict.OK, "0/1 ready")]

    def follow(self, runbook):
        self.asked.append(runbook)
        if self.runbook_repairs:
            self.broken = False
        return self.runbook_code, self.verifies

    def verify(self):
        self.asked.append("verify")
        return self.verify_code


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "STEADY_S", 0)
    monkeypatch.setattr(module, "DETECTION_S", 0)
    monkeypatch.setattr(module, "WHOLE_S", 0)
    monkeypatch.setattr(module, "leftovers", lambda stage: [])
    monkeypatch.setattr(module.JobWatcher, "workers_count", lambda self: 20)


def test_a_fault_that_its_runbook_repairs_is_passed():
    """Seen, the right runbook, verified by it once, nothing lost."""
    stack = Stack()
    drilled = drill(stack.fault(), stack.stage, stack, nobody)
    assert (drilled.runbook, drilled.answered_by, drilled.problems, drilled.lost) == ("keda-gone", "runbook", (), ())
    assert drilled.expected_checks == {"keda/parts-ready": "fail"}
    assert stack.asked == ["keda-gone"] and drilled.recovered_s is not None


def test_what_a_drill_waits_for_is_reported_before_it_gives_up():
    """A stack that nobody has made whole: which checks are not green, at the first look."""
    stack, news = Stack(), []
    stack.broken = True
    with pytest.raises(DeadlinePassed):
        drill(stack.fault(), stack.stage, stack, lambda event: news.append(event.detail))
    assert news == ["waits for the steady state before keda/x: not green are keda/parts-ready"]


@pytest.mark.parametrize("stack", [Stack(runbook_repairs=False), Stack(runbook_repairs=False, runbook_code=1)])
def test_what_the_runbook_does_not_repair_is_repaired_by_people_and_reported(stack):
    """Also where the runbook says that all is well, and it is not."""
    drilled = drill(stack.fault(), stack.stage, stack, nobody)
    assert (drilled.answered_by, drilled.problems) == ("people", ()) and stack.asked == ["keda-gone", "verify"]


def test_scaling_that_is_not_verified_fails_the_drill():
    """Whoever has answered it."""
    stack = Stack(verifies=False, verify_code=3)
    drilled = drill(stack.fault(), stack.stage, stack, nobody)
    assert drilled.problems == ("scaling is not verified: exit code 3",) and drilled.recovered_s is None


def test_that_argo_cds_hooks_put_jobs_at_risk_is_no_fault_where_it_delivers():
    """It stands as long as Jobs run: amber before and after. Red it is, and elsewhere, the stack is not whole."""

    class WithHooks(Stack):
        verdict = Verdict.WARN

        def look(self):
            return [*super().look(), result("keda/rollout-keeps-jobs", self.verdict)]

    stack = WithHooks()
    with pytest.raises(DeadlinePassed, match="rollout-keeps-jobs warn"):
        drill(stack.fault(), stack.stage, stack, nobody)
    stack.stage.environment.argocd = object()
    assert drill(stack.fault(), stack.stage, stack, nobody).problems == ()
    stack.verdict = Verdict.FAIL
    with pytest.raises(DeadlinePassed, match="rollout-keeps-jobs fail"):
        drill(stack.fault(), stack.stage, stack, nobody)


def test_events_that_wait_because_the_drill_has_sent_them_propose_no_runbook():
    """A slow machine takes a hundred events in more time than is promised: that is not of the fault."""

    class Slow(Stack):
        def look(self):
            verdict = Verdict.WARN if self.broken else Verdict.OK
            return [result("scaling/works", verdict), result("argocd/agrees", verdict, "keda is OutOfSync")]

    stack = Slow()
    drilled = drill(stack.fault({"argocd/agrees": "warn"}), stack.stage, stack, nobody)
    assert stack.asked == ["argocd-disagrees"] and drilled.problems == ()


def test_a_fault_that_its_checks_do_not_see_fails_the_drill_and_is_reverted():
    """Nothing is run then: there is no symptom."""
    stack = Stack()
    drilled = drill(stack.fault({"redis/answers": "fail"}), stack.stage, stack, nobody)
    assert "the checks that see keda/x" in drilled.problems[0] and stack.asked == [] and not stack.broken


def test_another_runbook_than_the_one_that_answers_it_fails_the_drill():
    """The root cause has to come first."""
    stack = Stack()
    fault = Fault("keda/x", "", "x", stack.inject, stack.revert, SEEN, "", runbook="redis-gone")
    assert drill(fault, stack.stage, stack, nobody).problems == ("the runbook should be redis-gone",)


def test_a_job_that_is_lost_while_it_is_repaired_fails_the_drill(monkeypatch):
    """It worked, and neither lives on nor has ended. What the fault itself makes and takes away again is its own."""
    stack = Stack()
    lost = {"1": ("the recovery", "Job a/j1"), "2": ("the fault", "Job a/j2")}
    monkeypatch.setattr(module.JobWatcher, "lost", lambda self: lost)
    drilled = drill(stack.fault(), stack.stage, stack, nobody)
    assert drilled.lost == ("Job a/j1 in the recovery",) and drilled.problems == ("lost: Job a/j1 in the recovery",)


def test_a_job_that_ran_before_and_is_lost_by_the_fault_fails_it_too(monkeypatch):
    """Nobody may say then that a fault of that kind costs nothing."""
    stack = Stack()
    monkeypatch.setattr(module.JobWatcher, "at_work_now", lambda self: {"2"})
    monkeypatch.setattr(module.JobWatcher, "lost", lambda self: {"2": ("the fault", "Job a/j2")})
    assert drill(stack.fault(), stack.stage, stack, nobody).lost == ("Job a/j2 in the fault",)


def test_what_has_run_and_is_lost_by_the_revert_fails_it_and_what_never_ran_does_not(monkeypatch):
    """A fault keeps Jobs from running, and KEDA counts them for good: people delete those."""
    stack = Stack()
    lost = {"1": ("the revert", "Job a/j1"), "2": ("the revert", "Job a/j2")}
    monkeypatch.setattr(module.JobWatcher, "at_work_now", lambda self: {"1", "2"})
    monkeypatch.setattr(module.JobWatcher, "have_run", lambda self: {"2"})
    monkeypatch.setattr(module.JobWatcher, "lost", lambda self: lost)
    assert drill(stack.fault(), stack.stage, stack, nobody).lost == ("Job a/j2 in the revert",)


def test_a_fault_that_cannot_be_reverted_is_reported():
    """The next drill would begin on a broken stack."""
    stack = Stack()

    def revert(stage):
        raise DeadlinePassed("the revert", 1, "not there")

    drilled = drill(stack.fault(revert=revert), stack.stage, stack, nobody)
    assert "could not be reverted" in drilled.problems[-1]


@pytest.mark.parametrize("end", [KeyboardInterrupt, ZeroDivisionError])
def test_a_drill_that_is_stopped_takes_its_fault_back(end):
    """Ctrl-C, or an unexpected error: the stack does not stay broken."""
    stack = Stack()

    def inject(stage):
        stack.broken = True
        raise end

    with pytest.raises(end):
        drill(stack.fault(inject=inject), stack.stage, stack, nobody)
    assert not stack.broken and state.faults(stack.stage.lab) == []


def test_a_fault_is_noted_as_long_as_it_is_there():
    """A drill that is killed leaves it: then `faults` lists it, and reverts it."""
    stack, noted = Stack(), []

    def inject(stage):
        noted.extend(state.faults(stage.lab))
        stack.inject(stage)

    drill(stack.fault(inject=inject), stack.stage, stack, nobody)
    assert noted == ["keda/x"] and state.faults(stack.stage.lab) == []


@pytest.mark.parametrize("way", [lambda ours: ours.look(), lambda ours: ours.follow("x"), lambda ours: ours.verify()])
def test_what_a_person_stops_stops_the_drill(monkeypatch, way):
    """A look or a command that Ctrl-C ends gives a result of its own; the drill must not go on to the next fault."""
    stopped = SimpleNamespace(exit_code=STOPPED, parts=RunbookRun("x", STOPPED, "incident", []))
    monkeypatch.setattr(toolkit, "open_session", lambda name: nullcontext(World().session))
    monkeypatch.setattr(toolkit, "run_round", lambda *_: [result("redis/answers", Verdict.UNKNOWN, INTERRUPTED)])
    monkeypatch.setattr(toolkit.runbooks, "run", lambda *_: stopped)
    monkeypatch.setattr(toolkit, "run_command", lambda words: stopped)
    with pytest.raises(KeyboardInterrupt):
        way(toolkit.Toolkit(nobody))


def test_a_stack_that_is_not_green_is_not_drilled():
    """Nothing could be told of the fault. It is said how to go on."""
    stack = Stack()
    stack.broken = True
    with pytest.raises(DeadlinePassed, match="steady state") as refused:
        drill(stack.fault(), stack.stage, stack, nobody)
    assert "redeploy --env here" in refused.value.fix and "--rest" in refused.value.fix


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Selection(), "say which fault to inject"),
        (Selection("keda/paused", all_of_them=True), "in one way"),
        (Selection("keda/paused", rest=True), "in one way"),
        (Selection(all_of_them=True, seed=0), "in one way"),
        (Selection("no/such"), "no fault"),
    ],
)
def test_a_drill_without_a_fault_or_with_two_ways_to_it_is_refused(wanted, message):
    """Nothing is broken by mistake."""
    with pytest.raises(Refusal, match=message):
        drilling.choose(wanted)


def test_a_fault_is_chosen_by_its_name_or_its_beginning():
    """A whole id is that one alone."""
    assert [fault.id for fault in drilling.choose(Selection("keda/paused"))] == ["keda/paused"]
    assert len(drilling.choose(Selection("redis/"))) > 5
    assert len(drilling.choose(Selection(all_of_them=True))) == len(ALL_FAULTS)


def test_a_fault_of_delivery_is_drilled_only_where_that_delivers():
    """All of them by the start of their ids; on another stack nothing is broken, and what it needs is said."""
    chosen = drilling.choose(Selection("argocd/"))
    assert chosen == list(argocd.FAULTS)
    assert {fault.needs for fault in drilling.choose(Selection("vcluster/"))} == {frozenset({"vcluster"})}
    native = SimpleNamespace(find_provider=lambda: "native", is_users=False)
    plain, with_argocd = (SimpleNamespace(lab=native, endpoints=known) for known in ({}, {"delivery": "argocd"}))
    with pytest.raises(Refusal, match="needs a stack with argocd") as refused:
        drilling.require_here(chosen, plain)
    assert "lab.up --with argocd" in refused.value.fix
    drilling.require_here(chosen, with_argocd)
    drilling.require_here(drilling.choose(Selection(all_of_them=True)), plain)


def test_a_fault_that_the_provider_cannot_have_is_refused():
    """With what it lacks, and a stack that has it."""
    kind = SimpleNamespace(lab=SimpleNamespace(find_provider=lambda: "kind", is_users=False), endpoints={})
    fault = dataclasses.replace(ALL_FAULTS[0], needs=frozenset({provider.DELIVERY}))
    with pytest.raises(Refusal, match="needs DELIVERY, which the provider kind lacks"):
        drilling.require_here([fault], kind)


def test_all_are_those_that_the_stack_can_have(monkeypatch):
    """Each other one is told with the reason; the rest is drilled."""
    kind = SimpleNamespace(
        lab=SimpleNamespace(find_provider=lambda: "kind", is_users=False), endpoints={}, environment=None
    )
    cannot = dataclasses.replace(ALL_FAULTS[1], needs=frozenset({provider.DELIVERY}))
    monkeypatch.setattr(drilling, "ALL_FAULTS", (ALL_FAULTS[0], cannot))
    news = []
    assert drilling._possible(drilling.choose(Selection(all_of_them=True)), kind, news.append) == [ALL_FAULTS[0]]
    assert [event.detail for event in news] == [f"{cannot.id} needs DELIVERY, which the provider kind lacks"]


def test_a_seed_picks_one_fault_and_the_same_again():
    """Other seeds pick others; 0 is a seed as well."""
    picked = [[fault.id for fault in drilling.choose(Selection(seed=seed))] for seed in range(20)]
    assert picked == [[fault.id for fault in drilling.choose(Selection(seed=seed))] for seed in range(20)]
    assert {len(fault) for fault in picked} == {1} and len({id_ for (id_,) in picked}) > 10


def test_the_page_has_a_row_for_each_drill():
    """With what should not have been."""
    stack = Stack(verifies=False, verify_code=3)
    page = drilling.page([drill(stack.fault(), stack.stage, stack, nobody)])
    row = page.splitlines()[-1]
    assert row.startswith(
        "| x is broken | keda/parts-ready | 0 s | [keda-gone](../runbooks/keda-gone.md) | runbook | never | 20 | 0 |"
    )
    assert "exit code 3" in row


def test_a_page_keeps_the_rows_of_faults_that_were_not_drilled_now():
    """In the faults' order: hours of drills are done in parts. What no fault is called any more goes."""
    first, second, third = (f"| {fault.title} | x | old |" for fault in ALL_FAULTS[:3])
    kept = f"{drilling.HEAD}{third}\n{second}\n| of another version | x | old |\n"
    page = f"{drilling.HEAD}{second.replace('old', 'new')}\n{first}\n"
    assert drilling.beside(kept, page) == f"{drilling.HEAD}{first}\n{second.replace('old', 'new')}\n{third}\n"
    assert drilling.beside("", page.replace(first, "| x is broken | x |")).endswith("| x is broken | x |\n")


class Audit:
    """A delivery audit: what was done with it, and the report that it returns."""

    def __init__(self, monkeypatch, stack, *lost):
        self.report, self.asked = DeliveryReport(3, lost, (), 1, ()), stack.asked
        stack.stage.environment.instruments = [SimpleNamespace(namespace="a", max_jobs=20)]
        monkeypatch.setattr(module.DeliveryAudit, "kept", lambda *_: nullcontext(self))
        job_watcher = module.JobWatcher(lambda: stack.world.kube, [])
        monkeypatch.setattr(module.JobWatcher, "at_work", lambda *_: nullcontext(job_watcher))

    def give(self, count):
        self.asked.append(f"give {count}")

    def recovery_begins(self):
        self.asked.append("recovery begins")

    def close(self, place_was_lost):
        self.asked.append("close")
        return self.report


def test_an_event_that_is_lost_fails_the_drill(monkeypatch):
    """Its id is told."""
    stack = Stack()
    Audit(monkeypatch, stack, "7-0")
    drilled = drill(stack.fault(), stack.stage, stack, nobody)
    assert drilled.problems == ("1 events lost, the first 7-0",)
    assert drilled.events == {"sent": 3, "lost": 1, "duplicated": 0, "taken": 0, "unseen": 1}


def test_events_come_while_it_is_repaired_and_are_counted_once_the_stack_is_whole(monkeypatch):
    """What reverting a fault does to Jobs and events counts as well."""
    stack = Stack()
    Audit(monkeypatch, stack)

    def revert(stage):
        stack.asked.append("revert")
        stack.revert(stage)

    drill(stack.fault(revert=revert), stack.stage, stack, nobody)
    more = ["recovery begins", f"give {module.MORE}", "keda-gone", "revert", "close"]
    assert stack.asked == [f"give {module.EVENTS}", *more]


def test_what_is_lost_is_of_the_fault_until_it_was_seen_and_then_of_the_recovery(monkeypatch):
    """A Job that comes and goes with the fault is its own; one that the runbook takes is not."""
    stack, phases = Stack(), []
    monkeypatch.setattr(module.JobWatcher, "phase", lambda self, name: phases.append((name, stack.broken)))
    drill(stack.fault(), stack.stage, stack, nobody)
    assert phases[:2] == [(module.FAULT, False), (module.RECOVERY, True)]


def test_a_job_that_came_while_it_was_injected_counts_as_well(monkeypatch):
    """That may take a minute."""
    stack = Stack()
    monkeypatch.setattr(module.JobWatcher, "at_work_now", lambda self: {"2"} if stack.broken else {"1"})
    monkeypatch.setattr(module.JobWatcher, "lost", lambda self: {char: ("the fault", f"Job {char}") for char in "123"})
    assert drill(stack.fault(), stack.stage, stack, nobody).lost == ("Job 1 in the fault", "Job 2 in the fault")


def test_without_a_worker_nothing_is_verified(monkeypatch):
    """Nothing could be lost."""
    stack = Stack()
    monkeypatch.setattr(module.JobWatcher, "workers_count", lambda self: 0)
    assert drill(stack.fault(), stack.stage, stack, nobody).problems == ("no worker runs: nothing could be lost",)


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.UNKNOWN])
def test_another_check_that_is_red_or_not_known_is_not_repaired(verdict):
    """The runbook has broken something else, or nobody knows: people have to look, and it has to be green in the end."""
    stack = Stack()
    own = stack.look
    stack.look = lambda: [*own(), result("redis/answers", verdict if stack.asked else Verdict.OK)]
    drilled = drill(stack.fault(), stack.stage, stack, nobody)
    assert drilled.answered_by == "people" and f"redis/answers {verdict.value}" in drilled.problems[0]


def test_a_check_that_is_red_before_sees_nothing(monkeypatch):
    """Twenty workers may turn it red as well."""
    stack = Stack()
    monkeypatch.setattr(module._Drill, "_await_workers", lambda self: stack.inject(None))
    drilled = drill(stack.fault(), stack.stage, stack, nobody)
    assert drilled.problems == ("keda/parts-ready is fail before the fault is injected",)


@pytest.mark.parametrize(("message", "is_seen"), [("5/7 ready", True), ("another reason", False)])
def test_a_check_that_is_red_for_another_reason_has_not_seen_it(message, is_seen):
    """Numbers may be other ones, with events at work."""
    stack = Stack()
    drilled = drill(stack.fault(says=message), stack.stage, stack, nobody)
    assert (drilled.detected_s is not None) == is_seen and (
        "none says: another reason" in str(drilled.problems)
    ) != is_seen
    assert (drilled.lost is None) != is_seen and bool(drilled.expected_checks) == is_seen


def test_what_is_left_behind_fails_the_drill(monkeypatch):
    """A pause, a lock, what a smoke test has made; not what was there before."""
    stack, left = Stack(), [["old"], ["old", "the lock of x"]]
    monkeypatch.setattr(module, "leftovers", lambda stage: left.pop(0))
    assert drill(stack.fault(), stack.stage, stack, nobody).problems == ("left behind: the lock of x",)


def test_a_fault_that_is_not_whole_once_it_is_reverted_fails_the_drill():
    """The runbook was enough, and reverting the fault leaves something red."""
    stack = Stack()
    drilled = drill(stack.fault(revert=stack.inject), stack.stage, stack, nobody)
    assert "a stack that is whole after keda/x" in drilled.problems[0] and drilled.lost is None


def test_a_runbook_that_ends_with_an_error_of_the_toolkits_own_fails_the_drill(monkeypatch):
    """Its exit code says no more than that nothing is known."""
    step = StepDone("mitigation/1", "invoke redeploy", 3, f"failed: KeyError, {UNEXPECTED}", 1.0, "")
    done = SimpleNamespace(exit_code=3, parts=RunbookRun("keda-gone", 3, "incident", [step]))
    monkeypatch.setattr(toolkit, "open_session", lambda name: nullcontext(World().session))
    monkeypatch.setattr(toolkit.runbooks, "run", lambda *_: done)
    with pytest.raises(PromptKedaError, match="KeyError"):
        toolkit.Toolkit(nobody).follow("keda-gone")


def waiting(stack, counts, given):
    """A drill of a stack of two workers at most, of which so many run at each look."""
    stack.stage.environment.instruments = [SimpleNamespace(max_jobs=2)]
    job_watcher = SimpleNamespace(workers_count=lambda: counts.pop(0))
    return module._Drill(stack.fault(), stack.stage, stack, job_watcher, [SimpleNamespace(give=given.append)], nobody)


def test_it_is_broken_once_all_workers_are_at_work(monkeypatch):
    """An operator that is taken away at once would make none of them, and nothing could be lost."""
    monkeypatch.setattr("prompt_keda.core.waiting.Tick.wait", lambda *_: False)
    counts, given = [0, 1, 2, 2], []
    waiting(Stack(), counts, given)._await_workers()
    assert (counts, given) == ([2], [module.EVENTS])


def test_a_node_without_room_for_all_stops_no_drill(monkeypatch):
    """It goes on with those that run."""
    monkeypatch.setattr(module, "AT_WORK_S", 0)
    counts = [1]
    waiting(Stack(), counts, [])._await_workers()
    assert counts == []


def test_a_stack_with_a_fault_in_it_is_told_how_to_be_repaired():
    """No redeploy thaws a frozen process."""
    stack = Stack()
    stack.broken = True
    state.write_faults(stack.stage.lab, ["redis/frozen"])
    with pytest.raises(DeadlinePassed) as refused:
        drill(stack.fault(), stack.stage, stack, nobody)
    assert "faults --revert" in refused.value.fix
