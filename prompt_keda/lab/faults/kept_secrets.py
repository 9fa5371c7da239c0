"""Secrets that a fault takes away, and puts back as they were. Kept in the stack's state, for whoever reverts it."""

from __future__ import annotations

import json

from prompt_keda.clients.kube.resources import SECRETS
from prompt_keda.core.errors import LabError
from prompt_keda.core.secret import Secret
from prompt_keda.lab import state
from prompt_keda.lab.faults.fault import Stage


def take(stage: Stage, name: str, namespace: str) -> None:
    """Delete a Secret, and keep it. Idempotent: yes."""
    secret = stage.kube.find(SECRETS, name, namespace)
    if secret:
        state.store_secret(stage.lab, _file(name, namespace), Secret(json.dumps(secret)))
        stage.kube.delete(SECRETS, name, namespace)


def put_back(stage: Stage, name: str, namespace: str) -> None:
    """Make what was taken again, unless somebody else has. Idempotent: yes.

    Raises
    ------
    LabError
        When it is neither there nor kept.
    """
    file = state.secret_file(stage.lab, _file(name, namespace))
    if stage.kube.find(SECRETS, name, namespace) is None:
        if not file.exists():
            raise LabError(
                f"Secret {namespace}/{name} is gone, and was not kept", "./run redeploy --env local writes it."
            )
        kept = json.loads(file.read_text())
        metadata = {key: kept["metadata"][key] for key in ("name", "namespace", "labels") if key in kept["metadata"]}
        body = {**{key: kept[key] for key in ("apiVersion", "kind", "type", "data")}, "metadata": metadata}
        stage.kube.apply(body)  # as a redeploy writes it, so that the next one may
    file.unlink(missing_ok=True)


def _file(name: str, namespace: str) -> str:
    return f"taken-{namespace}-{name}"
