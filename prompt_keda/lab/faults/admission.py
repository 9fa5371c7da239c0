"""Faults of what has to agree to Jobs and pods: policies, webhooks, limits and standards that others have set."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import LIMIT_RANGES, NAMESPACES, Resource
from prompt_keda.lab import processes, rewriting_webhook
from prompt_keda.lab.faults import scaling
from prompt_keda.lab.faults.fault import Fault, InChaos, Stage
from prompt_keda.lab.pki import Authority

WEBHOOKS = Resource(scaling.ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", False)
ENFORCED = "pod-security.kubernetes.io/enforce"
SERVER, PORT, CLOSED_PORT = "webhook", 21743, 21744
UNPLACED = [{"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"pool": scaling.NOBODY}}]


def configure_webhook(stage: Stage, port: int, ca_file: Path | None = None) -> None:
    """Let the API server ask a webhook on the stack's own host about each new Job of the instruments."""
    spaces = sorted({instrument.namespace for instrument in stage.environment.instruments})
    stage.kube.apply(configuration(port, ca_file, spaces, ("batch", "jobs"), timeout_s=2))


def configuration(port: int, ca_file: Path | None, spaces: list[str], kind: tuple[str, str], timeout_s: int) -> Object:
    """Return the object by which the API server asks a webhook on its own host about each new object of a kind.

    Parameters
    ----------
    spaces
        The namespaces whose objects it is asked about.
    kind
        API group, and plural.
    """
    expressions = [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": spaces}]
    bundle = {"caBundle": base64.b64encode(ca_file.read_bytes()).decode()} if ca_file else {}
    group, plural = kind
    hook: Object = {
        "name": f"{plural}.prompt-keda.test",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": timeout_s,
        "failurePolicy": "Fail",
        "namespaceSelector": {"matchExpressions": expressions},
        "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [plural]}],
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", **bundle},
    }
    head = {"apiVersion": WEBHOOKS.api_version, "kind": WEBHOOKS.kind, "metadata": {"name": scaling.MARK_NAME}}
    return {**head, "webhooks": [hook]}


def ask_closed_port(stage: Stage) -> None:
    """Let a webhook have to agree to each Job that nobody serves."""
    configure_webhook(stage, CLOSED_PORT)


def start_webhook(stage: Stage, patch: list[Object]) -> None:
    """Serve a webhook that rewrites each new Job by a JSON patch, and let the API server ask it."""
    configure_webhook(stage, PORT, run_server(stage, patch))


def run_server(stage: Stage, patch: list[Object], delay_s: int = 0) -> Path:
    """Run the webhook's server, and return the file of its CA. It takes so long for each answer."""
    authority = Authority(stage.lab.pki)
    authority.ensure_server(SERVER, ["127.0.0.1"])
    files = [str(authority.folder / f"{SERVER}.{end}") for end in ("crt", "key")]
    argv = [sys.executable, str(rewriting_webhook.__file__), *files, str(PORT), json.dumps(patch), str(delay_s)]
    processes.start(stage.lab, SERVER, argv)
    return authority.ca_file


def serve_webhook(stage: Stage) -> None:
    """Let a webhook give every new Job a node selector that no node has."""
    start_webhook(stage, UNPLACED)


def stop_webhook(stage: Stage) -> None:
    """Delete the webhook, and then its server. Idempotent: yes."""
    stage.kube.delete(WEBHOOKS, scaling.MARK_NAME)
    processes.remove(stage.lab, SERVER)


def end_webhook(stage: Stage) -> None:
    """Delete the webhook, its server, and the Jobs that cannot run."""
    stop_webhook(stage)
    scaling.delete_stuck_jobs(stage)


def deny_nodes(stage: Stage) -> None:
    """Let a policy deny the scheduler to bind the instruments' pods to a node."""
    scaling.deny(stage, "", "pods/binding")


def allow_nodes(stage: Stage) -> None:
    """Delete the policy, and the Jobs that the scheduler has put off."""
    scaling.remove_policy(stage)
    scaling.delete_stuck_jobs(stage)


def set_limits(stage: Stage) -> None:
    """Let a LimitRange allow less memory than workers ask for."""
    for instrument in stage.environment.instruments:
        metadata = {"namespace": instrument.namespace, "name": scaling.MARK_NAME}
        spec = {"limits": [{"type": "Container", "max": {"memory": "8Mi"}}]}
        head = {"apiVersion": LIMIT_RANGES.api_version, "kind": LIMIT_RANGES.kind}
        stage.kube.apply({**head, "metadata": metadata, "spec": spec})


def remove_limits(stage: Stage) -> None:
    """Take it away, and the Jobs that wait for a pod."""
    for instrument in stage.environment.instruments:
        stage.kube.delete(LIMIT_RANGES, scaling.MARK_NAME, instrument.namespace)
    scaling.delete_stuck_jobs(stage)


def restrict(stage: Stage) -> None:
    """Hold the instruments' pods to the standard `restricted`, which workers do not keep."""
    _enforce(stage, "restricted")


def unrestrict(stage: Stage) -> None:
    """Hold them to none, and delete the Jobs that wait for a pod."""
    _enforce(stage, None)
    scaling.delete_stuck_jobs(stage)


def _enforce(stage: Stage, standard: str | None) -> None:
    for instrument in stage.environment.instruments:
        stage.kube.patch(NAMESPACES, instrument.namespace, None, {"metadata": {"labels": {ENFORCED: standard}}})


FAULTS: tuple[Fault, ...] = (
    Fault(
        "admission/webhook-unserved",
        "",
        "a webhook that has to agree to each Job is served by nobody",
        scaling.and_cut(ask_closed_port),
        scaling.and_at_work(end_webhook),
        {"scaling/works": "fail"},
        "no Job was made",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False, writes=SERVER, inject=ask_closed_port, revert=stop_webhook),
    ),
    Fault(
        "admission/jobs-rewritten",
        "",
        "a webhook rewrites each Job, and no node takes its pod",
        scaling.and_cut(serve_webhook),
        scaling.and_at_work(end_webhook),
        {"cluster/pods-start": "warn", "scaling/works": "fail"},
        "affinity/selector",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False, writes=SERVER, inject=serve_webhook, revert=end_webhook),
    ),
    Fault(
        "admission/binding-denied",
        "",
        "an admission policy lets the scheduler bind no pod to a node",
        scaling.and_cut(deny_nodes),
        scaling.and_at_work(allow_nodes),
        {"cluster/pods-start": "fail", "scaling/works": "fail"},
        "Jobs need a label",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False, writes=scaling.POLICY, inject=deny_nodes, revert=allow_nodes),
    ),
    Fault(
        "admission/limit-range",
        "",
        "a LimitRange allows less memory than workers ask for",
        scaling.and_cut(set_limits),
        scaling.and_at_work(remove_limits),
        {"capacity/quota-allows": "fail", "scaling/works": "fail"},
        "lets no worker in",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False, inject=set_limits, revert=remove_limits),
    ),
    Fault(
        "admission/namespace-restricted",
        "",
        "the namespace holds pods to a standard that workers do not keep",
        scaling.and_cut(restrict),
        scaling.and_at_work(unrestrict),
        {"capacity/pods-admitted": "fail", "scaling/works": "fail"},
        "its pods are refused",
        stops_scaling=True,
        chaos=InChaos(is_repaired=False, inject=restrict, revert=unrestrict),
    ),
)
