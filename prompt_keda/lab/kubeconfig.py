"""Kubeconfigs of the local stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(path: Path, server: str, ca_file: Path, context: str, user: dict[str, Any]) -> None:
    """Write a kubeconfig (in JSON, which is YAML) with mode 0600.

    Parameters
    ----------
    path
        The file.
    server
        ``https://address:port`` of the API server.
    ca_file
        The certificate authority to trust.
    context
        Name of the context, the cluster and the user.
    user
        The user's entry: a client certificate, a token or an exec plugin.
    """
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority": str(ca_file)}}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1))


def client_certificate(pki: Path, name: str) -> dict[str, Any]:
    """Return the user's entry for a client certificate of the stack."""
    return {"client-certificate": str(pki / f"{name}.crt"), "client-key": str(pki / f"{name}.key")}
