"""What pods ask for is counted as Kubernetes' scheduler counts it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from prompt_keda.model.pod_room import Room, asked_by, free_rooms, place, quantity, takes

MI = 2**20


@pytest.mark.parametrize(
    ("text", "number"),
    [("250m", "0.25"), ("2", "2"), (2, "2"), ("16Mi", 16 * MI), ("1Gi", 1024 * MI), ("1e3", 1000), ("5k", 5000)],
)
def test_a_quantity_is_read(text, number):
    """With the suffixes of Kubernetes, and as a plain number."""
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "many", "1Xi", "m"])
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
        ({"containers": [{}]}, "0"),
    ],
)
def test_a_pod_asks_for_what_the_scheduler_counts(pod, cpu):
    """Containers together, the largest init container, sidecars, overhead, and what stands for the whole pod."""
    assert asked_by(pod).cpu == Decimal(cpu) and asked_by(pod).pods_count == 1


def node(name, cpu="2"):
    return {"metadata": {"name": name}, "status": {"allocatable": {"cpu": cpu, "memory": "8Mi", "pods": "9"}}}


def test_room_is_what_running_pods_leave():
    """Those that have ended, and those without a node, take none."""
    spec = {"containers": [container("1")], "nodeName": "a"}
    pods = [{"spec": spec, "status": {"phase": phase}} for phase in ("Running", "Pending", "Succeeded", "Failed")]
    pods.append({"spec": {**spec, "nodeName": None}, "status": {"phase": "Pending"}})
    assert free_rooms([node("a", "3")], pods) == {"a": Room(Decimal(1), Decimal(6 * MI), 7)}


def test_pods_are_put_where_they_fit_whole():
    """Two halves on two nodes hold no pod that needs more than each."""
    free = free_rooms([node("a"), node("b")], [])
    assert place(free, Room(Decimal("1.5"), Decimal(0), 1), 5) == 2
    assert free["a"].lacks(Room(Decimal("1.5"))) == ["cpu"]


def test_a_node_that_does_not_say_that_it_is_ready_takes_nothing():
    """Unknown is not ready."""
    assert not takes(node("a"), {})
