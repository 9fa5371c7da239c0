"""What would stop a redeploy half-way is seen before anything is removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.cluster.vcluster import HEADER, MANAGED, NAMESPACE
from prompt_keda.components.keda import install
from prompt_keda.components.keda.names import CERTIFICATES
from prompt_keda.components.run import Context
from prompt_keda.core.decisions import Decisions, Deletion
from prompt_keda.core.errors import BadAnswer, Refused, Unreachable
from prompt_keda.core.plan import State
from prompt_keda.environment.model import ClientLimit, HostCluster
from prompt_keda.redeploy import inventory, modes, preflight
from prompt_keda.redeploy.modes import RedeployOptions
from tests.contracts.fakes.kube import FakeKube
from tests.unit.faults import known
from tests.unit.world import HOST, KEDA_IMAGE, SCALED_JOB, SPACE, STREAM, World, made_certificates
from tests.unit.world import crd as keda_crd

ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "keda-operator"}}
CRD = "scaledjobs.keda.sh"


class Ready:
    """A redeploy that can go ahead."""

    def __init__(self):
        self.world = World()
        kube = self.world.kube
        kube.delete(kinds.SECRETS, CERTIFICATES, "keda")
        kube.create(kinds.SECRETS, made_certificates("keda"), "keda")
        pod = {"template": {"spec": {"containers": [{"image": KEDA_IMAGE}]}}}
        labels = {"app.kubernetes.io/part-of": "keda-operator"}
        metadata = {"name": "keda-operator", "namespace": "keda", "labels": labels}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": pod}
        crd = {
            "apiVersion": kinds.CRDS.api_version,
            "kind": kinds.CRDS.kind,
            "metadata": {"name": CRD},
            **keda_crd(CRD),
        }
        self.context = Context(self.world.systems, [crd, {**ROLE, "rules": []}, deployment], {})
        self.plan("reinstall")

    def plan(self, mode):
        """Decide as a plan does."""
        observed = inventory.look(self.context)
        self.context.decisions = modes.decide(self.context, observed, mode, RedeployOptions())

    def inspect(self):
        return preflight.inspect(self.context)


@pytest.fixture
def ready():
    return Ready()


def test_when_all_is_at_hand_it_goes_ahead(ready):
    """Nothing is written for that."""
    before = dict(ready.world.kube._objects)
    inspection = ready.inspect()
    assert inspection.state is State.DONE, inspection.detail
    assert ready.world.kube._objects == before


def test_in_a_vcluster_it_says_what_it_cannot_see(ready):
    """Room, quota and admission are its host's: what was tried inside tells nothing of them."""
    known(syncer=ClientLimit(qps=40, burst=80), host_workers_count=400)(ready.world)
    assert ready.inspect().detail.endswith(f"; {HEADER}")


def dying_namespace(ready):
    ready.world.change(kinds.NAMESPACES, SPACE, metadata={"deletionTimestamp": "now"})


def missing_key(ready):
    for secret in ready.world.vault.contents.values():
        secret.pop("db-auth_file", None)


def foreign_value(ready):
    sync = ready.context.environment.secrets[0]
    metadata = {"namespace": sync.namespace, "name": sync.name}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": sync.type}
    ready.world.kube.delete(kinds.SECRETS, sync.name, sync.namespace)
    ready.world.kube.apply({**secret, "data": dict.fromkeys(sync.keys, "dGhlaXJz")}, field_manager="somebody")


def foreign_field(ready):
    ready.world.kube.apply({**ROLE, "rules": "theirs"}, field_manager="somebody")


def no_right(verb, plural):
    return lambda ready: ready.world.kube.denied.add((verb, plural))


def no_password(refused):
    """Vault has answered that Redis' password is not for this login."""

    def apply(ready):
        systems = ready.world.systems
        systems.environment = systems.environment.model_copy(update={"secrets": ()})
        del systems._made["redis"]
        known = ready.world.vault.read_keys

        def read_keys(mount, path, version):
            if path.endswith("/prompt-redis"):
                raise refused
            return known(mount, path, version)

        ready.world.vault.read_keys = read_keys

    return apply


def no_image(ready):
    ready.world.registry.images.clear()


def redis_with(**values):
    return lambda ready: [setattr(ready.world.redis, key, value) for key, value in values.items()]


@pytest.mark.parametrize(
    ("inject", "message"),
    [
        (redis_with(refuses="NOREPLICAS Not enough good replicas to write."), "NOREPLICAS Not enough good replicas"),
        (redis_with(pauses=True), "PING is answered, and a write is not"),
        (
            redis_with(denied_commands={"XADD"}),
            "no permissions to run the 'xadd' command. Let the user work: ACL SETUSER",
        ),
        (redis_with(given="old"), "WRONGPASS"),
        (no_password(Refused("Vault", "v", "403 permission denied")), "its password cannot be read: Vault at v: 403"),
        (lambda ready: ready.world.redis.put_string(STREAM), f"{STREAM} is a string, not a stream. Ask who"),
        (dying_namespace, f"which is Terminating: {SPACE}/j1; --give-up"),
        (missing_key, "db-auth_file"),
        (foreign_value, "409 on PATCH: Apply failed with "),
        (foreign_field, "ClusterRole keda-operator: 409"),
        (no_right("patch", "clusterroles"), "ClusterRole keda-operator: 403"),
        (no_right("delete", "deployments"), "may not delete deployments"),
        (no_right("delete", "apiservices"), "may not delete apiservices"),
        (no_image, "image registry.prompt-keda.test:5000/keda"),
    ],
)
def test_what_would_stop_it_half_way_is_named(ready, inject, message):
    """Broken, so that the run ends before its first write."""
    inject(ready)
    inspection = ready.inspect()
    assert inspection.state is State.BROKEN and message in inspection.detail, inspection.detail


@pytest.mark.parametrize("verb", ["get", "list", "create", "patch", "delete"])
def test_a_run_that_may_not_be_copied_into_the_cluster_goes_ahead(ready, verb):
    """Nobody else could resume it; that is no reason to let KEDA lie."""
    no_right(verb, "configmaps")(ready)
    assert ready.inspect().state is State.DONE, ready.inspect().detail


def test_a_job_that_a_person_has_given_up_does_not_stop_it(ready):
    """It is named, and goes with its namespace in any case."""
    dying_namespace(ready)
    ready.context.decisions = replace(ready.context.decisions, given_up=(f"{SPACE}/j1",))
    assert ready.inspect().state is State.DONE


def test_what_is_removed_first_is_no_conflict(ready):
    """Somebody has scaled the operator to nothing: its Deployment goes, and its fields with it."""
    kube = ready.world.kube
    kube.delete(kinds.DEPLOYMENTS, "keda-operator", "keda")
    wanted = ready.context.keda_objects[2]
    kube.apply({**wanted, "spec": {"replicas": 0}}, field_manager="somebody")
    ready.context.keda_objects[2] = {**wanted, "spec": {**wanted["spec"], "replicas": 1}}
    ready.context.decisions = Decisions()
    assert "Deployment keda/keda-operator: 409" in ready.inspect().detail, "the test itself is wrong"
    ready.plan("reinstall")
    assert ready.inspect().state is State.DONE


def test_what_stands_as_it_should_is_not_applied_again(ready, monkeypatch):
    """Somebody has applied KEDA by kubectl: what is right would be a conflict all the same, and need not be written."""
    context, kube = ready.context, ready.world.kube
    context.decisions = Decisions()
    context.apply_all(context.keda_objects)
    apply = kube.apply

    def refuses(obj, force=False, dry_run=False, **more):
        if obj["kind"] == "ClusterRole":
            raise BadAnswer("Kubernetes", "x", "409 on PATCH: conflict with 'kubectl'")
        return apply(obj, force, dry_run, **more)

    monkeypatch.setattr(kube, "apply", refuses)
    assert ready.inspect().state is State.DONE, ready.inspect().detail
    install.apply_parts(context)
    ready.world.kube.delete(kinds.CLUSTER_ROLES, "keda-operator")
    assert "conflict with 'kubectl'" in ready.inspect().detail


def test_a_namespace_that_is_on_its_way_out_does_not_stop_it(ready):
    """`kubectl delete namespace keda`: nothing can be made there now; the removal waits until it is gone."""
    role = {"apiVersion": ROLE["apiVersion"], "kind": "Role", "metadata": {"name": "r", "namespace": "keda"}}
    ready.context.keda_objects.append({**role, "rules": []})
    ready.world.kube.apply({**role, "rules": "theirs"}, field_manager="somebody")
    assert ready.inspect().state is State.BROKEN
    ready.world.change(kinds.NAMESPACES, "keda", metadata={"deletionTimestamp": "now"})
    assert ready.inspect().state is State.DONE


HOLD, HOOK = "example.com/hold", "argocd.argoproj.io/hook-finalizer"
HELD = {"finalizers": [HOLD]}
GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


def held(resource, name, namespace=None, finalizer=HOLD, **metadata):
    return lambda ready: ready.world.change(resource, name, namespace, metadata={"finalizers": [finalizer], **metadata})


def held_pod(ready):
    """A pod of the operator; its Deployment waits for it."""
    world = ready.world
    deployment = world.kube.get(kinds.DEPLOYMENTS, "keda-operator", "keda")["metadata"]
    metadata = {"name": "rs", "ownerReferences": [{"uid": deployment["uid"]}]}
    replica_set = world.kube.create(kinds.REPLICA_SETS, {"metadata": metadata}, "keda")["metadata"]
    owned = {"ownerReferences": [{"uid": replica_set["uid"]}]}
    held(kinds.PODS, "keda-operator-1", "keda", **owned)(ready)


def held_namespace(ready):
    message = f"Some content in the namespace has finalizers remaining: finalizer.keda.sh in 2 resource instances, {HOLD} in 1"
    conditions = [{"type": "NamespaceFinalizersRemaining", "status": "True", "message": message}]
    ready.world.change(kinds.NAMESPACES, "keda", metadata=GOING, status={"conditions": conditions})


def faulty_certificates(ready):
    ready.world.change(kinds.SECRETS, CERTIFICATES, "keda", metadata=HELD, data={"tls.crt": "eA=="})


def purged(ready):
    held(kinds.SCALED_JOBS, SCALED_JOB, SPACE, HOOK)(ready)
    assert ready.inspect().state is State.DONE, "a CRD that stays holds nothing up"
    ready.plan("purge")


REFUSED = {
    "Deployment keda/keda-operator would be held": held(kinds.DEPLOYMENTS, "keda-operator", "keda"),
    "Deployment keda/keda-operator is held": held(kinds.DEPLOYMENTS, "keda-operator", "keda", **GOING),
    "keda-operator waits for Pod keda/keda-operator-1, which would be held": held_pod,
    f"CRD {CRD} waits for ScaledJob {SPACE}/{SCALED_JOB}, which would be held by finalizer {HOOK} (Argo CD": purged,
    "Namespace keda is Terminating, and objects in it are held by finalizers of others (example.com/hold": held_namespace,
    "Secret kedaorg-certs would be held": faulty_certificates,
    "Lease keda/operator.keda.sh would be held": held(kinds.LEASES, "operator.keda.sh", "keda"),
}


@pytest.mark.parametrize(("words", "hold"), REFUSED.items(), ids=REFUSED)
def test_a_finalizer_of_others_on_what_has_to_go_is_seen_first(ready, words, hold):
    """Nobody of ours takes it away, and all of KEDA would be gone by then: its name, whose it is, and the command."""
    hold(ready)
    if "purged" not in hold.__name__:
        ready.plan("reinstall")
    inspection = ready.inspect()
    assert inspection.state is State.BROKEN and words in inspection.detail, inspection.detail


def test_the_command_takes_only_that_finalizer_away(ready):
    """As a person copies it."""
    ready.world.change(kinds.DEPLOYMENTS, "keda-operator", "keda", metadata={"finalizers": ["orphan", HOLD]})
    ready.plan("reinstall")
    patch = """kubectl -n keda patch deployments.apps keda-operator --type merge -p '{"metadata":{"finalizers":["orphan"]}}'"""
    assert patch in ready.inspect().detail


def test_a_finalizer_that_kubernetes_takes_away_stops_nothing(ready):
    """Its garbage collector does, once what it owns is gone."""
    held(kinds.DEPLOYMENTS, "keda-operator", "keda", "foregroundDeletion")(ready)
    ready.plan("reinstall")
    assert ready.inspect().state is State.DONE, ready.inspect().detail


def policy(operation, plural, namespace=None):
    return lambda ready: ready.world.kube.policies.add((operation, plural, namespace))


def job_not_annotated(ready):
    """The one Job that runs has another generation than its ScaledJob: the run would write on it."""
    ready.world.change(kinds.JOBS, "j1", SPACE, metadata={"annotations": {"scaledjob.keda.sh/generation": "1"}})
    policy("update", "jobs", SPACE)(ready)


def hanging(ready):
    """KEDA's finalizer has to be taken from it."""
    held(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", SPACE, "finalizer.keda.sh", **GOING)(ready)
    names = {"kind": "TriggerAuthentication", "plural": "triggerauthentications"}
    crd = keda_crd("triggerauthentications.keda.sh")
    head = {"apiVersion": kinds.CRDS.api_version, "kind": kinds.CRDS.kind}
    assert crd["spec"]["names"] == names
    ready.context.keda_objects.append({**head, "metadata": {"name": "triggerauthentications.keda.sh"}, **crd})
    policy("update", "triggerauthentications", SPACE)(ready)


DENIED = {
    "removing Deployment keda/keda-operator: 422": policy("delete", "deployments", "keda"),
    "removing APIService v1beta1.external.metrics.k8s.io: 422": policy("delete", "apiservices"),
    "making Deployment keda/keda-operator again: 422": policy("create", "deployments", "keda"),
    "a pod of Deployment keda/keda-operator: 422": policy("create", "pods", "keda"),
    f"ScaledJob {SPACE}/{SCALED_JOB}: 422": policy("update", "scaledjobs", SPACE),
    f"Job {SPACE}/j1: 422": job_not_annotated,
    f"TriggerAuthentication {SPACE}/prompt-redis: 422": hanging,
}


@pytest.mark.parametrize(("words", "deny"), DENIED.items(), ids=DENIED)
def test_what_admission_denies_is_seen_before_anything_is_removed(ready, words, deny):
    """Removals, what is made again, and what is written on Jobs and ScaledJobs: each by a dry run; nothing is written."""
    ready.context.keda_objects.append(
        {**kinds.API_SERVICES.head, "metadata": {"name": "v1beta1.external.metrics.k8s.io"}, "spec": {"service": None}}
    )
    ready.plan("reinstall")
    assert ready.inspect().state is State.DONE, ready.inspect().detail
    deny(ready)
    before = dict(ready.world.kube._objects)
    inspection = ready.inspect()
    assert inspection.state is State.BROKEN and words in inspection.detail, inspection.detail
    assert ready.world.kube._objects == before


def test_a_webhook_that_takes_no_dry_run_stops_nothing(ready):
    """What it would say is not known; before, nobody asked it at all."""
    policy("delete", "deployments", "keda")(ready)
    ready.plan("reinstall")
    assert ready.inspect().state is State.BROKEN
    ready.world.kube.denial = 'admission webhook "x" does not support dry run'
    assert ready.inspect().state is State.DONE, ready.inspect().detail


def quota(ready, hard, used, **spec):
    """Put a quota into KEDA's namespace, whose operator asks for 100m and has one pod."""
    asked = {"resources": {"requests": {"cpu": "100m"}}}
    ready.context.keda_objects[2]["spec"] = {
        "selector": {"matchLabels": {"app": "keda-operator"}},
        "template": {"spec": {"containers": [{"name": "operator", "image": KEDA_IMAGE, **asked}]}},
    }
    ready.world.change(
        kinds.PODS,
        "keda-operator-1",
        "keda",
        metadata={"labels": {"app": "keda-operator"}},
        spec={"containers": [asked]},
    )
    ready.world.put(kinds.RESOURCE_QUOTAS, "tight", "keda", spec={"hard": hard, **spec}, status={"used": used})


@pytest.mark.parametrize(
    ("hard", "used", "words"),
    [
        ({"pods": "1"}, {"pods": "1"}, ""),
        ({"pods": "1"}, {"pods": "2"}, "lets KEDA's pods not in again: pods 1, others use 1, KEDA needs 1"),
        ({"requests.cpu": "150m"}, {"requests.cpu": "100m"}, ""),
        ({"requests.cpu": "50m"}, {"requests.cpu": "100m"}, "requests.cpu 0.05"),
        ({"limits.memory": "1Gi"}, {}, "counts limits.memory, which container operator of keda-operator does not name"),
        ({"count/configmaps": "0"}, {}, ""),
    ],
)
def test_a_quota_that_lets_kedas_pods_not_in_again_is_seen_first(ready, hard, used, words):
    """What they take now is free again by then; what others take is not."""
    quota(ready, hard, used)
    ready.plan("reinstall")
    inspection = ready.inspect()
    assert (inspection.state is State.BROKEN) == bool(words) and words in inspection.detail, inspection.detail


def test_a_keda_of_which_nothing_is_replaced_needs_no_room(ready):
    """Nor is a pod of it tried: whatever denies new ones, it works."""
    quota(ready, {"pods": "0"}, {"pods": "1"})
    policy("create", "pods", "keda")(ready)
    ready.context.decisions = Decisions()
    ready.world.kube.apply(ready.context.keda_objects[2], force=True)
    assert ready.inspect().state is State.DONE, ready.inspect().detail


def test_a_quota_for_other_pods_or_one_that_may_not_be_read_stops_nothing(ready):
    """KEDA's pods have no maximum run time."""
    quota(ready, {"pods": "0"}, {"pods": "1"}, scopes=["Terminating"])
    assert ready.inspect().state is State.DONE, ready.inspect().detail
    ready.world.change(kinds.RESOURCE_QUOTAS, "tight", "keda", spec={"scopes": None})
    assert ready.inspect().state is State.BROKEN
    no_right("list", "resourcequotas")(ready)
    assert ready.inspect().state is State.DONE, ready.inspect().detail


def host_quota(ready, hard, used, worker_cpus=0):
    """Let the world be a vCluster, with a quota on its host, where a worker takes a part of it."""
    host = FakeKube((kinds.NAMESPACES, kinds.PODS, kinds.RESOURCE_QUOTAS))
    host.create(kinds.NAMESPACES, {"metadata": {"name": "above"}})
    made = {"labels": {MANAGED: "vc"}, "annotations": {NAMESPACE: SPACE}}
    spec = {"containers": [{"resources": {"requests": {"cpu": worker_cpus}}}]}
    host.create(kinds.PODS, {"metadata": {"name": "w", **made}, "spec": spec, "status": {"phase": "Running"}}, "above")
    quota = {"metadata": {"name": "tight"}, "spec": {"hard": hard}, "status": {"used": used}}
    host.create(kinds.RESOURCE_QUOTAS, quota, "above")
    environment = ready.world.systems.environment
    settings = HostCluster(context="h", namespace="above", name="vc")
    kubernetes = environment.kubernetes.model_copy(update={"host": settings})
    ready.world.systems.environment = environment.model_copy(update={"kubernetes": kubernetes})
    ready.world.systems._made["host"] = host
    return host


@pytest.mark.parametrize(
    ("hard", "used", "worker_cpus", "words"),
    [
        ({"pods": "9"}, {"pods": "7"}, 0, ""),
        ({"pods": "9"}, {"pods": "9"}, 0, ""),  # the worker's is free once it ends
        ({"pods": "9"}, {"pods": "10"}, 0, "tight lets no new pod in: pods 9, others use 9, KEDA needs 1"),
        ({"requests.cpu": "1"}, {"requests.cpu": "1"}, "50m", ""),
        ({"requests.cpu": "1"}, {"requests.cpu": "1"}, 0, "host's, ask its owners for more"),
        ({"limits.cpu": "1"}, {"limits.cpu": "1"}, 0, ""),  # a LimitRange there may name it for the smoke test's pod
        ({"pods": "many"}, {"pods": "10"}, 0, ""),
    ],
)
def test_a_full_quota_of_a_vclusters_host_is_seen_before_any_write(ready, hard, used, worker_cpus, words):
    """The smoke test could not begin, and a removal would leave nothing. What workers take is free once they end."""
    host_quota(ready, hard, used, worker_cpus)
    ready.context.decisions = Decisions()
    ready.world.kube.apply(ready.context.keda_objects[2], force=True)
    inspection = ready.inspect()
    assert (inspection.state is State.BROKEN) == bool(words) and words in inspection.detail, inspection.detail


def test_pods_of_keda_that_have_to_come_need_room_on_the_host_too(ready):
    """A reinstall frees what its pods take now."""
    host_quota(ready, {"pods": "9"}, {"pods": "9"})
    inspection = ready.inspect()
    assert inspection.state is State.BROKEN and "pods 9, others use 8, KEDA needs 2" in inspection.detail, (
        inspection.detail
    )


def test_a_host_whose_quota_may_not_be_seen_stops_nothing(ready):
    """Nor one that is not reached."""
    host_quota(ready, {"pods": "1"}, {"pods": "9"}).denied.add(("list", "resourcequotas"))
    assert ready.inspect().state is State.DONE, ready.inspect().detail


def unreachable(*image):
    raise Unreachable("registry", HOST, "no answer in time")


def test_a_registry_that_is_not_reached_from_here_says_nothing(ready):
    """The nodes may reach it."""
    ready.world.registry.manifest_digest = unreachable
    assert ready.inspect().state is State.DONE


def test_a_redis_that_is_not_reached_does_not_stop_it(ready):
    """It may come back until it is needed: the steps that need it wait, and say so."""
    ready.world.redis.down = True
    assert ready.inspect().state is State.DONE, ready.inspect().detail


def test_what_the_new_crd_would_refuse_is_seen_though_the_webhooks_go(ready):
    """Nothing can be tried on the server then: a webhook without backend and with the policy Fail takes nothing (F12)."""
    wanted = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledJob", "metadata": {"name": "s", "namespace": SPACE}}
    ready.context.instrument_objects = {"i": [{**wanted, "spec": {"triggers": "none"}}]}
    inspection = ready.inspect()
    assert inspection.state is State.BROKEN and "ScaledJob s: " in inspection.detail, inspection.detail


def test_a_webhook_that_does_not_answer_does_not_stop_what_replaces_it(ready, monkeypatch):
    """F12: every dry run of an object of KEDA's kinds would end with 500."""
    apply = ready.world.kube.apply

    def refuse(obj, *options, **more):
        if obj["kind"] == "ScaledJob":
            raise BadAnswer(
                "Kubernetes", HOST, '500 on PATCH: failed calling webhook "vscaledjob.keda.sh": no endpoints'
            )
        return apply(obj, *options, **more)

    monkeypatch.setattr(ready.world.kube, "apply", refuse)
    live = ready.world.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    wanted = {key: live[key] for key in ("spec", "metadata")}
    ready.context.instrument_objects = {"i": [{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledJob", **wanted}]}
    assert "500" in ready.inspect().detail, "the test itself is wrong"
    webhook = Deletion("ValidatingWebhookConfiguration", "", "keda-admission", "u")
    hooks = [{"name": "vscaledjob.keda.sh"}]
    ready.world.change(kinds.VALIDATING_WEBHOOKS, "keda-admission", webhooks=hooks)
    ready.context.decisions = replace(ready.context.decisions, deletions=(webhook,))
    assert "500" not in ready.inspect().detail
