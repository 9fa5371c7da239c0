"""The verdict above all others: red from the symptom alone, and green where nothing stands still."""

from __future__ import annotations

import time

import pytest

from prompt_keda.clients.kube import resources as kinds
from tests.unit.faults import both, broken_verdict, denied, environment, turns_red
from tests.unit.world import GROUP, OPERATOR, SCALED_JOB, SPACE, STREAM, now

WORKS = "scaling/works"
LABELLED = {"scaledjob.keda.sh/name": SCALED_JOB}


def events(count=40, ago_s=60, read_s=None):
    """Let events wait, of which the first came so long ago; the last read was so long ago."""

    def apply(world):
        world.redis.add(STREAM, [{"n": "1"}] * count)
        world.redis.let_come(STREAM, range(1, count + 1), ago_s)
        if read_s is not None:
            world.redis.let_ask(STREAM, GROUP, read_s)

    return apply


def unacknowledged(count, idle_s=90):
    """Let events be given out so long ago that nobody has acknowledged."""

    def apply(world):
        world.redis.add(STREAM, [{"n": "1"}] * count)
        world.redis.grow_old(STREAM, GROUP, world.redis.read(STREAM, GROUP, "worker", count), idle_s)

    return apply


def acknowledged(count):
    """Let as many events come, and be read and acknowledged, as a worker does."""

    def apply(world):
        world.redis.add(STREAM, [{"n": "1"}] * count)
        world.redis.ack(STREAM, GROUP, world.redis.read(STREAM, GROUP, "worker", count))

    return apply


def old_scaled_job(world):
    """Let the ScaledJob stand for long, and no Job of it."""
    world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"creationTimestamp": now(hours=1)})
    world.remove(kinds.JOBS, "j1", SPACE)


def jobs(count, made_s, ended_s=None, end="Complete", suspend=False, pod="Running", node="n1", ran_s=None, name="w"):
    """Let Jobs stand, each with a pod in a phase (None: no pod), made and ended so many seconds ago.

    Parameters
    ----------
    ran_s
        How long their containers ran, where they have ended.
    """

    def apply(world):
        for number in range(count):
            status = {"active": 1}
            if ended_s is not None:
                status = {"conditions": [{"type": end, "status": "True", "lastTransitionTime": now(seconds=ended_s)}]}
            own = f"{name}-{number}"
            world.put(kinds.JOBS, own, SPACE, LABELLED, spec={"suspend": suspend}, status=status)
            world.change(kinds.JOBS, own, SPACE, metadata={"creationTimestamp": now(seconds=made_s)})
            if pod:
                put_pod(world, own, made_s, pod, node, ran_s)

    return apply


def put_pod(world, own, made_s, phase, node, ran_s):
    states = {"Running": {"running": {}}, "Crashing": {"waiting": {"reason": "CrashLoopBackOff"}}}
    state = states.get(phase, {"waiting": {"reason": "ContainerCreating"}})
    if ran_s is not None:
        state = {"terminated": {"startedAt": now(seconds=made_s), "finishedAt": now(seconds=made_s - ran_s)}}
    status = {"name": "prompt-service", "state": state}
    phase = "Running" if phase == "Crashing" else phase
    world.put_pod(f"{own}-pod", SPACE, node, seconds=made_s, phase=phase, containerStatuses=[status])
    owner = {"kind": "Job", "name": own, "uid": world.kube.get(kinds.JOBS, own, SPACE)["metadata"]["uid"]}
    world.change(kinds.PODS, f"{own}-pod", SPACE, metadata={"ownerReferences": [owner]})


def event(reason, kind="ScaledJob", message="m", type_="Normal", ago_s=2, name=SCALED_JOB):
    """Let Kubernetes tell of something that happened so long ago."""

    def apply(world):
        about = {"kind": kind, "name": name, "namespace": SPACE}
        fields = {"reason": reason, "message": message, "type": type_, "lastTimestamp": now(seconds=ago_s)}
        world.put(kinds.EVENTS, f"{name}.{reason}", SPACE, involvedObject=about, **fields)

    return apply


def polled(ago_s):
    """Let KEDA's operator have asked Redis for a lag so long ago."""

    def apply(world):
        world.change(kinds.PODS, OPERATOR, "keda", status={"podIP": "10.0.0.9"})
        world.redis.clients = [
            {"addr": "10.0.0.9:1", "cmd": "xinfo|groups", "idle": str(ago_s)},
            {"addr": "10.0.0.7:1", "cmd": "xinfo|groups", "idle": "0"},
        ]

    return apply


def none_wanted(world):
    """Let the ScaledJob keep no worker, and none run."""
    old_scaled_job(world)
    world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, spec={"minReplicaCount": 0})


def stands_ahead(world):
    """Let somebody have set the group to an id that its stream has not reached, while events come."""
    world.redis.add(STREAM, [{"n": "1"}] * 5)
    world.redis.set_group(STREAM, GROUP, 99, 5)


def clock_set_back(world):
    """Let the stream's newest event be of an hour that is still to come."""
    world.redis.let_stand_at(STREAM, int((time.time() + 3605) * 1000))


def no_loop(world):
    """Let the operator's metrics have no loop for the ScaledJob."""
    world.put_metrics(names=())


def no_metrics(world):
    """Let nobody reach the operator's metrics."""
    world.kube.pages.clear()


def new_leader(world):
    """Let the operator have become the leader just now."""
    world.change(kinds.LEASES, "operator.keda.sh", "keda", spec={"acquireTime": now(seconds=20)})


IDLE = both(old_scaled_job, jobs(3, 20))
"""Three workers wait for events, as they should."""
LONG_IDLE = both(old_scaled_job, jobs(3, 690))
RED = [
    (WORKS, environment(instruments=()), "unknown", "names none"),
    (WORKS, both(old_scaled_job, events()), "fail", "40 events wait, the oldest for 60 s, 0 of 20 workers are at work"),
    (WORKS, both(old_scaled_job, events()), "fail", "there is no Job at all"),
    (WORKS, both(LONG_IDLE, events(read_s=1)), "fail", "3 of 20 workers are at work; no Job was made for 11 min"),
    (WORKS, both(LONG_IDLE, events()), "fail", "nobody has ever read"),
    (WORKS, both(LONG_IDLE, events(read_s=50)), "fail", "nobody has read for 50 s"),
    (WORKS, both(old_scaled_job, jobs(20, 90, suspend=True, pod=None), events()), "fail", "20 Jobs are suspended"),
    (WORKS, both(old_scaled_job, jobs(20, 90, pod=None), events()), "fail", "20 Jobs have no pod, the oldest for "),
    (
        WORKS,
        both(old_scaled_job, jobs(20, 90, pod="Pending", node=None), events()),
        "fail",
        "20 pods have no node, the oldest for ",
    ),
    (
        WORKS,
        both(old_scaled_job, jobs(20, 90, pod="Pending"), events()),
        "fail",
        "20 pods do not run, the oldest for ",
    ),
    (WORKS, both(old_scaled_job, jobs(20, 90, pod="Crashing"), events()), "fail", "pods do not run, the oldest"),
    (WORKS, both(old_scaled_job, jobs(3, 90, pod=None)), "fail", "no event waits, 0 of 20 workers are at work; 3 are"),
    (WORKS, old_scaled_job, "fail", "3 are the least; there is no Job at all"),
    (
        WORKS,
        both(old_scaled_job, jobs(3, 90, pod="Succeeded", ran_s=35)),
        "fail",
        "0 of 20 workers are at work; 3 are the least",
    ),
    (
        WORKS,
        both(old_scaled_job, jobs(5, 8, ended_s=5, pod="Succeeded", ran_s=0), jobs(3, 1, pod="Pending", name="x")),
        "fail",
        "5 workers of the last minute ended at once",
    ),
    (
        WORKS,
        both(old_scaled_job, jobs(20, 8, 5, "Failed", pod="Failed", ran_s=0), events(ago_s=20)),
        "fail",
        "20 workers of the last minute failed at once; nobody has ever read; 5 of the newest 5 Jobs failed",
    ),
    (WORKS, both(IDLE, jobs(3, 50, 49, pod="Succeeded", ran_s=0, name="x")), "warn", "3 workers of the last minute"),
    (
        WORKS,
        both(IDLE, unacknowledged(3, idle_s=40)),
        "fail",
        "the last 3 events that were given out are not acknowledged",
    ),
    (
        WORKS,
        both(old_scaled_job, jobs(20, 90), events(ago_s=40, read_s=39)),
        "warn",
        "20 of 20 workers are at work; the capacity model says",
    ),
    (
        WORKS,
        both(old_scaled_job, events(), event("KEDAJobsCreated")),
        "fail",
        "and none came to be",
    ),
    (
        WORKS,
        both(
            old_scaled_job,
            jobs(20, 90, pod="Pending"),
            events(),
            event("FailedMount", "Pod", 'configmap "no" not found', "Warning", 9, "w-7-pod"),
        ),
        "fail",
        'Pod w-7-pod: FailedMount: configmap "no" not found',
    ),
    (
        WORKS,
        both(LONG_IDLE, jobs(3, 60, pod="Pending", name="x")),
        "fail",
        "3 of 20 workers are at work; 3 pods do not",
    ),
    (WORKS, both(LONG_IDLE, jobs(3, 60, pod=None, name="x")), "fail", "3 Jobs have no pod"),
    (WORKS, both(old_scaled_job, jobs(1, 60, pod="Pending"), jobs(2, 9, name="x")), "fail", "3 are the least; 1 pods"),
    (WORKS, both(LONG_IDLE, jobs(1, 60, pod="Pending", name="x")), "warn", "1 pods do not run"),
    (WORKS, both(old_scaled_job, jobs(20, 5), events(ago_s=60, read_s=60)), "fail", "nobody has read for 60 s"),
    (WORKS, both(IDLE, clock_set_back), "warn", "Redis' clock is 60 min behind the stream's last id"),
    (WORKS, both(old_scaled_job, events(), denied("list", "events")), "fail", "its Events cannot be read"),
    (WORKS, both(none_wanted, polled(7200)), "fail", "no event waits, 0 of 20 workers are at work; KEDA has not asked"),
    (WORKS, both(LONG_IDLE, polled(7200)), "fail", "KEDA has not asked Redis for 120 min"),
    (WORKS, both(none_wanted, no_loop), "warn", "has asked Redis for nothing, and runs no scale loop"),
    (WORKS, both(none_wanted, no_metrics), "warn", "whether KEDA polls cannot be seen: "),
    (WORKS, both(none_wanted, polled(1), stands_ahead), "fail", "the group stands ahead of its stream"),
    (WORKS, both(LONG_IDLE, events(read_s=1), polled(1200)), "fail", "KEDA has not asked Redis for 20 min"),
]

test_a_check_turns_red_for_its_reason = turns_red(RED)


def test_when_each_link_moved_last_is_reported():
    """Also where all is well: the detail has the time of each link that was seen."""
    detail = broken_verdict(WORKS, both(IDLE, polled(1))).detail
    assert "KEDA polls 1 s ago" in detail and "Jobs are made " in detail and "pods are scheduled " in detail


def test_a_warning_of_what_is_gone_is_not_quoted():
    """It tells of something else; an Event lives on for an hour."""
    gone = event("FailedMount", "Pod", "of another day", "Warning", 9, f"{SCALED_JOB}-gone")
    assert (
        "another day"
        not in broken_verdict(WORKS, both(old_scaled_job, jobs(20, 90, pod="Pending"), events(), gone)).observed
    )


@pytest.mark.parametrize(
    "stack",
    [
        IDLE,
        both(old_scaled_job, jobs(3, 40, ended_s=2, pod="Succeeded", ran_s=30)),
        both(old_scaled_job, jobs(3, 40, pod="Succeeded", ran_s=35)),  # a busy Job controller has not told the Jobs yet
        both(old_scaled_job, jobs(3, 50, ended_s=20, pod="Succeeded", ran_s=30), jobs(3, 17, pod="Pending", name="x")),
        both(IDLE, events(60, ago_s=1, read_s=1)),
        both(IDLE, jobs(17, 2, pod="Pending", name="x"), events(60, ago_s=3, read_s=3)),
        both(old_scaled_job, jobs(20, 90), events(ago_s=18, read_s=17)),
        both(IDLE, unacknowledged(1)),
        both(IDLE, unacknowledged(3, idle_s=1)),
        both(unacknowledged(5, idle_s=90), IDLE, acknowledged(4)),
        both(none_wanted, polled(2), no_metrics),
        none_wanted,
        both(none_wanted, no_loop, new_leader),
    ],
    ids=[
        "idle workers",
        "idle workers that have just ended",
        "idle workers whose pods have just ended",
        "their successors start",
        "a burst that has just come",
        "workers that start for a burst",
        "all workers at work, within the target",
        "one event that a killed worker has left",
        "events that were just given out",
        "many events that dead workers have left, and none since",
        "no worker is wanted, and KEDA has just polled",
        "no worker is wanted, and KEDA's metrics have a loop",
        "no loop yet: the operator has just become the leader",
    ],
)
def test_what_does_its_work_or_has_none_is_green(stack):
    """Workers come and go: nothing of that stands still."""
    outcome = broken_verdict(WORKS, stack)
    assert outcome.verdict.value == "ok", outcome


@pytest.mark.parametrize(
    "stack",
    [
        both(
            old_scaled_job,
            jobs(5, 90),
            jobs(15, 60, ended_s=2, pod="Succeeded", ran_s=50, name="x"),
            events(300, ago_s=70, read_s=0.2),
        ),
        both(
            old_scaled_job,
            jobs(19, 90),
            jobs(1, 90, ended_s=3, pod="Succeeded", ran_s=80, name="x"),
            jobs(1, 1, pod="Pending", name="y"),
            events(300, ago_s=70, read_s=60),
        ),
        both(old_scaled_job, jobs(10, 90), jobs(1, 18, pod="Pending", name="y"), events(1, ago_s=20, read_s=20)),
        both(LONG_IDLE, jobs(4, 60, pod="Pending", name="x"), jobs(1, 9, name="y")),
    ],
    ids=[
        "many workers end at the same time",
        "one ends while the others work on long visits",
        "a worker starts slowly for the one event that waits",
        "some have never run, and the newest does",
    ],
)
def test_workers_that_are_replaced_under_load_are_no_failure(stack):
    """All places are taken, or were a moment ago: events wait for a worker, which is told and is not broken."""
    outcome = broken_verdict(WORKS, stack)
    assert outcome.verdict.value == "warn", outcome
