"""What a cluster shows of an environment's values is proposed as a diff to its file; what a person wrote stays."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from prompt_keda.clients import systems as clients
from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.systems import Systems
from prompt_keda.commands.discover import discover, discover_new
from prompt_keda.commands.session import Session
from prompt_keda.components import discovery
from prompt_keda.components.identity.check_rights import rights_to_look
from prompt_keda.core.errors import EnvironmentFileError, Refusal
from prompt_keda.environment.edit import edited, write_values
from prompt_keda.environment.loading import load_environment
from tests.contracts.fakes.read_only import KUBE_READS, ReadOnly
from tests.contracts.fakes.recorder import Recorder
from tests.unit.world import HOST, KEDA_IMAGE, SCALED_JOB, SPACE, STREAM, WORKER_IMAGE, World

DIGEST = f"sha256:{'3' * 64}"


@pytest.fixture
def world(monkeypatch, tmp_path):
    """A cluster as it should be, in a folder without environments; nothing can be written to it."""
    made = World()
    made.kube.close = lambda: None
    readable = ReadOnly(made.kube, {*KUBE_READS, "close"})
    monkeypatch.setattr(clients, "Kube", SimpleNamespace(connect=lambda *where: readable))
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def file(world, tmp_path):
    """The first file for that cluster."""
    discover_new("elsewhere", "there", "")
    return tmp_path / "environments" / "elsewhere.yaml"


def run(file, write=False, differing=False, ask=None):
    systems = Systems(load_environment(file, None))
    return discover(Session("elsewhere", file, systems), write, differing, ask).parts


def change(file, *words):
    text = file.read_text()
    for old, new in words:
        assert text.count(old) == 1, (old, text)
        text = text.replace(old, new)
    file.write_text(text)


def change_trigger(world, **metadata):
    """Let the trigger say other things; None: nothing."""
    trigger = world.kube.get(kinds.SCALED_JOBS, SCALED_JOB, SPACE)["spec"]["triggers"][0]
    values = {key: value for key, value in {**trigger["metadata"], **metadata}.items() if value is not None}
    world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, spec={"triggers": [{**trigger, "metadata": values}]})


def change_pod(world, **fields):
    """Let the pod template of the ScaledJob be another one."""
    template = {"spec": {"jobTargetRef": {"template": {"spec": fields}}}}
    world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, **template)


def put_worker(world, name, image, image_id, made="2026-11-28T00:00:00Z", init=False):
    """Put a pod of the ScaledJob that runs an image."""
    labels = {"scaledjob.keda.sh/name": SCALED_JOB}
    part = "initContainers" if init else "containers"
    states = {"initContainerStatuses" if init else "containerStatuses": [{"name": "c", "imageID": image_id}]}
    spec = {"containers": [], part: [{"name": "c", "image": image}]}
    world.put(kinds.PODS, name, SPACE, labels, spec=spec, status=states)
    world.change(kinds.PODS, name, SPACE, metadata={"creationTimestamp": made})


def keys(parts, differing=False):
    return {change.key: change.proposed for change in parts.changes if change.differs is differing}


def test_a_first_file_says_all_that_the_cluster_shows(world, file):
    """And FILL-IN for the rest; check-deps can use it at once."""
    environment = load_environment(file, None)
    (instrument,), identity = environment.instruments, environment.kubernetes.identity
    assert (environment.name, environment.approval, environment.kubernetes.context) == ("elsewhere", "digest", "there")
    assert identity.ca_sha256 == world.kube.ca_sha256
    assert identity.kube_system_uid == world.kube.get(kinds.NAMESPACES, "kube-system")["metadata"]["uid"]
    assert environment.kubernetes.accepted_versions == ("1.35",)
    assert (environment.keda.version, environment.keda.namespace, environment.keda.delivery) == (
        *("2.16.1", "keda"),
        "manifests",
    )
    wanted = {"namespace": SPACE, "scaled_job": SCALED_JOB, "stream": STREAM, "min_jobs": 3, "max_jobs": 20}
    assert wanted.items() <= instrument.model_dump().items() and instrument.images == (WORKER_IMAGE,)
    assert environment.redis.inside_address == "prompt-redis.prompt-redis:6379"
    assert environment.redis.password.key == "redis-password" and "FILL-IN" in environment.redis.password.path
    assert {(secret.namespace, secret.name) for secret in environment.secrets} == {
        *(("keda", "pull-secret"), (SPACE, "pull-secret")),
        (SPACE, "prompt-redis-auth"),
    }
    assert [registry.host for registry in environment.registries] == [HOST]


def test_a_first_file_overwrites_none(world, file):
    """Nor is it written for a name that is none, or without a context."""
    before = file.read_bytes()
    for name in ("elsewhere", "prod"):
        with pytest.raises(Refusal, match="already exists"):
            discover_new(name, "there", "")
    for name in ("../prod", "FILL-IN:", "A", "x.yaml"):
        with pytest.raises(Refusal, match="cannot name an environment"):
            discover_new(name, "there", "")
    with pytest.raises(Refusal, match="--context NAME"):
        discover_new("other", "", "")
    assert file.read_bytes() == before and os.listdir(file.parent) == ["elsewhere.yaml"]


def test_a_cluster_without_keda_gets_a_file_too(world, file):
    """What is not there is said, and stays FILL-IN."""
    world.remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE)
    world.remove(kinds.DEPLOYMENTS, "keda-operator", "keda")
    parts = discover_new("bare", "there", "").parts
    environment = load_environment(file.parent / "bare.yaml", None)
    assert environment.instruments == () and "FILL-IN" in environment.keda.version
    assert "KEDA: no Deployment keda-operator in any namespace" in parts.not_seen


def test_values_knocked_out_come_back_and_comments_stay(file):
    """The file is then what it was."""
    before = file.read_text()
    environment = load_environment(file, None)
    change(
        file,
        ('version: "2.16.1"', 'version: "FILL-IN: which?" # ours'),
        (f'stream: "{STREAM}"', "stream: 'FILL-IN: which stream'  # of the camera"),
        (f'"{WORKER_IMAGE}"', '"FILL-IN: the image"'),
        ('["1.35"]', '["FILL-IN: minor"]'),
    )
    parts = run(file, write=True)
    assert parts.written and set(keys(parts)) == {
        *("keda.version", "instruments[0].stream", "instruments[0].images[0]", "kubernetes.accepted_versions[0]"),
    }
    after = file.read_text()
    assert load_environment(file, None) == environment
    assert after.replace(" # ours", "").replace(f"'{STREAM}'  # of the camera", f'"{STREAM}"') == before
    assert run(file).changes == []


def test_without_an_answer_nothing_is_written(file):
    """No terminal, or another answer than yes; the diff is shown either way."""
    change(file, ('version: "2.16.1"', 'version: "FILL-IN: which?"'))
    before, asked = file.read_bytes(), []
    for ask in (None, lambda question: asked.append(question) or "y\n"):
        parts = run(file, ask=ask)
        assert not parts.written and '+  version: "2.16.1"' in parts.diff
    assert file.read_bytes() == before
    assert '\n-  version: "FILL-IN: which?"\n+  version: "2.16.1"\n' in asked[0] and asked[0].endswith("? yes/no: ")
    assert run(file, ask=lambda question: "yes\n").written and file.read_bytes() != before


def test_what_a_person_has_written_stays_unless_it_is_asked_for(file):
    """It is shown with where the cluster says otherwise: the cluster may be what is broken."""
    change(file, ("max_jobs: 20", "max_jobs: 1700 # ours"))
    before = file.read_bytes()
    parts = run(file, write=True)
    (difference,) = parts.changes
    assert (difference.key, difference.now, difference.proposed) == ("instruments[0].max_jobs", 1700, 20)
    assert "spec.maxReplicaCount" in difference.source and not difference.chosen
    assert not parts.written and file.read_bytes() == before
    assert run(file, write=True, differing=True).written and "max_jobs: 20 # ours" in file.read_text()


def test_an_instrument_that_the_file_leaves_out_is_not_added_by_itself(world, file):
    """A list that a person wrote says what belongs there."""
    world.add_instrument("LATISS")
    parts = run(file, write=True)
    assert keys(parts, differing=True)["instruments[1]"]["stream"] == "instrument:latiss" and not parts.written
    assert run(file, write=True, differing=True).written
    assert [instrument.name for instrument in load_environment(file, None).instruments] == ["lsstcam", "latiss"]


def test_another_cluster_is_not_compared(world, file):
    """All that it shows would be another cluster's; and no flag makes it this one: that is enrol's."""
    before = file.read_bytes()
    world.kube.ca_sha256 = "1" * 64
    with pytest.raises(Refusal, match="another cluster") as caught:
        run(file, write=True, differing=True)
    assert "enrol" in caught.value.fix and file.read_bytes() == before


HOSTILE = {
    "a line of its own": {"consumerGroup": "x\n  approval: none"},
    "a placeholder": {"stream": "${lab:redis_password}"},
    "a FILL-IN": {"stream": "FILL-IN: ask mallory"},
    "a control character": {"stream": "x\x1b[2J"},
    "too long": {"stream": "x" * 600},
    "no text": {"stream": {"a": "b"}},
}


@pytest.mark.parametrize("metadata", HOSTILE.values(), ids=HOSTILE)
def test_text_from_a_cluster_is_untrusted(world, file, metadata):
    """It is refused with where it stands, and nothing of it comes into the file."""
    change(
        file, (f'stream: "{STREAM}"', 'stream: "FILL-IN: s"'), ("group: lsstcam_consumer_group", 'group: "FILL-IN: g"')
    )
    change_trigger(world, **metadata)
    parts = run(file, write=True, differing=True)
    (refused,) = parts.not_seen
    assert "not proposed" in refused and SCALED_JOB in refused and "\n" not in refused and "\x1b" not in refused
    text = file.read_text()
    assert "mallory" not in text and "lab:" not in text and "approval: none" not in text and "xxxx" not in text


def test_a_value_that_the_model_refuses_is_not_proposed(world, file):
    """A maximum below the minimum; the rest of that ScaledJob is."""
    change(file, ("max_jobs: 20", "max_jobs: 30"))
    world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, spec={"maxReplicaCount": 1, "pollingInterval": 5})
    parts = run(file)
    assert keys(parts, differing=True) == {"instruments[0].polling_interval": "5s"}
    assert "min_jobs (3) or more is expected" in parts.not_seen[0]


def test_what_may_not_be_read_is_said_and_hides_nothing_else(world, file):
    """Without the right to list ScaledJobs, those that the file or a pod names are looked at."""
    change(file, ('version: "2.16.1"', 'version: "FILL-IN: which?"'), ("max_jobs: 20", "max_jobs: 30"))
    world.add_instrument("LATISS")
    world.put(
        kinds.PODS, "w", "prompt-keda-latiss", {"scaledjob.keda.sh/name": "prompt-keda-latiss"}, spec={"containers": []}
    )
    world.kube.denied |= {("list", "scaledjobs"), ("get", "secrets"), ("list", "nodes")}
    parts = run(file)
    assert keys(parts)["keda.version"] == "2.16.1"
    assert set(keys(parts, differing=True)) == {"instruments[0].max_jobs", "instruments[1]"}
    for what in ("ScaledJobs of all namespaces: 403", "Secret keda/pull-secret: 403", "limits: 403"):
        assert any(line.startswith(what) for line in parts.not_seen), parts.not_seen


def test_the_shipped_role_is_enough_but_for_a_list_of_all_scaledjobs(world):
    """And for Argo CD's ConfigMap nothing is asked where Argo CD is not seen."""
    recorder, environment = Recorder(world.kube), world.systems.environment
    discovery.discover(recorder, environment)
    listed = rights_to_look(environment)
    lacking = [asked for asked in recorder.asked if not any(right.covers(asked) for right in listed)]
    assert [(right.verb, right.plural) for right in lacking] == [("list", "scaledjobs")]


def test_an_object_of_an_odd_form_hides_nothing_else(world, file):
    """Whoever may write a ScaledJob may write nonsense."""
    change(file, ('version: "2.16.1"', 'version: "FILL-IN: which?"'))
    world.put(
        kinds.SCALED_JOBS, "odd", SPACE, spec={"triggers": [{"type": "redis-streams", "metadata": {"stream": "s"}}]}
    )
    parts = run(file)
    assert keys(parts) == {"keda.version": "2.16.1"}
    assert any("odd form" in line for line in parts.not_seen)


DELIVERIES = {
    "nothing": ({}, "manifests"),
    "Argo CD by its label": ({"labels": {"argocd.argoproj.io/instance": "keda"}}, "argocd"),
    "Argo CD by its annotation": ({"annotations": {"argocd.argoproj.io/tracking-id": "keda:…"}}, "argocd"),
    "Argo CD by its manager": (
        {"labels": {"helm.sh/chart": "k"}, "managedFields": [{"manager": "argocd-controller"}]},
        "argocd",
    ),
    "Helm": ({"labels": {"helm.sh/chart": "k"}, "annotations": {"meta.helm.sh/release-name": "keda"}}, "helm"),
    "a chart, by nobody knows whom": ({"labels": {"helm.sh/chart": "keda-2.16.1"}}, ""),
}


@pytest.mark.parametrize(("metadata", "delivery"), DELIVERIES.values(), ids=DELIVERIES)
def test_who_delivers_keda_is_seen_by_its_marks(metadata, delivery):
    """And not guessed where they do not tell."""
    assert discovery._delivery(metadata)[0] == delivery


ARGOCD = {
    "by label": ({"labels": {"argocd.argoproj.io/instance": "keda"}}, {}, "label", "argocd.argoproj.io/instance"),
    "by Argo CD's default": (
        {"labels": {"app.kubernetes.io/instance": "keda"}, "managedFields": [{"manager": "argocd-controller"}]},
        *({}, "label", "app.kubernetes.io/instance"),
    ),
    "as its ConfigMap says": (
        {"annotations": {"argocd.argoproj.io/tracking-id": "keda:apps/Deployment:keda/keda-operator"}},
        {"application.resourceTrackingMethod": "annotation+label", "application.instanceLabelKey": "x.test/app"},
        *("annotation+label", "x.test/app"),
    ),
}


@pytest.mark.parametrize(("marks", "config", "tracking", "label_key"), ARGOCD.values(), ids=ARGOCD)
def test_argocd_is_seen_by_its_marks_and_its_configmap(world, file, marks, config, tracking, label_key):
    """It is proposed together with the delivery that needs it, or not at all."""
    world.change(kinds.DEPLOYMENTS, "keda-operator", "keda", metadata=marks)
    world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, metadata={"labels": {label_key: "prompt-keda-lsstcam"}})
    if config:
        world.put(kinds.NAMESPACES, "argocd")
        world.put(kinds.CONFIG_MAPS, "argocd-cm", "argocd", data=config)
    assert set(keys(run(file), differing=True)) == {"keda.delivery", "argocd"}
    assert run(file, write=True, differing=True).written
    environment = load_environment(file, None)
    assert (environment.keda.delivery, environment.argocd.application) == ("argocd", "keda")
    assert (environment.argocd.tracking, environment.argocd.label_key) == (tracking, label_key)
    assert environment.instruments[0].application == "prompt-keda-lsstcam"


def test_a_helm_release_is_seen_by_its_annotation(world, file):
    """With the release's name."""
    marks = {"annotations": {"meta.helm.sh/release-name": "my-keda"}}
    world.change(kinds.DEPLOYMENTS, "keda-operator", "keda", metadata=marks)
    run(file, write=True, differing=True)
    keda = load_environment(file, None).keda
    assert (keda.delivery, keda.release) == ("helm", "my-keda")


def test_images_are_proposed_by_the_digest_that_the_newest_pod_runs(world, file):
    """In the place of the file's image of that name; one that no pod runs stays as it is named."""
    image = "ghcr.io/lsst-dm/prompt-service:15.2.0"
    change_pod(world, containers=[{"name": "c", "image": image}], initContainers=[{"name": "c", "image": "busybox"}])
    put_worker(world, "a", image, f"ghcr.io/lsst-dm/prompt-service@sha256:{'4' * 64}", "2026-11-01T00:00:00Z")
    put_worker(world, "b", image, f"ghcr.io/lsst-dm/prompt-service@{DIGEST}")
    put_worker(world, "c", "busybox", f"docker.io/library/busybox@{DIGEST}", init=True)
    lines = [
        f'      - "{WORKER_IMAGE}"\n',
        '      - ghcr.io/lsst-dm/prompt-service:15.1.0 # old\n      - "FILL-IN: busybox"\n',
    ]
    change(file, lines)
    parts = run(file)
    assert keys(parts)["instruments[0].images[1]"] == f"docker.io/library/busybox@{DIGEST}"
    assert keys(parts, differing=True)["instruments[0].images[0]"] == f"ghcr.io/lsst-dm/prompt-service@{DIGEST}"
    change(file, ("prompt-service:15.1.0", "prompt-service:15.2.0"))
    change(file, ('"FILL-IN: busybox"', "docker.io/library/busybox:latest"))
    images = [change for change in run(file).changes if "images" in change.key]
    assert images == [], "what the ScaledJob names is fine, also when it is written in full"


ADDRESSES = {
    "r.ns.svc.cluster.local:6380": {"redis.service": "r", "redis.namespace": "ns", "redis.port": 6380},
    "r:6379": {"redis.service": "r", "redis.namespace": SPACE},
    "redis.example.org:6379": {"redis.service": "redis.example.org", "redis.reach": "direct"},
}


@pytest.mark.parametrize(("address", "proposed"), ADDRESSES.items(), ids=ADDRESSES)
def test_redis_is_seen_in_the_trigger(world, file, address, proposed):
    """As a Service of the cluster, or a host outside; with TLS where KEDA asks for it."""
    change_trigger(world, address=address, enableTLS="true")
    parts = run(file)
    differing = {key: value for key, value in keys(parts, differing=True).items() if key.startswith("redis")}
    assert {**differing, **{key: value for key, value in keys(parts).items() if key.startswith("redis")}} == {
        **proposed,
        "redis.tls": {},
    }


def test_vault_is_seen_in_vaultsecrets_and_their_operator(world, file):
    """Mount, path and keys; and the address, unless it is without TLS."""
    for space, name in (("keda", "pull-secret"), (SPACE, "pull-secret"), (SPACE, "prompt-redis-auth")):
        spec = {"path": f"kv/rubin/{name}", "keys": ["redis-password"], "type": "Opaque"}
        world.put(kinds.VAULT_SECRETS, name, space, spec=spec)
    container = {"env": [{"name": "VAULT_ADDRESS", "value": "https://vault.test/"}]}
    spec = {"template": {"spec": {"containers": [container]}}}
    world.put(kinds.DEPLOYMENTS, "vault-secrets-operator", "keda", spec=spec)
    parts = run(file)
    assert (
        keys(parts)["vault.url"] == "https://vault.test"
        and keys(parts)["redis.password.path"] == "rubin/prompt-redis-auth"
    )
    assert {key: value for key, value in keys(parts).items() if key.endswith("vault_path")} == {
        f"secrets[{index}].vault_path": f"rubin/{secret.name}"
        for index, secret in enumerate(load_environment(file, None).secrets)
    }
    assert keys(parts, differing=True)["vault.mount"] == "kv"
    container["env"][0]["value"] = "http://vault.test"
    world.change(kinds.DEPLOYMENTS, "vault-secrets-operator", "keda", spec=spec)
    assert any(line.startswith("vault.url: not proposed") for line in run(file).not_seen)


def test_no_value_of_a_secret_is_shown(world, file):
    """Only the names of its keys are taken."""
    value = "aHVudGVyMg=="
    world.change(kinds.SECRETS, "prompt-redis-auth", SPACE, data={"redis-password": value, "new": value})
    assert keys(run(file), differing=True) == {"secrets[2].keys[1]": "new"}
    assert value not in str(run(file))


def test_a_vcluster_is_seen_by_its_nodes(world, file):
    """Its syncer's limit is known; the room of its host cannot be seen."""
    world.change(kinds.NODES, "n1", metadata={"labels": {"vcluster.loft.sh/fake-node": "true"}})
    assert run(file, write=True).written
    capacity = load_environment(file, None).capacity
    assert capacity.syncer.qps == 40 and "FILL-IN" in capacity.host_workers_count
    assert "capacity.host_workers_count" in [open_value.key for open_value in run(file).open]


def test_a_quota_is_reported(world, file):
    """It has no key of its own, and a person should know of it."""
    world.put(kinds.RESOURCE_QUOTAS, "q", SPACE, spec={"hard": {"pods": "50"}})
    assert run(file).notes == [f"ResourceQuota {SPACE}/q sets pods 50"]


def test_kedas_images_name_their_registry(world, file):
    """A public one with where it answers, another one as FILL-IN."""
    assert HOST in KEDA_IMAGE
    change_pod(world, containers=[{"name": "c", "image": "busybox"}])
    assert keys(run(file), differing=True)["registries[1]"] == {
        "host": "docker.io",
        "url": "https://registry-1.docker.io",
    }


EDITS = {
    "a key at the end of a mapping": (
        "a:\n  b: 1 # one\nc: 2\n",
        (("a", "d"), "x"),
        "a:\n  b: 1 # one\n  d: x\nc: 2\n",
    ),
    "a mapping": ("a:\n  b: 1\n", (("c",), {"d": {"e": 1}}), "a:\n  b: 1\nc: {d: {e: 1}}\n"),
    "a key between braces": ("a: {b: 1} # one\n", (("a", "c"), "x, y"), 'a: {b: 1, c: "x, y"} # one\n'),
    "a value in a list": ("a:\n  - b # one\n# next\nc: 1\n", (("a", 1), "d"), "a:\n  - b # one\n  - d\n# next\nc: 1\n"),
    "a value between brackets": ("a: [b ]\n", (("a", 1), 3), "a: [b, 3]\n"),
    "a first value": (
        "a: [] # none\nb: 1\n",
        (("a", 0), {"c": 1, "d": [2]}),
        "a: # none\n  - c: 1\n    d: [2]\nb: 1\n",
    ),
    "at the file's end": ("a:\n  b: 1", (("a", "c"), 2), "a:\n  b: 1\n  c: 2"),
    "with Windows' ends of lines": ("a:\r\n  b: 1\r\nc: 2\r\n", (("a", "d"), 3), "a:\r\n  b: 1\r\n  d: 3\r\nc: 2\r\n"),
    "after a text of several lines": (
        "a:\n  b: |\n    x\n    y\nc: 1\n",
        (("a", "d"), 2),
        "a:\n  b: |\n    x\n    y\n  d: 2\nc: 1\n",
    ),
    "a number in the place of a text": ('a: "FILL-IN: n" # n\n', (("a",), 5), "a: 5 # n\n"),
    "what YAML takes for a number": ("a: FILL-IN\n", (("a",), "1.30"), 'a: "1.30"\n'),
    "a quote in quotes": ("a: 'x'\n", (("a",), "it's"), "a: 'it''s'\n"),
}


@pytest.mark.parametrize(("before", "edit", "after"), EDITS.values(), ids=EDITS)
def test_a_value_is_written_in_its_place_and_nothing_else_changes(tmp_path, before, edit, after):
    """Comments, order, quotes and ends of lines stay."""
    assert edited(before, dict([edit]), tmp_path) == after


def test_what_cannot_be_written_safely_is_left_to_a_person(file):
    """A mapping in the place of a text, and a place that is not there."""
    before = file.read_bytes()
    environment = load_environment(file, None)
    for edit in ((("vault", "login"), "x"), (("kubernetes", "context", "x"), "y")):
        with pytest.raises(EnvironmentFileError, match=r"not written as a plain text|cannot be added"):
            write_values(file, environment, dict([edit]), None, "test")
    assert file.read_bytes() == before and os.listdir(file.parent) == ["elsewhere.yaml"]
