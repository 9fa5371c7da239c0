"""Makes Secrets of VaultSecrets, as vault-secrets-operator does in production: on a stack that Argo CD or Helm delivers to.

Each VaultSecret's Secret holds all keys of its path, belongs to it, and is made again when it is gone; the condition
SecretCreated says how that went. A Secret that is there is left as it is: who writes it too is not fought.
Started as ``python -m prompt_keda.lab.vault_operator --config FILE``.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object, is_going
from prompt_keda.clients.kube.resources import SECRETS, VAULT_SECRETS
from prompt_keda.core.errors import ClientError
from prompt_keda.core.secret import Secret
from prompt_keda.core.untrusted import one_line

Read = Callable[[str], dict[str, Secret]]
"""Path, with its mount → the keys there."""
FIELD_MANAGER = "vault-secrets-operator"
LOOK_S = 10.0
"""So often without any change: a watch that broke is no reason to stand still."""


def reconcile(kube: Kube, read: Read) -> None:
    """Make each Secret that is missing, and say so on its VaultSecret. Idempotent: yes. Raises as `Kube.request` does."""
    for item in kube.list(VAULT_SECRETS):
        name, namespace = item["metadata"]["name"], item["metadata"]["namespace"]
        live = kube.find(SECRETS, name, namespace)
        conditions = (item.get("status") or {}).get("conditions")
        if is_going(item) or (live is not None and _belongs(live, item) and conditions):
            continue
        try:
            kube.apply(_secret(item, read(item["spec"]["path"])), force=True, field_manager=FIELD_MANAGER)
            health = {"status": "True", "reason": "Created", "message": "Secret was created"}
        except ClientError as error:
            health = {"status": "False", "reason": "FetchFailed", "message": error.what}
        condition = {"type": "SecretCreated", **health}
        if conditions != [condition]:
            kube.patch(VAULT_SECRETS, name, namespace, {"status": {"conditions": [condition]}})


def _belongs(live: Object, item: Object) -> bool:
    owners = live["metadata"].get("ownerReferences") or []
    return any(owner["uid"] == item["metadata"]["uid"] for owner in owners)


def _secret(item: Object, values: dict[str, Secret]) -> Object:
    metadata = item["metadata"]
    owner = {"apiVersion": VAULT_SECRETS.api_version, "kind": "VaultSecret", "controller": True}
    owner |= {"name": metadata["name"], "uid": metadata["uid"]}
    return {
        **SECRETS.head,
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "ownerReferences": [owner]},
        "type": item["spec"].get("type", "Opaque"),
        "data": {key: base64.b64encode(value.reveal().encode()).decode() for key, value in values.items()},
    }


def _reader(config: dict[str, str]) -> Read:
    import hvac

    client = hvac.Client(url=config["vault_url"], verify=config["ca_file"], timeout=10)

    def read(path: str) -> dict[str, Secret]:
        client.token = Path(config["token_file"]).read_text()
        mount, _, rest = path.partition("/")
        try:
            answer = client.secrets.kv.v2.read_secret_version(rest, mount_point=mount, raise_on_deleted_version=True)
        except Exception as error:
            raise ClientError("Vault", config["vault_url"], f"{path}: {type(error).__name__}") from error
        return {key: Secret(value) for key, value in answer["data"]["data"].items()}

    return read


def main() -> None:
    """Reconcile whenever a VaultSecret or a Secret changes, until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    config = json.loads(parser.parse_args().config.read_text())
    kube, read = Kube.connect(Path(config["kubeconfig"]), None, timedelta(seconds=10)), _reader(config)
    watch = kube.watch([(VAULT_SECRETS, None), (SECRETS, None)])
    while True:  # until it is stopped: a controller, which waits for nothing in particular
        try:
            reconcile(kube, read)
        except ClientError as error:
            sys.stderr.write(f"{one_line(str(error))}\n")  # its log
            time.sleep(1)
        watch.wait(LOOK_S)


if __name__ == "__main__":
    main()
