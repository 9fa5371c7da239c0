"""The checks of images: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.registry import ManifestInfo
from prompt_keda.environment.model import FillIn
from tests.contracts.fakes.registry import FakeRegistry
from tests.unit.faults import (
    attribute,
    both,
    broken_verdict,
    change,
    denied,
    environment,
    fails_for,
    keda_runs,
    remove,
    scaled_job,
    turns_red,
    unreachable,
    without_manifests,
    without_parts,
)
from tests.unit.world import (
    HOST,
    INDEX,
    OPERATOR,
    SCALED_JOB,
    SPACE,
    WORKER_IMAGE,
    World,
    conditions,
)


def runs(*images, init=()):
    """Let the live ScaledJob run other images."""
    pod = {
        "containers": [{"image": image} for image in images],
        "initContainers": [{"image": container} for container in init],
    }
    return scaled_job(spec={"jobTargetRef": {"template": {"spec": pod}}})


def names_images(*images):
    """Let the environment's instrument name other images."""

    def apply(world):
        instruments = world.systems.environment.instruments
        environment(instruments=(instruments[0].model_copy(update={"images": images}),))(world)

    return apply


def second_registry(world):
    """Put a registry beside the first that does not answer."""
    first = world.systems.environment.registries[0]
    environment(registries=(first, first.model_copy(update={"host": "silent.test"})))(world)
    silent = FakeRegistry("silent.test")
    silent.manifest_digest = unreachable
    world.systems._made["registry silent.test"] = silent


def node_of(architecture):
    return change(kinds.NODES, "n1", status=node_info(architecture))


def node_info(architecture):
    return {**conditions(Ready="True"), "nodeInfo": {"operatingSystem": "linux", "architecture": architecture}}


def runs_without_pull_secret(world):
    scaled_job(spec={"jobTargetRef": {"template": {"spec": {"imagePullSecrets": None}}}})(world)


def secret(name, text, namespace=SPACE):
    """Let a Secret hold another docker config."""
    data = {".dockerconfigjson": base64.b64encode(text.encode()).decode()}
    return change(kinds.SECRETS, name, namespace, data=data)


def docker_config(host=HOST, password="p"):
    return json.dumps({"auths": {host: {"username": "u", "password": password}}})


def moved_tag(world):
    """Let a part run what the tag meant, and move the tag."""
    name = f"{HOST}/keda:2.16.1"
    container = {"name": "keda-operator", "image": name, "ports": [{"name": "metrics", "containerPort": 8080}]}
    world.change(kinds.PODS, OPERATOR, "keda", spec={"containers": [container]})
    world.registry.put("keda", "2.16.1", f"sha256:{'3' * 64}")


def indexed(platform):
    """Let the workers' image be an index whose one entry says its platform in its config alone; empty: nowhere."""

    def apply(world):
        digest = WORKER_IMAGE.rpartition("@")[2]
        world.registry.put("worker", "entry", "sha256:entry", blobs=("sha256:c1", "sha256:l1"))
        world.registry.configs["sha256:c1"] = platform
        world.registry.put("worker", "local", digest, INDEX, unnamed=("sha256:entry",))

    return apply


def of_schema_1(world):
    digest = WORKER_IMAGE.rpartition("@")[2]
    made = ManifestInfo(digest, "application/vnd.docker.distribution.manifest.v1+prettyjws", ("linux/amd64",))
    world.registry.images["worker", digest] = made


PLATFORMS, LAYERS, PULL_SECRETS = "images/platforms-fit", "images/layers-present", "images/pull-secrets-fit"
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {}}
WORKERS = "images/instrument-images-present"
KEDA_IMAGES = "images/keda-images-present"
RED = [
    ("images/keda-images-present", lambda world: world.registry.images.clear(), "fail", "keda has no sha256:222"),
    ("images/keda-images-present", both(without_parts, without_manifests), "unknown", "not on this machine"),
    ("images/instrument-images-present", attribute("registry", wanted="password"), "fail", "unauthorised"),
    ("images/smoke-image-present", lambda world: world.registry.images.clear(), "fail", "worker has no sha256:1"),
    ("images/instrument-images-present", environment(instruments=()), "unknown", "names no image"),
    (WORKERS, runs(f"{HOST}/worker:new"), "fail", "worker has no new"),
    (WORKERS, runs(WORKER_IMAGE, init=[f"{HOST}/gone:1"]), "fail", "gone has no 1"),
    (KEDA_IMAGES, keda_runs(init=[f"{HOST}/gone:1"]), "fail", "gone has no 1"),
    (WORKERS, names_images(f"{HOST}/init"), "unknown", f"{HOST}/init names no tag"),
    (WORKERS, both(names_images(f"{HOST}/worker"), remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE)), "unknown", "no tag"),
    (
        WORKERS,
        both(names_images(FillIn("FILL-IN: busybox by digest")), remove(kinds.SCALED_JOBS, SCALED_JOB, SPACE)),
        "unknown",
        "does not say all images of LSSTCam",
    ),
    (WORKERS, fails_for("kube", "find", SCALED_JOB), "unknown", "what prompt-keda-lsstcam runs is not seen"),
    (
        WORKERS,
        both(names_images(f"{HOST}/gone:1"), fails_for("kube", "find", SCALED_JOB)),
        "fail",
        "gone has no 1",
    ),
    (WORKERS, names_images("elsewhere.test/worker:1"), "unknown", "does not name elsewhere.test"),
    (
        WORKERS,
        both(second_registry, names_images(f"{HOST}/gone:1", "silent.test/a:1")),
        "fail",
        "gone has no 1",
    ),
    (WORKERS, both(second_registry, names_images("silent.test/a:1")), "unknown", "; images not seen: 1"),
    (PLATFORMS, indexed(""), "unknown", f"{HOST}/worker does not say its platform"),
    (LAYERS, indexed(""), "unknown", f"{HOST}/worker: nothing was asked for, since it has nothing for linux/amd64"),
    (PLATFORMS, indexed("linux/s390x"), "fail", f"{HOST}/worker is for linux/s390x, not for linux/amd64"),
    (LAYERS, indexed("linux/s390x"), "unknown", "nothing was asked for"),
    (
        LAYERS,
        both(indexed("linux/amd64"), lambda world: world.registry.lost.add("sha256:l1")),
        "fail",
        f"{HOST}/worker lacks its part sha256:l1",
    ),
    (PLATFORMS, of_schema_1, "warn", "is of manifest schema 1, which containerd 2 does not pull"),
    (PLATFORMS, node_of("s390x"), "fail", "not for linux/s390x"),
    (
        PLATFORMS,
        lambda world: world.put(kinds.NODES, "n2", status=node_info("arm64")),
        "warn",
        f"{HOST}/worker is for linux/amd64, not for linux/arm64",
    ),
    (PLATFORMS, lambda world: world.registry.lost.add("sha256:c1"), "fail", "worker has no sha256:c1"),
    (LAYERS, lambda world: world.registry.lost.add("sha256:l1"), "fail", f"{HOST}/worker lacks its part sha256:l1"),
    (LAYERS, lambda world: world.registry.lost.add("sha256:l2"), "fail", f"{HOST}/keda lacks its part sha256:l2"),
    (PULL_SECRETS, secret("pull-secret", docker_config("other.test")), "fail", f"has nothing for {HOST}"),
    (PULL_SECRETS, secret("pull-secret", docker_config(password="q")), "fail", f"is denied by {HOST}"),
    (PULL_SECRETS, secret("pull-secret", "?"), "fail", "is no docker config"),
    (PULL_SECRETS, remove(kinds.SECRETS, "pull-secret", SPACE), "fail", "Secret pull-secret is missing"),
    (PULL_SECRETS, runs_without_pull_secret, "fail", "the pods have no pull secret"),
    (
        PULL_SECRETS,
        both(runs_without_pull_secret, remove(kinds.SERVICE_ACCOUNTS, "default", SPACE)),
        "fail",
        "service account prompt-keda-lsstcam/default is missing: no pod can be made",
    ),
    (PULL_SECRETS, both(runs_without_pull_secret, denied("get", "serviceaccounts")), "unknown", "may not be read here"),
    (
        PULL_SECRETS,
        both(runs_without_pull_secret, denied("get", "serviceaccounts"), remove(kinds.SECRETS, "pull-secret", "keda")),
        "fail",
        "keda-operator: registry.prompt-keda.test:5000/keda: Secret pull-secret is missing",
    ),
    (
        PULL_SECRETS,
        both(remove(kinds.SECRETS, "pull-secret", SPACE), lambda world: world.opens_with.clear()),
        "warn",
        "is missing, and is not needed",
    ),
    (PULL_SECRETS, denied("get", "secrets"), "unknown", "may not be read here"),
    ("images/pinned", runs(f"{HOST}/worker:local"), "warn", "is named by a tag alone"),
    ("images/pinned", runs("busybox"), "warn", "the tag latest"),
    ("images/pinned", keda_runs(f"{HOST}/keda:2.16.1"), "warn", "keda-operator: "),
    ("images/running-as-named", moved_tag, "warn", "the tag was moved"),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize(
    ("check", "fault", "message"),
    [
        (PLATFORMS, indexed("linux/amd64"), "for linux/amd64"),
        (LAYERS, indexed("linux/amd64"), "have all their parts"),
        (PLATFORMS, remove(kinds.NODES, "n1"), "linux/amd64 (assumed: no node is seen)"),
    ],
)
def test_what_is_reported_and_no_more_is_green(check, fault, message):
    """No node in sight."""
    outcome = broken_verdict(check, fault)
    assert outcome.verdict.value == "ok" and message in f"{outcome.observed} {outcome.detail}", outcome


def test_a_service_accounts_pull_secret_opens_too():
    """For pods that name none."""
    own = change(kinds.SERVICE_ACCOUNTS, "default", SPACE, imagePullSecrets=[{"name": "pull-secret"}])
    outcome = broken_verdict(PULL_SECRETS, both(runs_without_pull_secret, own))
    assert outcome.verdict.value == "ok", outcome


@pytest.mark.parametrize(
    "fault",
    [
        both(names_images(f"{HOST}/worker"), runs(f"{HOST}/worker:local")),
        names_images(FillIn("FILL-IN: busybox by digest"), WORKER_IMAGE),
        keda_runs(f"{HOST}/keda:2.16.1@sha256:{'2' * 64}"),
    ],
    ids=["a name without tag", "a name to be filled in", "tag and digest"],
)
def test_what_is_as_it_should_be_in_another_way_is_green(fault):
    """The live image stands in for a name that says no tag, or is to be filled in; a tag beside a digest is read."""
    world = World()
    fault(world)
    for check in (WORKERS, KEDA_IMAGES, "keda/one-version"):
        assert world.verdict(check).verdict.value == "ok", world.verdict(check)


def test_a_registry_that_does_not_answer_is_asked_once():
    """Each time costs the time-out, and the check's deadline is short."""
    world = World()
    both(second_registry, names_images(*(f"silent.test/a:{number}" for number in range(7))))(world)
    asked = []
    world.systems._made["registry silent.test"].manifest_digest = lambda *names: [asked.append(names), unreachable()]
    outcome = world.verdict(WORKERS)
    assert len(asked) == 1 and outcome.observed.endswith("; images not seen: 7"), outcome


def test_the_images_of_a_keda_that_is_gone_come_from_its_manifests(tmp_path):
    """What a redeploy will pull: missing from the registry is red before anything is removed."""
    world = World()
    without_parts(world)
    container = {"image": f"{HOST}/keda@sha256:3"}
    deployment = {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [container]}}}}
    data = json.dumps([NAMESPACE, {**NAMESPACE, **deployment}]).encode()
    (tmp_path / "keda.json").write_bytes(data)
    pinned = {"source": str(tmp_path / "keda.json"), "sha256": hashlib.sha256(data).hexdigest()}
    keda = world.systems.environment.keda
    keda = keda.model_copy(update={"manifests": keda.manifests.model_copy(update=pinned)})
    world.systems.environment = world.systems.environment.model_copy(update={"keda": keda})
    outcome = world.verdict("images/keda-images-present")
    assert outcome.verdict.value == "fail" and "keda has no sha256:3" in outcome.observed
