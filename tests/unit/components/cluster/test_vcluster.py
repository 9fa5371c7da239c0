"""In a vCluster: what is a stand-in is never green, and its own troubles are told in its own words."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.kube.in_vcluster import SKIP_BACKSYNC
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.components.cluster import vcluster
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import Refused
from prompt_keda.core.run_checks import look
from prompt_keda.delivery.manifests import load_instrument_objects
from prompt_keda.environment.model import ClientLimit
from prompt_keda.lab.faults import vcluster as faults
from tests.unit.faults import both, broken_verdict, change, denied, environment, known
from tests.unit.world import SCALED_JOB, SPACE, World, now

FAKE = change(kinds.NODES, "n1", metadata={"labels": {vcluster.FAKE_NODE: "true"}})
SYNCER = ClientLimit(qps=40, burst=80)
NAMED = both(FAKE, known(syncer=SYNCER, host_workers_count=400))
CHECKS = {check.id: check for check in ALL_CHECKS}
STAND_INS = {
    "cluster/nodes-ready": "skipped",
    "cluster/nodes-have-room": "unknown",
    "capacity/burst-absorbed": "unknown",
    "capacity/maximum-fits": "unknown",
    "capacity/quota-allows": "skipped",
    "images/platforms-fit": "skipped",
}
"""Check id → what it says where nobody has stated the host's room."""
LOOKS_AT_NODES = {
    "cluster/nodes-report",  # finds no Lease of such a node
    "cluster/pods-start",  # whether it is a vCluster
    "cluster/pods-synced-in-time",  # the same
    "cluster/vcluster-named",
    "cluster/version-accepted",  # the same
    "cluster/workers-outlive-the-store",  # the same
    "images/layers-present",  # the registry's parts for the platform that they show
    "scaling/works",  # makes nothing of what they show
}
"""Checks that read nodes as well."""


def says(fault, id_):
    """Return what a check says with a vCluster's own words."""
    world = World()
    fault(world)
    return look(vcluster.without_verdict_on_rights(CHECKS[id_]), world.systems)


@pytest.mark.parametrize(("check", "verdict"), STAND_INS.items())
def test_a_stand_in_is_never_green(check, verdict):
    """Also where the environment does not name the vCluster."""
    outcome = broken_verdict(check, FAKE)
    assert outcome.verdict.value == verdict, outcome


def reads_nodes(id_):
    """Return whether a check asks for the list of nodes."""
    world, asked = World(), []
    list_ = world.kube.list
    world.kube.list = lambda resource, *rest, **options: asked.append(resource) or list_(resource, *rest, **options)
    world.verdict(id_)
    return kinds.NODES in asked


def test_every_check_that_reads_nodes_is_listed():
    """A new one has to say what it makes of nodes that a syncer has made up."""
    readers = {id_ for id_, check in CHECKS.items() if not check.deep and reads_nodes(id_)}
    assert readers == STAND_INS.keys() | LOOKS_AT_NODES


def test_a_vcluster_that_the_environment_does_not_name_is_a_warning():
    """Its made-up nodes tell it."""
    outcome = broken_verdict("cluster/vcluster-named", FAKE)
    assert (outcome.verdict.value, "capacity.syncer" in outcome.fix) == ("warn", True)


def test_a_vcluster_that_is_named_is_green_and_so_is_no_vcluster():
    """Both are as the environment says."""
    assert broken_verdict("cluster/vcluster-named", NAMED).verdict is Verdict.OK
    assert broken_verdict("cluster/vcluster-named", lambda world: None).verdict is Verdict.OK


@pytest.mark.parametrize(("span", "words"), [(3, "the median 3 s after"), (None, "no pod was started")])
def test_pods_that_start_soon_on_the_host_are_green_and_so_are_none(span, words):
    """What started long ago says nothing of now."""

    def fault(world):
        FAKE(world)
        ago = 60 if span else 3600
        world.put_pod("p", SPACE, "n1", seconds=ago + (span or 100), startTime=now(seconds=ago))

    outcome = broken_verdict("cluster/pods-synced-in-time", fault)
    assert (outcome.verdict, words in outcome.observed) == (Verdict.OK, True), outcome


def deciding(skip_backsync, annotations):
    """Return a vCluster whose only ScaledJob is to be marked, or not, and is as it is."""

    def fault(world):
        NAMED(world)
        (instrument,) = world.systems.environment.instruments
        decided = instrument.model_copy(update={"skip_backsync": skip_backsync})
        environment(instruments=(decided,))(world)
        spec = world.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)["spec"]
        template = {**spec["jobTargetRef"]["template"], "metadata": {"annotations": annotations}}
        world.change(
            kinds.SCALED_JOBS, SCALED_JOB, SPACE, spec={"jobTargetRef": {**spec["jobTargetRef"], "template": template}}
        )

    return fault


MARKED = {SKIP_BACKSYNC: "true"}
OUTLIVE = "cluster/workers-outlive-the-store"


@pytest.mark.parametrize(
    ("wanted", "annotations", "verdict", "words"),
    [
        (True, MARKED, "ok", "marked"),
        (None, MARKED, "ok", "marked"),
        (False, {}, "ok", "not wanted"),
        (True, {}, "warn", "that is not wanted"),
        (None, {}, "warn", "nobody has decided that"),
        (True, {SKIP_BACKSYNC: "yes"}, "warn", "that is not wanted"),
    ],
)
def test_whether_workers_outlive_the_store_is_decided_by_a_person(wanted, annotations, verdict, words):
    """What a syncer does on a store that was lost cannot be undone; what the annotation costs is told."""
    outcome = broken_verdict(OUTLIVE, deciding(wanted, annotations))
    assert (outcome.verdict.value, words in outcome.observed) == (verdict, True), outcome


def test_outside_of_a_vcluster_there_is_nothing_to_decide():
    """No syncer deletes anything there."""
    assert broken_verdict(OUTLIVE, lambda world: None).verdict is Verdict.OK


def test_the_annotation_is_put_on_a_scaled_job_of_a_manifest_that_asks_for_it():
    """Nothing else of it changes, nor of what stands beside it."""
    (instrument,) = World().systems.environment.instruments
    plain = load_instrument_objects(instrument, None)
    marked = load_instrument_objects(instrument.model_copy(update={"skip_backsync": True}), None)
    assert plain == load_instrument_objects(instrument.model_copy(update={"skip_backsync": False}), None)
    for before, after in zip(plain, marked, strict=True):
        if before["kind"] == "ScaledJob":
            annotations = after["spec"]["jobTargetRef"]["template"].pop("metadata")["annotations"]
            assert annotations.pop(SKIP_BACKSYNC) == "true" and annotations == {}
            before["spec"]["jobTargetRef"]["template"].pop("metadata", None)
        assert before == after


def test_no_pull_is_counted_on_nodes_that_list_no_images():
    """A made-up node lists none, whatever its host has."""
    assert "the last worker runs after 4 s" in broken_verdict("capacity/burst-absorbed", NAMED).observed


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (
            'pods "p1" is forbidden: exceeded quota: host-quota, requested: pods=1',
            "the quota of the vCluster's namespace",
        ),
        ('admission webhook "x" denied the request', "the host's admission refuses"),
        ("something else", "cannot make this on its host"),
    ],
)
def test_a_pod_that_the_host_does_not_make_names_the_hosts_reason(words, fix):
    """Neither scheduler nor syncer is the culprit."""

    def fault(world):
        NAMED(world)
        world.put_pod("p1", SPACE, None, False)
        (pod,) = [pod for pod in world.kube.list(kinds.PODS, SPACE) if pod["metadata"]["name"].startswith("p1")]
        about = {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        condition = {
            "reason": "SyncError",
            "message": f"Error syncing: {words}",
            "type": "Warning",
            "lastTimestamp": now(),
        }
        world.put(kinds.EVENTS, "e1", SPACE, involvedObject=about, **condition)

    outcome = broken_verdict("cluster/pods-start", fault)
    assert outcome.verdict is Verdict.FAIL
    assert f"its host does not make it: SyncError: Error syncing: {words}" in outcome.observed
    assert fix in outcome.fix


def test_what_may_not_be_looked_at_in_a_vcluster_is_unknown():
    """A store that was lost takes people's rights with it: a 403 tells nothing of what is behind it."""
    outcome = says(both(NAMED, denied("list", "deployments")), "keda/one-version")
    assert (outcome.verdict, "bind them again" in outcome.fix) == (Verdict.UNKNOWN, True), outcome


def test_elsewhere_a_right_that_lacks_is_named_as_before():
    """A cluster that is no vCluster, and the checks of rights."""
    assert says(denied("list", "deployments"), "keda/one-version").verdict is Verdict.FAIL


def test_an_error_of_another_system_stays_as_it_is():
    """Vault's refusal has nothing to do with the vCluster."""

    def refuse(systems):
        raise Refused("Vault", "https://vault", "403 on GET secret", "Ask.")

    world = World()
    NAMED(world)
    checked = vcluster.without_verdict_on_rights(type(CHECKS["vault/unsealed"])("vault/x", "X", refuse))
    assert look(checked, world.systems).fix == "Ask."


def test_the_header_names_a_vcluster():
    """As soon as it is known: by the environment, or by what a check has seen."""
    world = World()
    assert vcluster.header(world.systems, may_ask=True) == ""
    FAKE(world)
    fresh = World()
    FAKE(fresh)
    assert vcluster.header(fresh.systems, may_ask=False) == ""
    assert vcluster.header(fresh.systems, may_ask=True) == vcluster.HEADER
    assert vcluster.header(fresh.systems, may_ask=False) == vcluster.HEADER


class Killed(Exception):
    """Somebody has killed who lost or restored the store."""


@pytest.mark.parametrize("survives", range(4))
@pytest.mark.parametrize("act", [faults.lose_store, faults.restore_store])
def test_a_store_is_whole_whenever_who_loses_or_restores_it_is_killed(monkeypatch, tmp_path, act, survives):
    """It lies under one of its two names: reverting the fault puts it back."""
    store = tmp_path / "vcluster-etcd"
    (store / "member").mkdir(parents=True)
    (store / "member" / "db").write_text("all of it")
    monkeypatch.setattr(faults, "renew_operator", lambda stage: None)
    monkeypatch.setattr(faults.vcluster, "on_host", lambda *arguments: "Bound")
    stage, left = SimpleNamespace(lab=SimpleNamespace(state=tmp_path)), []

    def scale(*arguments):
        if not left:
            raise Killed
        left.pop()

    monkeypatch.setattr(faults.vcluster, "scale", scale)
    if act is faults.restore_store:
        left[:] = [None] * 2
        faults.lose_store(stage)
        (store / "member").mkdir()
        (store / "member" / "db").write_text("a new one")
    left[:] = [None] * survives
    with suppress(Killed):
        act(stage)
    left[:] = [None] * 9
    faults.restore_store(stage)
    assert (store / "member" / "db").read_text() == "all of it"
