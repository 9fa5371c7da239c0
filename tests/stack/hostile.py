"""Texts that steer a terminal or forge a line, put wherever the stack lets somebody write what the toolkit shows."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

from prompt_keda.clients.kube.resources import CRDS, JOBS, LEASES, NAMESPACES, PODS, SCALED_JOBS, VAULT_SECRETS
from prompt_keda.lab.faults import vault, vault_secrets
from prompt_keda.lab.node import PAUSE_IMAGE
from prompt_keda.records.lock import LEASE, STATE_NAMESPACE

from .conftest import INSTRUMENT, active_workers, until

STREAM, GROUP = "instrument:lsstcam", "lsstcam_consumer_group"
FORGED = "OK redis/forged"
PAYLOADS = {
    "colour": "\x1b[38;5;201m",
    "clear the screen": "\x1b[2J",
    "title": "\x1b]0;forged\x07",
    "link (OSC 8)": "\x1b]8;;https://x.test\x1b\\link\x1b]8;;\x1b\\",
    "clipboard (OSC 52)": "\x1b]52;c;Zm9yZ2Vk\x07",
    "C1 CSI": "\x9b31m",
    "C1 OSC": "\x9d0;forged\x9c",
    "DCS": "\x1bPq\x1b\\",
    "bidi": "\u202e\u2066\u200f\u061c",
    "unseen": "\u200b\ufeff\U000e0041",
    "back": "\b\b\b\x7f",
    "a line": f"\n{FORGED}",
    "over the line": f"\r{FORGED}",
    "other lines": f"\u2028{FORGED}\u2029{FORGED}\x85{FORGED}\x0b{FORGED}\x0c{FORGED}",
}
"""What a text may hold; none of it may reach a terminal."""
SHOWN_BY = {
    "run": "keda/none-paused",
    "hook": "keda/rollout-keeps-jobs",
    "group": "keda/triggers-sensible",
    "image": "images/pinned",
    "ready": "keda/scaled-jobs-ready",
    "release": "keda/crds-of-version",
    "fetch": "vault/vaultsecret-healthy",
    "scheduler": "cluster/pods-start",
    "consumer": "redis/pending-acknowledged",
}
"""Marker of a text → the check that shows it."""
CRD, POD, JOB = "scaledjobs.keda.sh", "not-scheduled", "stays"


def evil(marker):
    """Return a text with all of it, that begins with a marker: so that one sees where it has come out."""
    return f"<{marker}>" + "".join(PAYLOADS.values())


@contextmanager
def everywhere(admin, stage):
    """Put a text into each place, and take it away again."""
    with ExitStack() as undo:
        undo.enter_context(_pod(admin))
        undo.enter_context(_consumer(stage.redis, evil("consumer")))
        undo.enter_context(_scaled_job(admin))
        undo.enter_context(_job(admin))
        undo.enter_context(_crd(admin))
        undo.enter_context(_vault_secret(admin, stage))
        undo.enter_context(lock(admin))
        until(lambda: _age(admin.get(PODS, POD, INSTRUMENT)) > timedelta(seconds=31), what="a pod that waits for long")
        yield


@contextmanager
def _scaled_job(admin):
    """Its annotations, its trigger's metadata and its image; paused, so that KEDA makes no Job of it."""
    before = admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["spec"]
    containers = before["jobTargetRef"]["template"]["spec"]["containers"]

    def spec(containers, triggers):
        return {"jobTargetRef": {"template": {"spec": {"containers": containers}}}, "triggers": triggers}

    triggers = [
        {**trigger, "metadata": {**trigger["metadata"], "consumerGroup": evil("group")}}
        for trigger in before["triggers"]
    ]
    marks = {
        "autoscaling.keda.sh/paused": "true",
        "prompt-keda.lsst.io/run": evil("run"),
        "argocd.argoproj.io/hook": evil("hook"),
    }
    images = [{**container, "image": evil("image")} for container in containers]
    condition = [{"type": "Ready", "status": "False", "reason": "R", "message": evil("ready")}]
    patch = admin.patch
    patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"metadata": {"annotations": marks}, "spec": spec(images, triggers)})
    try:
        status = ("Paused", "True")
        until(lambda: status in _conditions(admin), what="KEDA has seen that it is paused")
        patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"status": {"conditions": condition}}, subresource="status")
        yield
    finally:
        patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"spec": spec(containers, before["triggers"])})
        patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"metadata": {"annotations": dict.fromkeys(marks)}})
        until(lambda: ("Ready", "True") in _conditions(admin), what="KEDA has seen it as it was")


def _conditions(admin):
    conditions = admin.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT).get("status", {}).get("conditions") or []
    return [(condition["type"], condition["status"]) for condition in conditions]


@contextmanager
def _job(admin):
    """The generation of a running Job of the ScaledJob; this one outlives the idle workers."""
    mark = {"scaledjob.keda.sh/generation": evil("generation")}
    metadata = {"namespace": INSTRUMENT, "name": JOB, "labels": {"scaledjob.keda.sh/name": INSTRUMENT}}
    container = {"name": "pause", "image": PAUSE_IMAGE, "imagePullPolicy": "Never"}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**metadata, "annotations": mark}}
    admin.create(JOBS, {**body, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}, INSTRUMENT)
    try:
        until(lambda: ("Job", JOB) in active_workers(admin), what="the Job that stays")
        yield
    finally:
        admin.delete(JOBS, JOB, INSTRUMENT)


@contextmanager
def _crd(admin):
    """Who owns a CRD, which is told of one with another version."""
    version, release = "app.kubernetes.io/version", "meta.helm.sh/release-name"
    before = admin.get(CRDS, CRD)["metadata"]["labels"][version]
    admin.patch(
        CRDS, CRD, None, {"metadata": {"labels": {version: "2.15.0"}, "annotations": {release: evil("release")}}}
    )
    try:
        yield
    finally:
        admin.patch(CRDS, CRD, None, {"metadata": {"labels": {version: before}, "annotations": {release: None}}})


@contextmanager
def _vault_secret(admin, stage):
    """What vault-secrets-operator says of a secret."""
    try:
        vault_secrets.fail_to_fetch(stage)
        name = vault.worker_secret(stage)
        condition = [{"type": "SecretCreated", "status": "False", "reason": "R", "message": evil("fetch")}]
        admin.patch(VAULT_SECRETS, name.name, name.namespace, {"status": {"conditions": condition}})
        yield
    finally:
        vault_secrets.remove_operator(stage)


@contextmanager
def _pod(admin):
    """What the scheduler says of a pod; this one has none, so the words stay."""
    container = {"name": "none", "image": "none.test/none"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": INSTRUMENT, "name": POD},
        "spec": {"schedulerName": "nobody", "terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    admin.create(PODS, body, INSTRUMENT)
    condition = [{"type": "PodScheduled", "status": "False", "reason": "R", "message": evil("scheduler")}]
    try:
        admin.patch(PODS, POD, INSTRUMENT, {"status": {"conditions": condition}}, subresource="status")
        yield
    finally:
        admin.delete(PODS, POD, INSTRUMENT)


@contextmanager
def lock(admin):
    """Who holds the lock of a redeploy."""
    if admin.find(NAMESPACES, STATE_NAMESPACE) is None:
        admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STATE_NAMESPACE}})
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    body = {
        "apiVersion": LEASES.api_version,
        "kind": "Lease",
        "metadata": {"namespace": STATE_NAMESPACE, "name": LEASE},
        "spec": {"holderIdentity": evil("holder"), "leaseDurationSeconds": 3600, "renewTime": now},
    }
    admin.delete(LEASES, LEASE, STATE_NAMESPACE)
    admin.create(LEASES, body, STATE_NAMESPACE)
    try:
        yield
    finally:
        admin.delete(LEASES, LEASE, STATE_NAMESPACE)


@contextmanager
def _consumer(redis, name):
    """Who was given an event two minutes ago, and has not acknowledged it; a worker has worked on it before."""
    (event,) = redis.add(STREAM, [{"visit": "hostile"}])
    until(lambda: _is_acknowledged(redis), what="a worker that acknowledges the event")
    redis.run(["XCLAIM", STREAM, GROUP, name, "0", event, "IDLE", "120000", "FORCE", "JUSTID"])
    try:
        yield
    finally:
        redis.run(["XACK", STREAM, GROUP, event], ["XGROUP", "DELCONSUMER", STREAM, GROUP, name])
        redis.close()


def _is_acknowledged(redis):
    group = redis.group_info(STREAM, GROUP)
    return group.lag == 0 and group.pending == 0


def _age(obj):
    return datetime.now(UTC) - datetime.fromisoformat(obj["metadata"]["creationTimestamp"])
