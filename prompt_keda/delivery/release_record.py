"""The record that Helm keeps of a release: a Secret with all that was installed, from which its next upgrade goes on.

Source: helm.sh/helm/v3, pkg/storage/driver/secrets.go and util.go (the Secret; JSON, gzip, base64), pkg/release/release.go.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from prompt_keda.clients.kube.objects import Object

TYPE = "helm.sh/release.v1"
DESCRIPTION = "Applied by prompt-keda as this release"


def secret(release: str, revision: int, version: str, objects: Sequence[Object]) -> Object:
    """Return the Secret that records a deployed revision.

    Parameters
    ----------
    release
        ``namespace/name``.
    revision
        From 1 on.
    version
        The chart's, and its application's.
    objects
        What the revision has installed: the next upgrade removes of it what its chart no longer has. CRDs are left out, so
        that no upgrade ever removes one.
    """
    namespace, _, name = release.partition("/")
    now = datetime.now(UTC)
    record = _record(namespace, name, revision, version, objects, now.isoformat())
    packed = base64.b64encode(gzip.compress(json.dumps(record).encode(), mtime=0))
    labels = {"name": name, "owner": "helm", "status": "deployed", "version": str(revision)}
    labels["createdAt"] = str(int(now.timestamp()))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {"name": f"sh.helm.release.v1.{name}.v{revision}", "namespace": namespace, "labels": labels},
        "data": {"release": base64.b64encode(packed).decode()},
    }


def _record(
    namespace: str, name: str, revision: int, version: str, objects: Sequence[Object], now: str
) -> dict[str, Any]:
    installed = [obj for obj in objects if obj["kind"] not in ("CustomResourceDefinition", "Namespace")]
    info = {
        "first_deployed": now,
        "last_deployed": now,
        "deleted": "",
        "description": DESCRIPTION,
        "status": "deployed",
    }
    metadata = {"name": name, "version": version, "appVersion": version, "apiVersion": "v2"}
    return {
        "name": name,
        "namespace": namespace,
        "version": revision,
        "info": info,
        "chart": {"metadata": metadata, "lock": None, "templates": [], "values": {}, "schema": None, "files": None},
        "config": {},
        "manifest": "---\n" + yaml.safe_dump_all(installed, sort_keys=False),
    }
