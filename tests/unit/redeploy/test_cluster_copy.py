"""The copy of a run in the cluster: beside the files, never in their way, small enough, and read strictly."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
import uuid

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.core.decisions import Decisions, Deletion, JobRecord, Plan
from prompt_keda.core.errors import Refusal, Unreachable
from prompt_keda.records.lock import STATE_NAMESPACE
from prompt_keda.records.record import JournalFile, RunFolder
from prompt_keda.records.run_record import DETAIL_LENGTH
from prompt_keda.redeploy import (
    cluster_copy,
    copied_journal,
    copied_runs,
)
from prompt_keda.redeploy.cluster_copy import ClusterCopy, TakenOver
from prompt_keda.redeploy.copied_journal import CopiedJournal
from prompt_keda.redeploy.copied_runs import find_runs
from tests.contracts.fakes.kube import FakeKube

SAVED = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledJob",
    "metadata": {"name": "one", "namespace": "prompt", "labels": {"a": "b"}},
    "spec": {"triggers": [{"type": "cron"}]},
}
NOT_SAVED = {**SAVED, "kind": "CustomResourceDefinition", "metadata": {"name": "scaledjobs.keda.sh"}}
PLACE = "/home/somebody/clone"
MIB = 2**20


@pytest.fixture
def kube():
    made = FakeKube()
    made.create(kinds.NAMESPACES, {"metadata": {"name": STATE_NAMESPACE}})
    return made


@pytest.fixture
def run(tmp_path):
    return a_run(tmp_path / "runs")


def a_run(runs, count=2, run_id="20250101t000000z-local-7"):
    """Return the folder of a run that has just begun, as `redeploying.redeploy` writes it."""
    made = RunFolder.adopt(runs, run_id, {}, {}, [])
    record = Deletion("Deployment", "keda", "keda-operator", str(uuid.uuid4()), "differs at\n.spec")
    decisions = Decisions((record,), ("scaledjobs.keda.sh",), saved=("ScaledJob prompt/one",))
    inputs = {"environment": {"name": "local", "ca": f"{PLACE}/ca.pem"}, "mode": "reinstall"}
    plan = Plan("reinstall", "because", (), decisions, inputs, running(count), ("a CRD\nis gone",))
    made.write_json("plan.json", {"environment_file": f"{PLACE}/local.yaml", **plan.to_json()})
    streams = {"instrument:lsstcam": {"length": 5, "lag": 0, "pending": None}, "s": {"unknown": "no\nanswer"}}
    snapshot = {"jobs": [value.__dict__ for value in running(count)], "objects": [SAVED, NOT_SAVED], "streams": streams}
    made.write_json("snapshot.json", snapshot)
    return made


def running(count):
    """Return as many Jobs, each with its pod, named as KEDA and Kubernetes name them."""
    jobs = []
    for number in range(count // 2):
        job, name = str(uuid.uuid4()), f"prompt-keda-lsstcam-{uuid.uuid4().hex[:5]}"
        place = ("prompt-keda-lsstcam", name)
        jobs.append(JobRecord("Job", *place, job, "prompt-keda-lsstcam", str(number)))
        pod = (place[0], f"{name}-{uuid.uuid4().hex[:5]}")
        jobs.append(JobRecord("Pod", *pod, str(uuid.uuid4()), "prompt-keda-lsstcam", None, job))
    return tuple(jobs)


def journaled(kube, run, may_write=lambda: True, observer=None, holder="me"):
    return CopiedJournal(
        JournalFile(run), ClusterCopy(kube, run, holder), may_write, (observer if observer is not None else []).append
    )


def copy_of(kube):
    (copies,) = find_runs(kube, "local")
    return copies


def soon(look):
    end = time.monotonic() + 5
    while not look():
        assert time.monotonic() < end
        time.sleep(0.005)
    return True


def test_the_copy_has_what_another_machine_needs_and_no_more(kube, run):
    """Plan, snapshot and journal; of the plan's inputs digests alone, and no path of this machine."""
    journal = journaled(kube, run)
    journal.append("run", "begin", "by me")
    journal.append("remove/deployments", "begin")
    journal.close()
    copy, plan, snapshot = copy_of(kube), run.read_json("plan.json"), run.read_json("snapshot.json")
    kept = copy.plan().model_dump()
    assert Decisions.from_json(kept["decisions"]).inputs == Decisions.from_json(plan["decisions"]).inputs
    assert {key: kept[key] for key in ("mode", "digest", "input_digests")}.items() <= plan.items()
    assert kept["notes"] == ["a CRD is gone"] and kept["decisions"]["deletions"][0]["why"] == "differs at .spec"
    assert [value.model_dump(exclude_unset=True) for value in copy.snapshot().objects] == [SAVED]
    assert [value.model_dump() for value in copy.snapshot().jobs] == snapshot["jobs"]
    assert copy.snapshot().streams["s"].unknown == "no answer"
    assert copy.entries() == JournalFile(run).entries() and not copy.is_green and copy.result() is None
    packed = [gzip.decompress(base64.b64decode(value)).decode() for value in copy.config_map["binaryData"].values()]
    assert PLACE not in json.dumps(copy.config_map) + "".join(packed)
    assert copy.config_map["metadata"]["labels"][cluster_copy.ENVIRONMENT] == "local"


def test_seventeen_hundred_jobs_fit(kube, tmp_path):
    """Production's maximum, each with its pod, and a journal of many resumes."""
    run = a_run(tmp_path / "runs", 3400)
    journal = JournalFile(run)
    for _ in range(500):
        journal.append("install/apply-parts", "begin", "x" * 120)
    ClusterCopy(kube, run, "me").write()
    config_map = copy_of(kube).config_map
    size = sum(len(value) for value in config_map["data"].values())
    size += sum(len(base64.b64decode(value)) for value in config_map["binaryData"].values())
    assert len(copy_of(kube).snapshot().jobs) == 3400
    assert size < MIB / 2, f"{size} bytes: the API server takes {MIB}, and etcd 1.5 times that with base64"


def test_nothing_is_written_to_the_cluster_before_the_lock_is_held(kube, run):
    """A run that is refused by its preflight, or has no lock, leaves no trace."""
    held = threading.Event()
    journal = journaled(kube, run, held.is_set)
    journal.append("run", "begin")
    journal.append("preflight/prerequisites", "failed")
    journal.close()
    assert find_runs(kube, "local") == []
    journal = journaled(kube, run, held.is_set)
    journal.append("guard/hold-lease", "begin")
    held.set()
    journal.append("guard/hold-lease", "done")
    assert copy_of(kube).entries() == JournalFile(run).entries(), "the first copy is made before the next step"
    journal.close()


def test_each_entry_is_sent_alone(kube, run, monkeypatch):
    """The copy is large, an entry is small."""
    sent, patch = [], kube.patch
    monkeypatch.setattr(kube, "patch", lambda *a: sent.append(json.dumps(a[3])) or patch(*a))
    journal = journaled(kube, run)
    journal.append("run", "begin")
    for number in range(3):
        journal.append("s", "begin", str(number))
        assert soon(lambda: len(copy_of(kube).entries()) == number + 2)  # noqa: B023  waited for in this round
    journal.close()
    assert len(sent) == 3 and all(len(value) < 400 for value in sent)


def deny(kube):
    kube.denied |= {("create", "configmaps"), ("patch", "configmaps"), ("get", "configmaps")}


def delete(kube):
    for value in kube.list(kinds.CONFIG_MAPS):
        kube.delete(kinds.CONFIG_MAPS, value["metadata"]["name"], STATE_NAMESPACE)


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_copy_that_cannot_be_written_stops_nothing(kube, run, from_the_start, monkeypatch):
    """The right is denied: noted in the journal, shown once, and made good once it is there again."""
    monkeypatch.setattr(copied_journal, "TRY_AGAIN_S", 0.01)
    reports = []
    journal = journaled(kube, run, observer=reports)
    if not from_the_start:
        journal.append("run", "begin")
    deny(kube)
    for number in range(5):
        journal.append("s", "begin", str(number))
    assert soon(lambda: ("cluster-copy", "failed") in events(run))
    for number in range(5):
        journal.append("t", "begin", str(number))
    assert len(reports) == 1 and "the run goes on: Kubernetes at" in reports[0].detail and "403" in reports[0].detail
    kube.denied.clear()
    assert soon(lambda: copy_of_or_none(kube) and ("cluster-copy", "caught up") in events(run))
    journal.close()
    assert copy_of(kube).entries() == JournalFile(run).entries()
    assert events(run).count(("cluster-copy", "failed")) == events(run).count(("cluster-copy", "caught up")) == 1


def copy_of_or_none(kube):
    return next(iter(find_runs(kube, "local")), None)


def events(run):
    return [(value["step"], value["event"]) for value in JournalFile(run).entries()]


def test_an_unexpected_error_in_the_copy_stops_nothing(kube, run, monkeypatch):
    """A defect in the copy is no reason to let KEDA lie."""
    monkeypatch.setattr(kube, "create", lambda *a: 1 / 0)
    reports = []
    journal = journaled(kube, run, observer=reports)
    journal.append("run", "begin")
    journal.close()
    assert ("cluster-copy", "failed") in events(run) and "ZeroDivisionError" in reports[0].detail


def test_a_server_that_does_not_answer_holds_up_the_end_only_for_a_while(kube, run, monkeypatch):
    """The end of a run does not wait forever."""
    monkeypatch.setattr(copied_journal, "LAST_TRY_S", 0.05)
    journal = journaled(kube, run)
    journal.append("run", "begin")
    gate = threading.Event()

    def hang(*arguments):
        gate.wait()
        raise Unreachable("Kubernetes", "x", "no answer within 5 s")

    monkeypatch.setattr(kube, "patch", hang)
    journal.append("run", "done")
    began = time.monotonic()
    journal.close()
    assert time.monotonic() - began < 2
    gate.set()


def test_a_copy_that_somebody_deletes_is_made_again(kube, run):
    """With all that it had, and what came since."""
    journal = journaled(kube, run)
    journal.append("run", "begin")
    delete(kube)
    journal.append("s", "begin")
    journal.close()
    assert copy_of(kube).entries() == JournalFile(run).entries() and copy_of(kube).snapshot().jobs
    assert ("cluster-copy", "failed") not in events(run)


def test_who_has_lost_the_run_to_another_machine_writes_over_nobody(kube, run, tmp_path):
    """It slept, its lock expired, and somebody else went on."""
    old = ClusterCopy(kube, run, "old")
    JournalFile(run).append("run", "begin")
    old.write()
    other = a_run(tmp_path / "elsewhere")
    JournalFile(other).replace(copy_of(kube).entries())
    JournalFile(other).append("run", "begin", "resume")
    ClusterCopy(kube, other, "new").write()
    JournalFile(run).append("s", "begin", "late")
    with pytest.raises(TakenOver, match="new goes on"):
        old.write()
    assert copy_of(kube).entries() == JournalFile(other).entries()


def test_somebody_who_labels_the_copy_does_no_harm(kube, run):
    """Another version of the object, and still ours: it is read again, and written."""
    made = ClusterCopy(kube, run, "me")
    made.write()
    kube.patch(kinds.CONFIG_MAPS, f"run-{run.id}", STATE_NAMESPACE, {"metadata": {"labels": {"a": "b"}}})
    JournalFile(run).append("run", "begin")
    made.write()
    copy = copy_of(kube)
    assert len(copy.entries()) == 1 and copy.config_map["metadata"]["labels"]["a"] == "b"


def test_a_resumed_run_goes_on_with_the_same_copy(kube, run):
    """Whatever it held of entries that the files do not have is gone; what is equal is not sent again."""
    journal = JournalFile(run)
    for _ in range(3):
        journal.append("s", "begin")
    ClusterCopy(kube, run, "old").write()
    journal.replace(journal.entries()[:1])
    ClusterCopy(kube, run, "new").write()
    assert copy_of(kube).entries() == journal.entries() and copy_of(kube).config_map["data"]["holder"] == "new"


def test_a_long_detail_is_cut_off(kube, run):
    """An error may quote a page."""
    JournalFile(run).append("s", "failed", "a\tb" + "x" * 100_000)
    ClusterCopy(kube, run, "me").write()
    detail = copy_of(kube).entries()[0]["detail"]
    assert detail.startswith("a b") and len(detail) == DETAIL_LENGTH


def test_of_runs_that_are_over_the_last_five_stay(kube, tmp_path):
    """Finished ones, and unfinished ones that are older than a finished one; a newer unfinished one always stays."""
    for number in range(9):
        state = cluster_copy.GREEN if number in (0, 3, 6) else cluster_copy.UNFINISHED
        labels = {cluster_copy.ENVIRONMENT: "local", cluster_copy.RUN: f"r{number}", cluster_copy.STATE: state}
        metadata = {"name": f"r{number}", "labels": labels, "creationTimestamp": f"2025-01-0{number + 1}T00:00:00Z"}
        kube.create(kinds.CONFIG_MAPS, {"metadata": metadata}, STATE_NAMESPACE)
    newer = {
        "name": "newer",
        "labels": {**labels, cluster_copy.STATE: cluster_copy.UNFINISHED},
        "creationTimestamp": "2999",
    }
    kube.create(kinds.CONFIG_MAPS, {"metadata": newer}, STATE_NAMESPACE)
    other = {"name": "other", "labels": {**labels, cluster_copy.ENVIRONMENT: "prod"}, "creationTimestamp": "2000"}
    kube.create(kinds.CONFIG_MAPS, {"metadata": other}, STATE_NAMESPACE)
    made = ClusterCopy(kube, a_run(tmp_path / "runs"), "me")
    made.write()
    assert len(kube.list(kinds.CONFIG_MAPS)) == 12, "only a run that ends green tidies up"
    made.finish({"mode": "cold", "timings": {"recovery": 1.5}})
    made.write()
    left = [value["metadata"]["name"] for value in kube.list(kinds.CONFIG_MAPS)]
    assert left == ["newer", "other", "r5", "r6", "r7", "r8", "run-20250101t000000z-local-7"]
    assert copy_of(kube).is_green and copy_of(kube).result().timings == {"recovery": 1.5}


def test_a_run_that_ends_while_its_copy_is_written_still_tidies_up(kube, run, monkeypatch):
    """The end comes from another thread, in the middle of a write."""
    monkeypatch.setattr(cluster_copy, "KEPT", 1)
    old = {
        "name": "old",
        "labels": {cluster_copy.ENVIRONMENT: "local", cluster_copy.RUN: "old", cluster_copy.STATE: cluster_copy.GREEN},
    }
    kube.create(kinds.CONFIG_MAPS, {"metadata": old | {"creationTimestamp": "2000"}}, STATE_NAMESPACE)
    made, create = ClusterCopy(kube, run, "me"), kube.create
    monkeypatch.setattr(kube, "create", lambda *a: made.finish({"mode": "cold", "timings": {}}) or create(*a))
    made.write()
    made.write()
    assert [value["metadata"]["name"] for value in kube.list(kinds.CONFIG_MAPS)] == [f"run-{run.id}"]


def packed(value):
    return base64.b64encode(gzip.compress(json.dumps(value).encode())).decode()


def with_plan(**values):
    def change(config_map):
        plan = json.loads(gzip.decompress(base64.b64decode(config_map["binaryData"][cluster_copy.PLAN])))
        config_map["binaryData"][cluster_copy.PLAN] = packed(plan | values)

    return change


def with_decisions(**values):
    def change(config_map):
        plan = json.loads(gzip.decompress(base64.b64decode(config_map["binaryData"][cluster_copy.PLAN])))
        config_map["binaryData"][cluster_copy.PLAN] = packed(plan | {"decisions": plan["decisions"] | values})

    return change


def with_saved(**values):
    def change(config_map):
        snapshot = json.loads(gzip.decompress(base64.b64decode(config_map["binaryData"][cluster_copy.SNAPSHOT])))
        config_map["binaryData"][cluster_copy.SNAPSHOT] = packed(snapshot | {"objects": [SAVED | values]})

    return change


def with_data(name, value):
    return lambda config_map: config_map["data"].__setitem__(name, value)


def with_binary(name, value):
    return lambda config_map: config_map["binaryData"].__setitem__(name, value)


REMOVED = {"kind": "Deployment", "namespace": "keda", "name": "n", "uid": "u", "why": ""}
ENTRY = {"at": "2025-01-01T00:00:00+00:00", "step": "run", "event": "begin", "detail": ""}
DAMAGES = {
    "no plan": lambda config_map: config_map["binaryData"].pop(cluster_copy.PLAN),
    "no snapshot": lambda config_map: config_map["binaryData"].pop(cluster_copy.SNAPSHOT),
    "nothing at all": lambda config_map: [config_map.pop("data"), config_map.pop("binaryData")],
    "no base64": with_binary(cluster_copy.PLAN, "%%%"),
    "no gzip": with_binary(cluster_copy.PLAN, base64.b64encode(b"plain").decode()),
    "no JSON": with_binary(cluster_copy.PLAN, base64.b64encode(gzip.compress(b"{")).decode()),
    "deep JSON": with_binary(cluster_copy.PLAN, base64.b64encode(gzip.compress(b"[" * 10**6)).decode()),
    "cut off": lambda config_map: config_map["binaryData"].update(
        {cluster_copy.PLAN: cut_off(config_map["binaryData"][cluster_copy.PLAN])}
    ),
    "a bomb": with_binary(cluster_copy.SNAPSHOT, base64.b64encode(gzip.compress(b" " * 65 * MIB)).decode()),
    "another key": with_plan(environment_file="/etc/passwd"),
    "a path for a mode": with_plan(mode="../x"),
    "a number for a mode": with_plan(mode=1),
    "no digest": with_plan(digest="abc"),
    "a strange kind": with_decisions(deletions=[REMOVED | {"kind": "Job/../x"}]),
    "a strange name": with_decisions(deletions=[REMOVED | {"name": "../n"}]),
    "a strange namespace": with_decisions(deletions=[REMOVED | {"namespace": "a/b"}]),
    "a strange UID": with_decisions(deletions=[REMOVED | {"uid": "u u"}]),
    "no UID": with_decisions(deletions=[{key: value for key, value in REMOVED.items() if key != "uid"}]),
    "a strange start of groups": with_decisions(group_start="+"),
    "a strange name to save": with_decisions(saved=["ScaledJob ../../x"]),
    "a strange release": with_decisions(helm_release="a b c"),
    "no decisions": with_plan(decisions={}),
    "a forged note": with_plan(notes=["a\nb"]),
    "an object with an owner": with_saved(metadata={"name": "a", "ownerReferences": []}),
    "an object with a path for a version": with_saved(apiVersion="../v1"),
    "an object of no kind": with_saved(kind="scaledjobs/x"),
    "an object without content": with_saved(spec=None),
    "strange jobs": with_binary(cluster_copy.SNAPSHOT, packed({"jobs": [{"kind": "Job"}], "streams": {}})),
    "a gap": lambda config_map: config_map["data"].pop("journal-00000"),
    "an entry that is none": with_data("journal-00001", "[]"),
    "an entry with a forged line": with_data("journal-00001", json.dumps(ENTRY | {"detail": "a\nrefused: b"})),
    "an entry with colours": with_data("journal-00001", json.dumps(ENTRY | {"detail": "\x1b[31m"})),
    "an entry without a time": with_data("journal-00001", json.dumps(ENTRY | {"at": "yesterday"})),
}


def cut_off(text):
    return base64.b64encode(base64.b64decode(text)[:-12]).decode()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_copy_is_reported_in_one_message(kube, run, damage):
    """Nothing of it is used."""
    journal = JournalFile(run)
    journal.append("run", "begin")
    journal.append("s", "begin")
    ClusterCopy(kube, run, "me").write()
    copy = copy_of(kube)
    damage(copy.config_map)
    with pytest.raises(Refusal, match=f"the copy of run {run.id} in the cluster is damaged: ") as caught:
        copy.plan(), copy.snapshot(), copy.entries()
    assert caught.value.what.isprintable() and len(caught.value.what) < 300


@pytest.mark.parametrize(("damage", "why"), [("cut off", "it is cut off"), ("a bomb", "it is too large")])
def test_a_copy_that_was_not_unpacked_whole_says_so(kube, run, damage, why):
    """It is not read any further."""
    ClusterCopy(kube, run, "me").write()
    copy = copy_of(kube)
    DAMAGES[damage](copy.config_map)
    with pytest.raises(Refusal, match=why):
        copy.plan(), copy.snapshot()


def test_an_object_that_only_looks_like_a_run_is_none(kube):
    """Another name, another environment's id, an id that would leave the folder."""
    for name, run_id in (("x", "20250101t000000z-local-1"), ("run-a", "a"), ("run-b", "20250101t000000z-prod-1")):
        labels = {cluster_copy.ENVIRONMENT: "local", cluster_copy.RUN: run_id}
        kube.create(kinds.CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}}, STATE_NAMESPACE)
    assert find_runs(kube, "local") == []


class Cluster:
    """What a plan from the cluster copy is held against: KEDA's manifests, and what stands."""

    namespace, decisions = "keda", Decisions()
    keda_objects = (
        {"kind": "APIService", "metadata": {"name": "v1beta1.external.metrics.k8s.io"}},
        {
            "kind": "Deployment",
            "metadata": {"name": "keda-operator", "namespace": "keda"},
            "spec": {"selector": {"matchLabels": {"app": "keda-operator"}}},
        },
        {
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "scaledjobs.keda.sh"},
            "spec": {
                "group": "keda.sh",
                "scope": "Namespaced",
                "names": {"kind": "ScaledJob", "plural": "scaledjobs"},
                "versions": [{"name": "v1alpha1", "served": True}],
            },
        },
    )

    class systems:
        kube = FakeKube(())


PART = {"app.kubernetes.io/part-of": "keda-operator"}
LIVE = {
    "of-keda": (kinds.DEPLOYMENTS, "keda", PART),
    "mine": (kinds.DEPLOYMENTS, "keda", {}),
    "keda-operator": (kinds.DEPLOYMENTS, "other", PART),
    "database": (kinds.DEPLOYMENTS, "other", {}),
    "keda-operator-1": (kinds.PODS, "keda", {"app": "keda-operator"}),
    "redis-0": (kinds.PODS, "keda", {"app": "redis"}),
    "sh.helm.release.v1.keda.v2": (
        kinds.SECRETS,
        "keda",
        {"owner": "helm", "name": "keda", "status": "pending-upgrade"},
    ),
    "sh.helm.release.v1.keda.v1": (kinds.SECRETS, "keda", {"owner": "helm", "name": "keda", "status": "deployed"}),
    "redis-secret": (kinds.SECRETS, "keda", {}),
}
"""Name → kind, namespace, labels of what stands."""


def cluster():
    kube = Cluster.systems.kube = FakeKube((kinds.DEPLOYMENTS, kinds.PODS, kinds.SECRETS, kinds.NAMESPACES))
    for namespace in ("keda", "other"):
        kube.create(kinds.NAMESPACES, {"metadata": {"name": namespace}})
    for name, (kind, namespace, labels) in LIVE.items():
        kube.create(kind, {"metadata": {"name": name, "labels": labels}, "spec": {}}, namespace)
    return Cluster


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "is_fine"),
    [
        ("APIService", "", "v1beta1.external.metrics.k8s.io", True),
        ("APIService", "", "v1.apps", False),
        ("APIService", "keda", "v1beta1.external.metrics.k8s.io", False),
        ("Namespace", "", "prompt-keda-lsstcam", False),
        ("Deployment", "keda", "of-keda", True),
        ("Deployment", "keda", "mine", False),
        ("Deployment", "keda", "gone", True),
        ("Deployment", "other", "keda-operator", True),
        ("Deployment", "other", "database", False),
        ("Deployment", "other", "gone", True),
        ("Deployment", "", "gone", False),
        ("Lease", "other", "operator.keda.sh", True),
        ("Lease", "other", "other", False),
        ("Lease", "keda", "other", False),
        ("Pod", "keda", "keda-operator-1", True),
        ("Pod", "keda", "redis-0", False),
        ("Pod", "keda", "gone", True),
        ("Pod", "other", "gone", False),
        ("Secret", "keda", "sh.helm.release.v1.keda.v2", True),
        ("Secret", "keda", "sh.helm.release.v1.keda.v1", False),
        ("Secret", "keda", "redis-secret", False),
        ("Secret", "other", "gone", False),
        ("Role", "keda", "gone", False),
        ("Job", "keda", "gone", False),
    ],
)
def test_a_plan_from_the_cluster_copy_removes_parts_of_keda_alone(kind, namespace, name, is_fine):
    """Whoever can write a ConfigMap must not choose what an operator deletes."""
    context, uid = cluster(), "u"
    if name in LIVE:
        uid = context.systems.kube.get(LIVE[name][0], name, namespace)["metadata"]["uid"]
    decisions = Decisions((Deletion(kind, namespace, name, uid, ""),))
    if is_fine:
        copied_runs.refuse_foreign(context, decisions, [SAVED], "r")
        return
    with pytest.raises(Refusal, match="which is no part of KEDA"):
        copied_runs.refuse_foreign(context, decisions, [], "r")


@pytest.mark.parametrize("values", [{"kind": "ClusterRoleBinding"}, {"apiVersion": "batch/v1", "kind": "Job"}])
def test_a_plan_from_the_cluster_copy_brings_back_objects_of_kedas_kinds_alone(values):
    """Nothing that would give rights, or run by itself."""
    with pytest.raises(Refusal, match=f"would bring back {values['kind']} prompt/one, which is no part of KEDA"):
        copied_runs.refuse_foreign(cluster(), Decisions(), [SAVED | values], "r")
