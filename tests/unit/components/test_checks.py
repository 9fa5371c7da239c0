"""Every check is seen green on doubles that are as they should be, and red when one thing is not.

The rows that turn them red stand in the folder of each dependency, test_checks_*.py; faults of a world in tests/unit/faults.py.
The contract suites hold the doubles to what the real servers do.
"""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.core.event import nobody
from prompt_keda.core.outcomes import ok, skipped, worst_of
from prompt_keda.core.run_checks import run_checks
from tests.unit.components.argocd import test_checks_argocd as argocd
from tests.unit.components.capacity import test_checks_capacity as capacity
from tests.unit.components.cluster import test_checks_cluster as cluster
from tests.unit.components.event_source import test_checks_redis as redis
from tests.unit.components.identity import test_checks_identity as identity
from tests.unit.components.images import test_checks_images as images
from tests.unit.components.keda import test_checks_keda as keda
from tests.unit.components.scaled_jobs import test_checks_jobs as jobs
from tests.unit.components.scaled_jobs import test_checks_scaled_jobs as scaled_jobs
from tests.unit.components.scaling import test_checks_scaling as scaling
from tests.unit.components.vault import test_checks_vault as vault
from tests.unit.faults import broken_verdict, delivered_by_argo_cd
from tests.unit.world import CHECKS, GROUP, SCALED_JOB, SPACE, STREAM, World

FILES = (argocd, capacity, cluster, identity, images, jobs, keda, redis, scaled_jobs, scaling, vault)
"""Each has its rows ``RED``."""


def here():
    """The deep ones: smoke/test_deep.py; those of a vCluster's host: cluster/test_vcluster_host.py."""
    return [id_ for id_, check in CHECKS.items() if not (check.deep or id_.startswith("cluster/host-"))]


@pytest.mark.parametrize("check", here())
def test_a_check_is_green_when_all_is_as_it_should_be(check):
    """On the doubles."""
    world = World()
    delivered_by_argo_cd(world)
    outcome = world.verdict(check)
    assert outcome.verdict.value == "ok", outcome


def test_the_checks_read_and_never_write():
    """All of them, side by side, on doubles whose writing methods raise; and nothing is other than before."""
    world = World()
    delivered_by_argo_cd(world)
    before = copy.deepcopy((world.kube._objects, world.redis._streams))
    world.systems._made |= world.read_only()
    checks = [CHECKS[id_] for id_ in here()]
    results = run_checks(checks, world.systems, nobody, timedelta(seconds=30))
    assert [result for result in results if result.verdict.value != "ok"] == []
    assert (world.kube._objects, world.redis._streams) == before


def test_what_grows_is_read_in_pages():
    """A cluster in full swing has thousands of pods and Jobs: they are no peak in memory."""
    world, whole = World(), set()
    original = world.kube.list
    world.kube.list = lambda *asked, **options: [whole.add(asked[:2]), original(*asked, **options)][1]
    world.kube.each = original
    run_checks([check for check in CHECKS.values() if not check.deep], world.systems, nobody, timedelta(seconds=30))
    of_all = {(kinds.PODS,), (kinds.DEPLOYMENTS,), (kinds.LEASES,)}
    assert not whole & {*of_all, (kinds.PODS, SPACE), (kinds.JOBS, SPACE)} and (kinds.NODES,) in whole


def test_where_all_is_skipped_so_is_the_whole():
    """It is not green: nothing was looked at."""
    assert worst_of([skipped("a"), skipped("b")], "good").verdict.value == "skipped"
    assert worst_of([skipped("a"), ok("b")], "good").observed == "good"


@pytest.mark.parametrize(
    "write",
    [
        lambda made: made["kube"].patch(kinds.SCALED_JOBS, SCALED_JOB, SPACE, {}),
        lambda made: made["kube"].request("DELETE", "/"),
        lambda made: made["redis"].ensure_group(STREAM, "new", "$"),
        lambda made: made["redis"].count_read(STREAM, GROUP),
    ],
    ids=["patch", "request", "ensure_group", "count_read"],
)
def test_the_doubles_that_checks_get_let_nothing_be_written(write):
    """Otherwise the test above, and every row of FILES, would prove nothing of that."""
    with pytest.raises(AssertionError, match="never writes"):
        write(World().read_only())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.__name__.rpartition("_")[2])
def test_what_is_not_green_says_what_to_do(file):
    """A fix, or a runbook: for every row that is not SKIPPED."""
    helpless = {
        (check, outcome.observed)
        for check, fault, verdict, _ in file.RED
        if verdict != "skipped"
        for outcome in [broken_verdict(check, fault)]
        if not (outcome.fix or CHECKS[check].fix or CHECKS[check].runbook)
    }
    assert helpless == set()


def test_every_check_is_seen_red():
    """A new check needs a row in the file of its dependency."""
    assert {row[0] for file in FILES for row in file.RED} == set(here())
