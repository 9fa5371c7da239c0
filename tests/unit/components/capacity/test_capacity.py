"""The model of a burst, held to what was measured with real parts."""

from __future__ import annotations

import pytest

from prompt_keda.components.capacity.prediction import NODES, Limit, predict

STOCK = {
    "keda": Limit(20, 30),
    "controller_manager": Limit(20, 30),
    "scheduler": Limit(50, 100),
    "syncer": None,
    "before_s": 0,
    "after_s": 0,
}


@pytest.mark.parametrize(
    ("jobs_count", "changes", "measured_s", "binds"),
    [
        (189, {"controller_manager": Limit(300, 600)}, 8.0, "keda-operator"),
        (1700, {"controller_manager": Limit(-1, 0)}, 84, "keda-operator"),
        (189, {}, 21, "kube-controller-manager"),
    ],
    ids=["a relieved controller manager", "1700 Jobs by KEDA alone", "stock"],
)
def test_the_prediction_is_what_was_measured(jobs_count, changes, measured_s, binds):
    """KEDA 2.16.1 with Kubernetes 1.34 on 2 cores; within a twentieth, and by the right limit."""
    prediction = predict(jobs_count, **STOCK | changes)
    assert prediction.seconds == pytest.approx(measured_s, rel=0.05) and prediction.binding.name == binds


def test_the_rate_of_a_stock_controller_manager_is_what_was_measured():
    """8.9 pods a second over 189 Jobs."""
    assert 189 / predict(189, **STOCK).seconds == pytest.approx(8.9, rel=0.02)


def test_what_binds_next_is_counted():
    """Relief of one limit ends where the next begins: no promise of more."""
    stock = predict(189, **STOCK)
    assert stock.relieved(20) == (Limit(50, 100), pytest.approx(7.95))
    assert predict(1700, **STOCK | {"keda": Limit(300, 600), "controller_manager": Limit(300, 600)}).relieved(20) == (
        Limit(100, 200),
        pytest.approx(15),
    )
    assert (
        predict(9000, **STOCK | {"keda": Limit(1000, 1), "controller_manager": Limit(500, 1)}).relieved(1) is not None
    )
    assert predict(9000, **STOCK | {"scheduler": Limit(300, 1), "controller_manager": Limit(-1, 1)}).binding.name


def test_polling_and_the_start_of_the_pod_are_added():
    """KEDA may just have looked when the events come."""
    assert predict(1, **STOCK | {"before_s": 2, "after_s": 12}).seconds == 14


def test_a_vcluster_has_one_stage_more():
    """Its syncer can bind."""
    prediction = predict(
        800, **STOCK | {"keda": Limit(-1, 0), "controller_manager": Limit(-1, 0), "syncer": Limit(40, 80)}
    )
    assert (prediction.binding.name, prediction.seconds) == ("the vCluster's syncer", pytest.approx(42))


def test_nodes_that_start_pods_one_by_one_set_the_pace():
    """No limit on requests helps then."""
    prediction = predict(40, **STOCK | {"starts": Limit(4, 0), "before_s": 1, "after_s": 2})
    assert (prediction.binding.name, prediction.seconds, prediction.relieved(5)) == (NODES, 13, None)
    assert predict(40, **STOCK | {"starts": Limit(40, 0)}).binding.name == "kube-controller-manager"
