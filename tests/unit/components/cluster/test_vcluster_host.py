"""With a login for a vCluster's host, what is a stand-in inside is a fact: its syncer, pods, quota, nodes, Redis' volume."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest
import yaml

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.kube.in_vcluster import HOST_RIGHT
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.components.cluster import host, vcluster
from prompt_keda.components.identity.check_rights import rights_on_host, rights_to_see_room
from prompt_keda.core.errors import Refused
from prompt_keda.core.places import ENVIRONMENTS
from prompt_keda.core.run_checks import look
from prompt_keda.environment.model import ClientLimit, HostCluster
from tests.contracts.fakes.kube import FakeKube
from tests.contracts.fakes.recorder import Recorder
from tests.unit.faults import known
from tests.unit.world import SPACE, World, conditions

OLD = "2026-01-01T00:00:00Z"
CHECKS = {check.id: check for check in ALL_CHECKS}
RUNS, PODS, REDIS, TOKENS = (
    f"cluster/host-{name}" for name in ("runs-the-vcluster", "has-the-pods", "keeps-redis", "hides-tokens")
)
SERVED = (kinds.NAMESPACES, kinds.PODS, kinds.NODES, kinds.LEASES, kinds.RESOURCE_QUOTAS, kinds.CLAIMS, kinds.VOLUMES)
ABOVE, OTHERS = "above", "another-tenant"


class Vcluster:
    """A world that is a vCluster, and its host, on which all is well."""

    def __init__(self):
        self.world, self.host = World(), FakeKube(SERVED)
        for name in (ABOVE, OTHERS):
            self.host.create(kinds.NAMESPACES, {"metadata": {"name": name}})
        world = self.world
        known(syncer=ClientLimit(qps=40, burst=80), host_workers_count=400)(world)
        world.change(kinds.NODES, "n1", metadata={"labels": {vcluster.FAKE_NODE: "true"}})
        settings = HostCluster(context="h", namespace=ABOVE, name="vc")
        environment = world.systems.environment
        kubernetes = environment.kubernetes.model_copy(update={"host": settings})
        world.systems.environment = environment.model_copy(update={"kubernetes": kubernetes})
        world.systems._made["host"] = self.host
        self.put(kinds.PODS, "vc-0", {"app": "vcluster", "release": "vc"}, status=conditions(Ready="True"))
        for pod in world.kube.list(kinds.PODS):
            self.make(pod)
        self.put_node()
        claim = {host.NAMESPACE: world.systems.environment.redis.namespace}
        labels = {host.MANAGED: "vc"}
        self.put(kinds.CLAIMS, "data", labels, claim, spec={"volumeName": "v"}, status={"phase": "Bound"})
        self.keep_volume("Retain")

    def put(self, kind, name, labels=None, annotations=None, **fields):
        metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
        self.host.create(kind, {"metadata": metadata, **fields}, ABOVE)

    def make(self, pod, uid=""):
        """Make a pod on the host as the syncer does."""
        metadata = pod["metadata"]
        name = f"{metadata['name']}-x-{metadata['namespace']}-x-vc"
        names = {host.UID: uid or metadata["uid"], host.NAMESPACE: metadata["namespace"]}
        self.put(kinds.PODS, name, {host.MANAGED: "vc"}, names, spec={}, status={"phase": "Running"})

    def put_node(self, cpu="4", **spec):
        self.host.delete(kinds.NODES, "n1")
        status = {**conditions(Ready="True"), "allocatable": {"cpu": cpu, "memory": "512Gi", "pods": "500"}}
        self.host.create(kinds.NODES, {"metadata": {"name": "n1"}, "spec": spec, "status": status})

    def use(self, cpu, namespace=OTHERS):
        """Let a pod on the host's node ask for so much."""
        spec = {"nodeName": "n1", "containers": [{"resources": {"requests": {"cpu": cpu}}}]}
        metadata = {"name": "neighbour"}
        if namespace == SPACE:
            metadata |= {"labels": {host.MANAGED: "vc"}, "annotations": {host.NAMESPACE: SPACE}}
            namespace = ABOVE
        self.host.create(kinds.PODS, {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}, namespace)

    def keep_volume(self, policy):
        self.host.delete(kinds.VOLUMES, "v")
        self.host.create(kinds.VOLUMES, {"metadata": {"name": "v"}, "spec": {"persistentVolumeReclaimPolicy": policy}})

    def says(self, id_):
        return look(vcluster.without_verdict_on_rights(CHECKS[id_]), self.world.systems)


@pytest.fixture
def inside():
    return Vcluster()


@pytest.mark.parametrize("id_", [RUNS, PODS, REDIS, TOKENS, "cluster/nodes-ready", "capacity/quota-allows"])
def test_all_is_well_on_a_host_on_which_all_is_well(inside, id_):
    """What was a stand-in is OK now: it was looked at."""
    outcome = inside.says(id_)
    assert outcome.verdict.value == "ok", outcome


@pytest.mark.parametrize("id_", [RUNS, PODS, REDIS, TOKENS])
def test_without_a_host_nothing_is_said_of_it(id_):
    """SKIPPED, and never OK."""
    assert World().verdict(id_).verdict.value == "skipped"


def gone(inside):
    inside.host.delete(kinds.PODS, "vc-0", ABOVE)


def told_to_go(inside):
    inside.host.patch(kinds.PODS, "vc-0", ABOVE, {"metadata": {"deletionTimestamp": OLD}})


def all_gone(inside):
    for pod in inside.host.list(kinds.PODS, ABOVE):
        inside.host.delete(kinds.PODS, pod["metadata"]["name"], ABOVE)


def crashing(inside):
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 7}
    gone(inside)
    status = {"phase": "Running", "containerStatuses": [waiting]}
    inside.put(kinds.PODS, "vc-0", {"app": "vcluster", "release": "vc"}, status=status)


def not_made(inside):
    inside.world.put_pod("late", SPACE, None, False)
    for pod in inside.world.kube.list(kinds.PODS, SPACE):
        if pod["metadata"]["name"].startswith("late"):
            inside.world.change(kinds.PODS, pod["metadata"]["name"], SPACE, metadata={"creationTimestamp": OLD})


def unseen(inside):
    inside.make({"metadata": {"name": "w", "namespace": SPACE}}, uid="of-before")


def node_down(inside):
    inside.host.delete(kinds.NODES, "n1")
    inside.host.create(kinds.NODES, {"metadata": {"name": "n1"}, "status": conditions(Ready="False")})


def unbound(inside):
    inside.host.delete(kinds.CLAIMS, "data", ABOVE)
    claim = {host.NAMESPACE: inside.world.systems.environment.redis.namespace}
    inside.put(kinds.CLAIMS, "data", {host.MANAGED: "vc"}, claim, spec={}, status={"phase": "Pending"})


def token_open(token):
    def put(inside):
        inside.put(kinds.PODS, "k-x-keda-x-vc", {host.MANAGED: "vc"}, {f"{host.IN_ANNOTATION}abc": token})

    return put


def ends_in(**span):
    return jwt.encode({"sub": "keda-operator", "exp": (datetime.now(UTC) + timedelta(**span)).timestamp()}, "k" * 32)


NO_PROMPT = {"key": "prompt", "effect": "NoSchedule"}
ROOM, BURST, FITS = "cluster/nodes-have-room", "capacity/burst-absorbed", "capacity/maximum-fits"


def no_list_of_all_pods(inside):
    """Let only the pods of the vCluster's namespace be listed, as the least of the shipped roles does."""
    each = inside.host.each

    def each_of_one(resource, namespace=None, *arguments, **options):
        if resource == kinds.PODS and namespace is None:
            raise Refused("Kubernetes", "host", "403: cannot list pods", HOST_RIGHT)
        return each(resource, namespace, *arguments, **options)

    inside.host.each = each_of_one


def quota(inside):
    inside.put(kinds.RESOURCE_QUOTAS, "q", spec={"hard": {"pods": "1"}})


RED = [
    (RUNS, gone, "fail", "no pod of vc's syncer is in above of the host: "),
    (RUNS, told_to_go, "fail", "no pod of vc's syncer is in above of the host: "),
    (RUNS, all_gone, "fail", "nothing of the vCluster runs there: where its release was deleted, all that ran is lost"),
    (RUNS, crashing, "fail", "is not ready: CrashLoopBackOff, 7 restarts; "),
    (PODS, not_made, "fail", "1 pods are not made on the host for more than 30 s: late"),
    (PODS, unseen, "warn", "1 pods run on the host and are not there inside: w-x-"),
    (REDIS, lambda inside: inside.keep_volume("Delete"), "warn", "data: the volume goes with the claim (Delete)"),
    (REDIS, unbound, "fail", "data is Pending on the host"),
    (REDIS, lambda inside: inside.host.delete(kinds.CLAIMS, "data", ABOVE), "unknown", "no claim of prompt-redis"),
    (TOKENS, token_open(ends_in(days=3650)), "warn", "open in annotations of 1 pods on the host, the last until 20"),
    (TOKENS, token_open("what says no end"), "warn", "open in annotations of 1 pods on the host: k-x-keda-x-vc"),
    ("cluster/nodes-ready", node_down, "fail", "n1: why"),
    ("capacity/quota-allows", quota, "fail", "quota q lets 1 workers"),
]


@pytest.mark.parametrize(
    ("inside_it", "above", "verdict"),
    [("v1.33.2", "v1.34.0", "warn"), ("v1.34.1", "v1.35.4", "ok"), ("v1.33.2", "v1.33.9", "ok")],
)
def test_a_vcluster_that_is_older_than_a_new_host_is_a_warning(inside, inside_it, above, verdict):
    """Its pods may never become ready."""
    kubernetes = inside.world.systems.environment.kubernetes.model_copy(update={"accepted_versions": ("1.33", "1.34")})
    inside.world.systems.environment = inside.world.systems.environment.model_copy(update={"kubernetes": kubernetes})
    inside.world.kube.version, inside.host.version = lambda: inside_it, lambda: above
    outcome = inside.says("cluster/version-accepted")
    assert (outcome.verdict.value, above in outcome.observed) == (verdict, True), outcome


@pytest.mark.parametrize(
    ("id_", "change", "verdict", "words"),
    [
        (ROOM, lambda inside: None, "ok", "more workers fit on the nodes of the host"),
        (BURST, lambda inside: None, "ok", "more workers on 1 nodes of the host"),
        (FITS, lambda inside: None, "ok", "1 nodes of the host hold "),
        (
            BURST,
            lambda inside: inside.use("3985m"),
            "fail",
            "room for 1 more workers on 1 nodes of the host, one visit",
        ),
        (BURST, lambda inside: inside.put_node(taints=[NO_PROMPT]), "fail", "room for 0 more workers on 0 nodes of"),
        (ROOM, lambda inside: inside.use("3999m"), "warn", "room for 0 of "),
        (FITS, lambda inside: inside.use("3900m"), "warn", "1 nodes of the host hold 10 workers at most"),
        (FITS, lambda inside: inside.use("3900m", SPACE), "ok", "1 nodes of the host hold "),
        (
            FITS,
            lambda inside: inside.host.denied.add(("list", "nodes")),
            "ok",
            "the host's nodes and pods may not be listed",
        ),
        (BURST, no_list_of_all_pods, "ok", "as the environment states; the host's nodes and pods may not be listed"),
        (ROOM, no_list_of_all_pods, "ok", "environments/rbac/vcluster-host.yaml"),
    ],
)
def test_room_is_counted_on_the_hosts_nodes_where_all_its_pods_may_be_listed(inside, id_, change, verdict, words):
    """With what other tenants use of them. Else it is what the environment states, and that is said with what is missing."""
    change(inside)
    outcome = inside.says(id_)
    assert (outcome.verdict.value, words in outcome.observed) == (verdict, True), outcome


def test_what_a_syncer_adds_to_its_pods_counts_for_the_room(inside):
    """Tolerations that it puts on every pod let them onto nodes that refuse what stands in the ScaledJob."""
    inside.put_node(taints=[NO_PROMPT])
    assert "room for 0" in inside.says(BURST).observed
    names = {host.NAMESPACE: SPACE}
    spec = {"tolerations": [{"key": "prompt", "operator": "Exists"}]}
    inside.put(kinds.PODS, "w-x-vc", {host.MANAGED: "vc"}, names, spec=spec, status={"phase": "Succeeded"})
    assert inside.says(BURST).verdict.value == "ok"


@pytest.mark.parametrize(("id_", "fault", "verdict", "words"), RED)
def test_what_is_wrong_on_the_host_is_reported(inside, id_, fault, verdict, words):
    """By the check inside where there is one."""
    fault(inside)
    outcome = inside.says(id_)
    assert (outcome.verdict.value, words in outcome.observed) == (verdict, True), outcome


def test_a_token_on_the_host_that_ends_soon_is_green_and_none_is_ever_shown(inside):
    """A syncer that made them short would have to renew them."""
    token_open(ends_in(hours=2))(inside)
    assert inside.says(TOKENS).verdict.value == "ok"
    lasting = ends_in(days=3650)
    inside.put(kinds.PODS, "m-x-keda-x-vc", {host.MANAGED: "vc"}, {f"{host.IN_ANNOTATION}abc": lasting})
    outcome = inside.says(TOKENS)
    assert outcome.verdict.value == "warn"
    assert not any(part in f"{outcome.observed}{outcome.fix}" for part in lasting.split("."))


@pytest.mark.parametrize(
    ("id_", "plural"), [(RUNS, "pods"), (REDIS, "persistentvolumeclaims"), ("cluster/nodes-ready", "nodes")]
)
def test_a_right_that_lacks_on_the_host_is_unknown_with_whom_to_ask(inside, id_, plural):
    """It says nothing of the rights inside. A real client says the fix: here the double says its own."""
    inside.host.denied.add(("list", plural))
    list_ = inside.host.list

    def explained(*arguments, **options):
        try:
            return list_(*arguments, **options)
        except Exception as error:
            error.fix = HOST_RIGHT
            raise

    inside.host.list = explained
    outcome = inside.says(id_)
    assert (outcome.verdict.value, outcome.fix) == ("unknown", HOST_RIGHT), outcome


def test_the_checks_ask_the_host_for_what_is_listed_and_nothing_else(inside):
    """Of these rights the shipped roles are made. Every check is run, and so every one that looks at a host."""
    recorder = inside.world.systems._made["host"] = Recorder(inside.host)
    for check in ALL_CHECKS:
        if not check.deep:
            look(check, inside.world.systems)
    listed = [*rights_on_host(ABOVE), *rights_to_see_room()]
    assert sorted(needed for needed in recorder.asked if not any(right.covers(needed) for right in listed)) == []
    assert [right for right in listed if not any(right.covers(needed) for needed in recorder.asked)] == []


def test_the_shipped_rights_only_read_and_no_secret():
    """They are for the owners of a host, who owe nobody anything."""
    role = ENVIRONMENTS / "rbac" / "vcluster-host.yaml"
    rules = [rule for item in yaml.safe_load_all(role.read_text()) for rule in item.get("rules", [])]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}
    assert "secrets" not in {name for rule in rules for name in rule["resources"]}
