"""What pods ask for is counted as Kubernetes' scheduler counts it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from prompt_keda.components.capacity.pod_room import Free, Room, asked_by, quantity, takes

MI = 2**20


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("250m", "0.25"), ("2", "2"), (2, "2"), ("16Mi", 16 * MI), ("1.5Gi", 1536 * MI), ("1e3", 1000), ("5k", 5000)],
        *[("1E", 10**18), ("1E3", 1000), (".5", "0.5"), ("5.", 5), ("-1", -1)],
    ],
)
def test_a_quantity_is_read(text, number):
    """With the suffixes of Kubernetes, and as a plain number."""
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "many", "1Xi", "m", "NaN", "Infinity", "1_0", "1e3k", "1 Mi", None])
def test_what_is_no_quantity_is_said(text):
    """ValueError, and no number that somebody would believe."""
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)


def container(cpu, **more):
    return {"resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}, **more}


@pytest.mark.parametrize(
    ("pod", "cpu"),
    [
        ({"containers": [container("1"), container("500m")]}, "1.5"),
        ({"containers": [container("1")], "initContainers": [container("3"), container("2")]}, "3"),
        ({"containers": [container("1")], "initContainers": [container("2", restartPolicy="Always")]}, "3"),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("2", restartPolicy="Always"), container("3")],
            },
            "5",
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, "1.25"),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "4"}}}, "4"),
        ({"containers": [container("1")], "resources": {"limits": {"cpu": "4"}}}, "1"),
        ({"containers": [{}], "resources": {"limits": {"cpu": "4"}}}, "4"),
        ({"containers": [{"resources": {"limits": {"cpu": "2"}}}]}, "2"),
        ({"containers": [{}]}, None),
    ],
)
def test_a_pod_asks_for_what_the_scheduler_counts(pod, cpu):
    """Containers together, the largest init container, sidecars, overhead, and what stands for the whole pod."""
    assert asked_by(pod).get("cpu") == (None if cpu is None else Decimal(cpu))


def test_limits_are_counted_alike():
    """But the overhead is no limit of its own."""
    pod = {
        "containers": [{"resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Mi"}}}, {}],
        "initContainers": [{"restartPolicy": "Always", "resources": {"limits": {"memory": "2Mi"}}}],
        "overhead": {"cpu": "500m", "memory": "1Mi"},
    }
    assert asked_by(pod, "limits") == {"memory": 4 * MI}


def node(name, cpu="2", **spec):
    conditions = [{"type": "Ready", "status": "True"}]
    allocatable = {"cpu": cpu, "memory": "8Mi", "pods": "9"}
    return {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions, "allocatable": allocatable}}


def pod(cpu, node="a", phase="Running"):
    return {"spec": {"nodeName": node, "containers": [container(cpu)]}, "status": {"phase": phase}}


def test_room_is_what_running_pods_leave():
    """Those that have ended, and those without a node, take none."""
    pods = [pod("1", phase=phase) for phase in ("Running", "Pending", "Succeeded", "Failed")]
    pods += [pod("1", None), pod("1", "elsewhere")]
    assert Free([node("a", "3")], pods).of("a") == {"cpu": 1, "memory": 6 * MI, "pods": 7}


WORKER = {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}


def test_room_is_counted_node_by_node():
    """Two halves of a worker on two nodes are no worker."""
    nodes = [node("a", "1500m"), node("b", "1500m"), node("c", "500m")]
    assert Free(nodes).room(WORKER) == Room(2, 3, "cpu")
    assert Free(nodes, [pod("1", "b")]).room(WORKER).workers_count == 1


def test_fractions_are_exact():
    """0.3 CPUs hold 3 workers of 0.1, whatever binary fractions say."""
    assert Free([node("a", "300m")]).room({"containers": [container("100m")]}).workers_count == 3


def test_a_node_that_is_overfull_takes_nothing_from_the_others():
    """What daemons take beyond it is no worker less elsewhere."""
    free = Free([node("a", "1"), node("b", "3")], [pod("9")])
    assert free.room(WORKER).workers_count == 3 and free.of("a")["cpu"] == -8


def test_what_is_placed_takes_room():
    """Each on the first node where it fits; and what is too little is named."""
    free = Free([node("a"), node("b", unschedulable=True), node("c", "1")])
    assert (free.place(WORKER, 2), free.room(WORKER).workers_count) == (2, 1)
    assert (free.place(WORKER, 5), free.room(WORKER)) == (1, Room(0, 2, "cpu"))
    assert free.of("b")["cpu"] == 2


def test_without_a_node_that_takes_workers_that_is_what_is_scarce():
    """And not the first resource that they ask for."""
    assert Free([node("a", unschedulable=True)]).room(WORKER) == Room(0, 0, Free([]).room(WORKER).scarce)
    assert "nodes that take them" in Free([]).room(WORKER).scarce


def test_a_node_that_does_not_say_that_it_is_ready_takes_nothing():
    """Unknown is not ready."""
    assert takes(node("a"), {}) and not takes({**node("a"), "status": {}}, {})
