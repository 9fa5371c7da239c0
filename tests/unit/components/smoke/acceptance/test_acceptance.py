"""The acceptance suite without a cluster: green with a KEDA as it should be, red with one that does otherwise."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.identity.redeploy_rights import redeploy_rights
from prompt_keda.components.smoke import smoke_objects
from prompt_keda.components.smoke.acceptance import CASES, pausing, run_acceptance, trial
from prompt_keda.components.smoke.acceptance.case import CaseResult
from prompt_keda.components.smoke.acceptance.shape import Shape, scaled_job
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import BadAnswer, StepBroken, Unreachable
from prompt_keda.core.event import EventKind, nobody
from prompt_keda.core.exit_code import of_verdicts
from prompt_keda.core.places import ROOT
from tests.contracts.fakes.recorder import Recorder
from tests.unit.components.identity.test_redeploy_rights import manifests
from tests.unit.fake_keda import NAMESPACE, FakeKeda
from tests.unit.world import OPERATOR, World

PATIENCE, SOON = timedelta(seconds=20), timedelta(seconds=1)
GENERATION = "scaledjob.keda.sh/generation"
BY_ID = {case.id: case for case in CASES}


class Keda:
    """A world with a KEDA in it, which polls whenever a case waits."""

    def __init__(self, monkeypatch, other=""):
        self.world = World()
        self.world.change(kinds.PODS, OPERATOR, "keda", metadata={"labels": {"app": "keda-operator"}})
        self.world.change(kinds.JOBS, "j1", "prompt-keda-lsstcam", metadata={"annotations": {GENERATION: "2"}})
        self.world.change(kinds.SCALED_JOBS, "prompt-keda-lsstcam", "prompt-keda-lsstcam", metadata={"generation": 2})
        self.recorder = self.world.systems._made["kube"] = Recorder(self.world.kube)
        double, lock = FakeKeda(self.world, other), threading.Lock()

        class Watched:
            def __init__(self, kube, targets):
                kube.note_watch(targets)

            def wait(self, timeout_s):
                with lock:
                    double.poll()

            def close(self):
                pass

        monkeypatch.setattr(trial, "Watch", Watched)
        monkeypatch.setattr(trial, "READ_S", 0)
        monkeypatch.setattr(pausing, "INTERVALS", 0.01)
        monkeypatch.setattr(run_acceptance, "SIDE_BY_SIDE", 1)

    def run(self, *cases, observer=nobody, deadline=PATIENCE):
        soon = [replace(case, deadline=deadline) for case in cases]
        return run_acceptance.run_acceptance(self.world.systems, soon, observer, "run")

    def left(self):
        objects = [
            obj
            for kind in (kinds.SCALED_JOBS, kinds.JOBS, kinds.TRIGGER_AUTHENTICATIONS)
            for obj in self.world.kube.list(kind, NAMESPACE)
        ]
        return objects + [obj for obj in self.world.redis._streams if obj.startswith("smoke-")]


@pytest.fixture
def keda(monkeypatch):
    return Keda(monkeypatch)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_case_is_green_with_a_keda_as_it_should_be(keda, case):
    """With what was expected and seen at each point, and nothing is left."""
    (result,) = keda.run(case)
    assert (result.verdict, result.detail) == (Verdict.OK, "")
    assert result.points and all(point.expected and point.observed for point in result.points)
    assert keda.left() == []


OTHERWISE = [
    ("lag/activation", "has no activation", "expected none, seen 1 Jobs made"),
    ("lag/activation", "knows no maximum", "expected no more than"),
    ("strategy/eager", "always default", "Jobs at once, expected 8"),
    ("strategy/eager", "knows no maximum", "Jobs at once: expected no more than"),
    ("strategy/default", "always eager", "expected no more than 4, seen 8"),
    ("strategy/accurate", "always eager", "expected no more than 4, seen 6"),
    ("strategy/custom", "always default", "Jobs at once, expected 6"),
    ("minimum/without-events", "has no minimum", "Jobs at once, expected 2"),
    ("minimum/with-work", "has no minimum", "Jobs at once, expected 1"),
    ("minimum/up-to-the-maximum", "knows no maximum", "expected no more than 4"),
    ("pause/no-new-jobs", "does not pause", "expected no more than 1, seen 2"),
    ("rollout/gradual", "deletes on a change", "expected the same, seen 0 of 4 live on"),
    ("errors/counted", "counts no errors", "errors that KEDA counts, expected 1 or more"),
    ("operator/deleted", "has no operator", "Jobs at once, expected 2"),
    ("strategy/eager", "does not poll", "polls, expected polled"),
]


@pytest.mark.parametrize(("case", "other", "message"), OTHERWISE)
def test_each_case_is_red_with_a_keda_that_does_otherwise(monkeypatch, case, other, message):
    """It is told what was expected, and what was seen; what it made is removed all the same."""
    keda = Keda(monkeypatch, other)
    (result,) = keda.run(BY_ID[case], deadline=SOON)
    assert (result.verdict, message in result.detail) == (Verdict.FAIL, True), result.detail
    assert of_verdicts([result.verdict]) == 1 and keda.left() == []


def test_what_could_not_be_seen_is_unknown(keda, monkeypatch):
    """Not green, and not red either."""

    def away(*_):
        raise Unreachable("Redis", "r:6379", "no answer")

    monkeypatch.setattr(keda.world.redis, "add", away)
    (result,) = keda.run(BY_ID["strategy/eager"])
    assert (result.verdict, of_verdicts([result.verdict])) == (Verdict.UNKNOWN, 3) and "no answer" in result.detail


def test_whether_keda_may_be_disturbed_can_be_unknown(keda, monkeypatch):
    """That is this case's verdict, and hides those of the others not."""

    def away(*_):
        raise Unreachable("Kubernetes", "k:6443", "no answer")

    monkeypatch.setattr(run_acceptance.running_jobs, "at_risk", away)
    results = keda.run(BY_ID["minimum/with-work"], BY_ID["operator/deleted"])
    assert [result.verdict for result in results] == [Verdict.OK, Verdict.UNKNOWN] and "no answer" in results[1].detail


def test_a_case_whose_scaled_job_is_not_taken_watches_no_more(keda, monkeypatch):
    """Its threads would ask the API server until the suite ends."""
    closed = []

    def refused(*_, **__):
        raise BadAnswer("Kubernetes", "k:6443", "the webhook denied it")

    monkeypatch.setattr(trial.Watch, "close", lambda self: closed.append(self))
    monkeypatch.setattr(trial.Trial, "change", refused)
    (result,) = keda.run(CASES[0])
    assert result.verdict is Verdict.UNKNOWN and len(closed) == 1 and keda.left() == []


def test_what_disturbs_keda_is_only_for_a_local_stack(keda):
    """It is skipped with the reason, and alone it verifies nothing."""
    environment = keda.world.systems.environment
    keda.world.systems.environment = environment.model_copy(update={"approval": "digest"})
    (result,) = keda.run(BY_ID["operator/deleted"])
    assert (result.verdict, of_verdicts([result.verdict])) == (
        Verdict.SKIPPED,
        3,
    ) and "only on a local stack" in result.detail


def test_what_disturbs_keda_is_not_run_where_a_new_operator_would_delete_a_job(keda):
    """A real ScaledJob's Job of another generation would die of it (F3)."""
    keda.world.change(kinds.JOBS, "j1", "prompt-keda-lsstcam", metadata={"annotations": {GENERATION: "1"}})
    (result,) = keda.run(BY_ID["operator/deleted"])
    assert result.verdict is Verdict.SKIPPED and "would delete 1 Jobs" in result.detail
    assert keda.world.kube.find(kinds.PODS, OPERATOR, "keda")


def test_what_disturbs_keda_comes_last_and_the_results_in_order(keda):
    """Whatever the order in which they are asked for."""
    ended = []

    def observe(event):
        if event.kind is EventKind.FINISHED:
            ended.append(event.subject)

    asked = [BY_ID["operator/deleted"], BY_ID["minimum/with-work"]]
    assert [case.id for case in keda.run(*asked, observer=observe)] == [entry.id for entry in asked]
    assert ended == ["acceptance/minimum/with-work", "acceptance/operator/deleted"]


def test_when_it_is_stopped_every_case_cleans_up(keda):
    """Ctrl-C, while one is at work and others wait."""
    began = []

    def observe(event):
        if event.kind is EventKind.STARTED:
            began.append(event.subject)
            if len(began) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keda.run(*CASES, observer=observe)
    assert len(began) < len(CASES) and keda.left() == []


def test_a_defect_of_a_case_is_raised_and_what_it_made_is_removed(keda):
    """No verdict hides it."""

    def run(trial):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keda.run(replace(CASES[0], run=run))
    assert keda.left() == []


def test_leftovers_of_a_killed_suite_go_at_the_next_run(keda):
    """ScaledJob, Jobs, and both streams; what is young may be at work."""
    keda.run(CASES[0])
    for name, age in (("smoke-old", "2000-01-01T00:00:00Z"), ("smoke-young", None)):
        made = scaled_job(keda.world.systems, name, Shape(), "another")
        if age:
            made["metadata"]["creationTimestamp"] = age
        keda.world.kube.create(kinds.SCALED_JOBS, made, NAMESPACE)
        for stream in (name, smoke_objects.hold_stream(name)):
            keda.world.redis.ensure_group(stream, name, "0")
    keda.run(CASES[0])
    left = keda.left()
    assert [obj["metadata"]["name"] for obj in left[:-2]] == ["smoke-young"]
    assert left[-2:] == ["smoke-young", "smoke-young-hold"]


def test_the_suite_needs_no_right_that_a_redeploy_does_not_need(keda):
    """Who may redeploy may verify it in full."""
    keda.run(*CASES)
    environment = keda.world.systems.environment
    rights = redeploy_rights(environment, *manifests(environment))
    assert sorted(needed for needed in keda.recorder.asked if not any(right.covers(needed) for right in rights)) == []


def test_every_case_has_its_row_and_is_seen_red():
    """docs/acceptance.md says what it promises, with the test it is from; and a KEDA that does otherwise is tried."""
    page = (ROOT / "docs" / "acceptance.md").read_text()
    for case in CASES:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{case.id}` |")]
        assert row.split("|")[-2].strip() in case.source, case.id
    assert {case for case, _, _ in OTHERWISE} == set(BY_ID)


def test_every_case_names_its_promise_and_its_source():
    """Ids are unique, and end up in file names and command lines."""
    assert len(BY_ID) == len(CASES) >= 11
    for case in CASES:
        assert case.title and (case.source == "ours" or "/" in case.source), case.id
        assert case.id.count("/") == 1 and case.id == case.id.lower(), case.id


def result(verdict):
    return CaseResult("a/b", "t", "ours", verdict)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([Verdict.OK, Verdict.SKIPPED], 0),
        ([Verdict.OK, Verdict.UNKNOWN], 3),
        ([Verdict.UNKNOWN, Verdict.FAIL], 1),
        ([], 3),
    ],
)
def test_the_exit_code_tells_the_truth(verdicts, code):
    """Broken before unknown before verified; nothing tried is not verified."""
    assert of_verdicts(result(verdict).verdict for verdict in verdicts) == code


def test_a_worker_that_cannot_start_is_red_at_once(keda):
    """Not after the deadline: its image is denied since minutes."""
    waiting = {"reason": "ErrImagePull", "message": "401 unauthorized"}
    status = {
        "phase": "Pending",
        "startTime": "2026-01-01T00:00:00Z",
        "containerStatuses": [{"name": "worker", "image": "i", "state": {"waiting": waiting}}],
    }

    def run(case):
        keda.world.put(kinds.PODS, "p", NAMESPACE, {smoke_objects.SMOKE_LABEL: case.name}, status=status)
        with pytest.raises(StepBroken, match="401 unauthorized"):
            case.runs(1)

    assert keda.run(replace(CASES[0], run=run))[0].verdict is Verdict.OK
