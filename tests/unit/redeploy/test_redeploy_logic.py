"""What a redeploy decides, without a cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from prompt_keda.components.cluster.readiness import why_not_ready
from prompt_keda.components.compare import differences, first_difference, merge_patch
from prompt_keda.components.keda import serving_certificate
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs import running_jobs
from prompt_keda.components.scaled_jobs.objects import GENERATION, SCALED_JOB_LABEL, keeps_older_jobs
from prompt_keda.core.decisions import Decisions, JobRecord, Plan
from prompt_keda.core.errors import BadAnswer
from prompt_keda.core.plan import Progress, State
from prompt_keda.core.run_plan import GO_ON
from prompt_keda.redeploy import restore, verify
from tests.contracts.fakes.redis_streams import FakeRedis

NOW = datetime.now(UTC)


class Cluster:
    """Just enough of a Kube: objects by kind."""

    def __init__(self, **kinds):
        self.kinds = kinds

    def list(self, resource, namespace=None, label_selector="", field_selector=""):
        objects = self.kinds.get(resource.kind, [])
        wanted = dict(obj.split("=") for obj in field_selector.split(",") if obj)
        if wanted:
            objects = [obj for obj in objects if obj["involvedObject"]["kind"] == wanted["involvedObject.kind"]]
            objects = [obj for obj in objects if obj["reason"] == wanted["reason"]]
        return objects

    def each(self, resource, namespace=None, label_selector="", field_selector=""):
        return self.list(resource, namespace, label_selector, field_selector)

    def find(self, resource, name, namespace=None):
        named = [obj for obj in self.list(resource) if obj["metadata"]["name"] == name]
        return named[0] if named else None


def job(name, generation="2", **extra):
    annotations = {GENERATION: generation} if generation else {}
    metadata = {
        "name": name,
        "namespace": "n",
        "uid": f"uid-{name}",
        "labels": {SCALED_JOB_LABEL: "sj"},
        "annotations": annotations,
    }
    return {"metadata": {**metadata, **extra}, "status": {"active": 1}}


def scaled_job(generation, strategy="default"):
    return {
        "metadata": {"name": "sj", "namespace": "n", "generation": generation},
        "spec": {"rollout": {"strategy": strategy}},
    }


@pytest.mark.parametrize(
    ("generation", "strategy", "risky"),
    [("2", "default", []), ("1", "default", ["a"]), (None, "default", ["a"]), ("1", "gradual", [])],
)
def test_a_job_of_another_generation_is_at_risk_unless_the_rollout_is_gradual(generation, strategy, risky):
    """F2 and F3: KEDA compares the annotation with the ScaledJob's generation."""
    at_risk = running_jobs.at_risk(Cluster(Job=[job("a", generation)], ScaledJob=[scaled_job(2, strategy)]))
    assert [job_record.name for job_record in at_risk] == risky


@pytest.mark.parametrize(
    ("spec", "kept"),
    [
        ({}, False),
        ({"rollout": {"strategy": "gradual"}}, True),
        ({"rollout": {"strategy": "gradual"}, "rolloutStrategy": "default"}, False),
        ({"rollout": {"strategy": "default"}, "rolloutStrategy": "gradual"}, True),
    ],
)
def test_the_deprecated_strategy_wins_as_in_keda(spec, kept):
    """KEDA 2.16.1 reads spec.rolloutStrategy first."""
    assert keeps_older_jobs(spec) is kept


def test_a_finished_job_is_not_at_risk():
    """It has nothing to lose."""
    done = job("a", "1")
    done["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert running_jobs.at_risk(Cluster(Job=[done], ScaledJob=[scaled_job(2)])) == ()


def with_lost_lag():
    """A redeploy whose instrument has a group, two events of five read, and a Redis that has forgotten that."""
    redis = FakeRedis()
    redis.ensure_group("s", "g", "0")
    redis.add("s", [{"a": "1"}] * 5)
    redis.read("s", "g", "pod-1", 2)
    redis.forget("s", "g")
    instrument = SimpleNamespace(stream="s", consumer_group="g")
    known = SimpleNamespace(instruments=(instrument,), event_source="redis-streams", redis=None)
    systems = SimpleNamespace(redis=redis, environment=known)
    return Context(systems, [], {}), redis


def test_what_somebody_changed_in_the_midst_of_a_run_is_not_for_resume_alone():
    """It would meet the same conflict again: a new redeploy plans its removal (chaos round 43 of seed 1)."""

    def apply(obj, **options):
        raise BadAnswer("Kubernetes", "x", "409 on PATCH: Apply failed with 1 conflict")

    context = Context(SimpleNamespace(kube=SimpleNamespace(apply=apply), environment=None), [], {})
    with pytest.raises(BadAnswer) as caught:
        context.deliver_all([{"kind": "Role", "metadata": {"name": "r"}}])
    assert "A new ./run redeploy puts it right" in caught.value.fix and GO_ON in caught.value.fix


def test_a_lag_that_redis_has_lost_is_counted_and_verified():
    """F16: TODO, then DONE with the number; the verification waits while it is wrong."""
    context, _ = with_lost_lag()
    assert restore.lag_inspect(context).state is State.TODO
    assert verify.lag_inspect(context).state is State.WORKING
    restore.count_lag(context)
    assert restore.lag_inspect(context).state is State.DONE
    assert verify.lag_inspect(context) == Progress(State.DONE, "s lag 3")


def test_a_lag_that_no_counting_repairs_holds_nothing_up_and_is_not_verified():
    """Events that wait were deleted one by one: the ScaledJobs come all the same; the verification does not pass."""
    context, redis = with_lost_lag()
    redis.count_read = lambda stream, group: True
    restore.count_lag(context)
    inspection = restore.lag_inspect(context)
    assert inspection.state is State.DONE and "cannot say" in inspection.detail
    assert verify.lag_inspect(context).state is State.WORKING


def of_one_group(**values):
    """A redeploy of one instrument whose group exists, on a Redis that holds five events of which two were read."""
    context, redis = with_lost_lag()
    redis.count_read("s", "g")
    context.environment.instruments[0].group_start = "$"
    context.decisions = Decisions(**values)
    return context, redis


def test_a_count_that_is_too_high_on_an_empty_stream_is_repaired_before_the_first_event():
    """`XGROUP CREATE … ENTRIESREAD 5000`: Redis says lag 0, and would say −4999 of the first event."""
    context, redis = of_one_group()
    redis.delete_stream("s")
    redis.ensure_group("s", "g", "$")
    redis.set_group("s", "g", 0, 5000)
    assert redis.group_info("s", "g").lag == 0
    inspection = restore.lag_inspect(context)
    assert inspection.state is State.TODO and "Redis takes 5000 more events for read" in inspection.detail
    restore.count_lag(context)
    redis.add("s", [{"a": "1"}] * 6)
    assert redis.group_info("s", "g").lag == 6


@pytest.mark.parametrize(
    ("asked_for", "waiting", "message"),
    [("", 3, "what it has read"), ("0", 5, "to 0, as asked for"), ("$", 0, "to $, as asked for")],
)
def test_a_group_that_stands_ahead_goes_back_behind_what_it_has_read_or_where_a_person_says(
    asked_for, waiting, message
):
    """No event reaches it there; any other group is never moved."""
    context, redis = of_one_group(group_start=asked_for)
    assert restore.streams_inspect(context).state is State.DONE
    redis.set_group("s", "g", 99, 2)
    inspection = restore.streams_inspect(context)
    assert inspection.state is State.TODO and message in inspection.detail, inspection.detail
    restore.ensure_streams(context)
    restore.count_lag(context)
    assert restore.streams_inspect(context).state is State.DONE
    assert redis.backlog("s", "g").waiting == waiting and redis.backlog("s", "g").is_right


def test_a_stream_that_expires_is_made_to_stay():
    """Redis would delete it with its group and all that waits."""
    context, redis = of_one_group()
    redis.expire("s", 1000)
    assert "s expires" in restore.streams_inspect(context).detail
    restore.ensure_streams(context)
    assert restore.streams_inspect(context).state is State.DONE and redis.lives_ms("s") is None


RESTARTED = {"uptime_in_seconds": 600, "server_time_usec": 600_000_000}
"""By its own clock, which begins with it: the ids of a double begin with 1 ms, and five are there."""
LATER = {**RESTARTED, "server_time_usec": 601_003_000}
"""It began 3 ms later, and more than the second that is not certain."""
ALL, NOTHING = "before all that is there (5 events", "behind what is there (5 events"
BEGINNINGS = {
    "came back empty": ("$", "", RESTARTED, 5, ALL),
    "a smoke test has deleted its stream": ("$", "", {**RESTARTED, "cmdstat_del": {"calls": 1}}, 5, ALL),
    "came back empty, and only what comes is wanted": ("$", "$", RESTARTED, 0, NOTHING),
    "a person took the group away": ("$", "", {**RESTARTED, "cmdstat_xgroup|destroy": {"calls": 1}}, 0, NOTHING),
    "a stream was renamed": ("$", "", {**RESTARTED, "cmdstat_renamenx": {"calls": 1}}, 0, NOTHING),
    "came back with an old stream": ("$", "", LATER, 2, "behind 3-0 (5 events"),
    "tells no clock": ("$", "", {"uptime_in_seconds": 600}, 0, NOTHING),
    "tells nothing of itself": ("$", "", {}, 0, NOTHING),
    "up for long": ("$", "", {**RESTARTED, "uptime_in_seconds": 100_000}, 0, NOTHING),
    "up for long, and all is wanted": ("$", "0", {"uptime_in_seconds": 100_000}, 5, ALL),
    "the environment wants all": ("0", "", {"uptime_in_seconds": 100_000}, 5, ALL),
    "INFO is denied": ("$", "", None, 0, NOTHING),
}


@pytest.mark.parametrize(("as_set", "asked_for", "info", "lag", "message"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_group_that_is_absent_begins_where_nothing_unread_is_lost(as_set, asked_for, info, lag, message):
    """F28: what the stream of a Redis that came back empty holds, nobody has read; else as asked for, or as set."""
    redis = FakeRedis()
    redis.add("s", [{"a": "1"}] * 5)
    if info is None:
        redis.denied_commands.add("INFO")
    else:
        redis.info = lambda section: info
    instrument = SimpleNamespace(stream="s", consumer_group="g", group_start=as_set)
    known = SimpleNamespace(instruments=(instrument,), event_source="redis-streams", redis=None)
    systems = SimpleNamespace(redis=redis, environment=known)
    context = Context(systems, [], {})
    context.decisions = Decisions(group_start=asked_for)
    assert f"missing: s g, to begin {message}" in restore.streams_inspect(context).detail
    restore.ensure_streams(context)
    assert redis.backlog("s", "g").waiting == lag


def test_what_another_group_may_have_read_is_not_read_again():
    """The group has another name since today, and Redis kept its data."""
    redis = FakeRedis()
    redis.add("s", [{"a": "1"}] * 5)
    redis.ensure_group("s", "before", "0")
    redis.info = lambda section: RESTARTED
    instrument = SimpleNamespace(stream="s", consumer_group="g", group_start="$")
    known = SimpleNamespace(instruments=(instrument,), event_source="redis-streams", redis=None)
    systems = SimpleNamespace(redis=redis, environment=known)
    assert restore.group_start(Context(systems, [], {}), instrument) == "$"


def record(name, kind="Job", job_uid=""):
    return JobRecord(kind, "n", name, f"uid-{name}", "sj", "2", job_uid)


def event(kind, uid, reason):
    return {"involvedObject": {"kind": kind, "uid": uid}, "reason": reason}


def test_a_lost_job_is_reported():
    """Gone, another one under its name, being deleted in mid-work: all are losses; that it failed by itself is none."""
    failed = job("failed")
    failed["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    impostor = job("replaced", uid="uid-other")
    dying = job("dying", deletionTimestamp="now")
    kube = Cluster(Job=[job("fine"), failed, impostor, dying])
    before = tuple(record(name) for name in ("fine", "failed", "replaced", "dying", "missing"))
    lost = running_jobs.lost(kube, before)
    assert [name.split("/")[1].split()[0] for name in lost] == ["replaced", "dying", "missing"]
    assert running_jobs.failed(kube, before) == ["failed"]


def test_a_finished_job_that_the_history_limit_removed_is_not_lost():
    """The Job controller's event tells that it had ended; its pod went with it. One whose pod was stopped is lost."""
    events = [event("Job", "uid-a", "Completed"), event("Job", "uid-b", "BackoffLimitExceeded")]
    kube = Cluster(Event=[*events, event("Pod", "uid-b-pod", "Killing")])
    pods = [record(f"{line}-pod", "Pod", f"uid-{line}") for line in "abc"]
    lost = running_jobs.lost(kube, (*(record(line) for line in "abc"), *pods))
    assert [line.split()[:2] for line in lost] == [["Job", "n/c"], ["Pod", "n/b-pod"], ["Pod", "n/c-pod"]]


def test_a_pod_that_is_removed_after_its_job_has_ended_is_not_lost():
    """A Job that is Complete may be in deletion, with its pod."""
    done = job("a", deletionTimestamp="now")
    done["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert running_jobs.lost(Cluster(Job=[done]), (record("a"), record("p", "Pod", "uid-a"))) == []
    running = Cluster(Job=[job("a")])
    assert running_jobs.lost(running, (record("a"), record("p", "Pod", "uid-a"))) == ["Pod n/p is gone"]


def pod(name, job_name, **extra):
    metadata = {"name": name, "namespace": "n", "uid": f"uid-{name}", "ownerReferences": [{"uid": f"uid-{job_name}"}]}
    return {"metadata": {**metadata, **extra}, "status": {"phase": "Running"}}


def test_the_jobs_of_a_smoke_test_are_nobodys_workers():
    """Another redeploy ends while this one begins, and removes its own: they counted as lost (seen)."""
    assert running_jobs.ledger(Cluster(Job=[job("a")], Pod=[pod("p", "a")]), "n") == ()


def test_what_was_on_its_way_out_before_the_run_is_no_loss_of_it():
    """`kubectl delete job --cascade=foreground`, and a finalizer holds its pod. It is noted at the start, and told."""
    going = {"deletionTimestamp": "before"}
    held, orphaned = job("held", **going), job("orphaned", finalizers=["orphan"], **going)
    pods = [pod("p", "held"), pod("q", "orphaned"), pod("r", "fine"), pod("evicted", "fine", **going)]
    before = running_jobs.ledger(Cluster(Job=[held, orphaned, job("fine")], Pod=pods), "smoke")
    assert running_jobs.going(before) == ["Job n/held", "Job n/orphaned", "Pod n/p", "Pod n/evicted"]
    assert JobRecord(**json.loads(json.dumps(before[0].__dict__))) == before[0], "a resumed run reads it"
    kube = Cluster(Job=[{**job("fine"), "metadata": {**job("fine")["metadata"], **going}}])
    assert [words.split()[1] for words in running_jobs.lost(kube, before)] == ["n/fine", "n/q", "n/r"]
    context = Context(SimpleNamespace(kube=kube, environment=None), [], {}, before=before[:1])
    inspection = verify.jobs_inspect(context)
    assert inspection.state is State.DONE and "not counted: Job n/held" in inspection.detail


@pytest.mark.parametrize(
    ("desired", "live", "difference"),
    [
        ({"a": 1}, {"a": 1, "default": 2}, None),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, "a.b"),
        ({"a": {"b": "x"}}, {}, "a"),
        ({"cpu": "1000m"}, {"cpu": "1"}, None),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, None),
        ({"memory": "1Gi"}, {"memory": "1G"}, "memory"),
        ({"storage": "1000G"}, {"storage": "1T"}, None),
        ({"storage": "1024Ti"}, {"storage": "1Pi"}, None),
        ({"l": [1, 2]}, {"l": [1]}, "l"),
        ({"l": [{"a": 1}]}, {"l": [{"a": 2, "b": 3}]}, "l[0].a"),
        ({"value": ""}, {}, None),
        ({"on": True}, {"on": False}, "on"),
    ],
)
def test_a_difference_is_found_where_it_is(desired, live, difference):
    """The server's defaults and forms are no difference; what is asked for and not there is."""
    assert first_difference(desired, live) == difference


def test_what_keda_writes_out_of_its_own_types_is_no_difference():
    """Its first update of a ScaledJob writes a divisor of 0 beside each field of resources, which means 1 as none does."""
    wanted = {"resourceFieldRef": {"resource": "limits.cpu"}}
    live = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}
    assert not list(differences(wanted, live)) and not merge_patch(wanted, live)
    assert list(differences(wanted, {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1k"}}))


def test_certificates_are_good_as_made_and_faults_are_reported():
    """What we make passes; missing, incomplete, expired, not yet valid, expiring and foreign ones do not."""
    secret = serving_certificate.make("keda")
    mixed = {"data": {**secret["data"], "ca.crt": serving_certificate.make("keda")["data"]["ca.crt"]}}
    end = NOW + serving_certificate.LIFETIME

    def look(secret, namespace="keda", now=NOW):
        outcome = serving_certificate.look(secret, namespace, now)
        return outcome.verdict.value, outcome.observed

    assert look(secret)[0] == "ok"
    for (verdict, words), outcome in {
        ("fail", "missing"): look(None),
        ("fail", "incomplete"): look({"data": {}}),
        ("fail", "valid only from"): look(secret, now=NOW - timedelta(days=2)),
        ("fail", "expired on"): look(secret, now=end + timedelta(days=1)),
        ("warn", "expire on"): look(secret, now=end - timedelta(days=89)),
        ("fail", "is not for"): look(secret, "other"),
        ("fail", "is not signed by its CA"): look(mixed),
    }.items():
        assert outcome[0] == verdict and words in outcome[1], outcome


def test_the_digest_covers_the_inputs_and_nothing_else():
    """A Job list or another reason leaves it; another input changes it."""
    plan = Plan("cold", "because", (), inputs={"a": 1})
    assert plan.digest == Plan("cold", "other", (), inputs={"a": 1}, jobs_at_risk=(record("x"),)).digest
    assert plan.digest != Plan("cold", "because", (), inputs={"a": 2}).digest


def waiting(reason, message="", restarts=0, age_s=60):
    started = (NOW - timedelta(seconds=age_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    container = {"image": "i", "restartCount": restarts, "state": {"waiting": {"reason": reason, "message": message}}}
    return {
        "metadata": {"name": "p"},
        "status": {"phase": "Pending", "startTime": started, "containerStatuses": [container]},
    }


@pytest.mark.parametrize(
    ("pod", "hopeless"),
    [
        (waiting("ImagePullBackOff", "401 Unauthorized"), True),
        (waiting("ImagePullBackOff", "401 Unauthorized", age_s=5), False),
        (waiting("ErrImagePull", "connection refused"), False),
        (waiting("CrashLoopBackOff", restarts=1), False),
        (waiting("CrashLoopBackOff", restarts=5), True),
        (waiting("ContainerCreating"), False),
    ],
)
def test_what_cannot_heal_fails_fast(pod, hopeless):
    """An image that stays denied is hopeless; a first denial, and one known restart of the operator, are not."""
    assert why_not_ready(pod, NOW).hopeless is hopeless
