"""Reads manifests of Kubernetes objects."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.strict_yaml import load_documents

Object = dict[str, Any]


def load_instrument_manifest(path: Path, placeholders: Mapping[str, Any] | None) -> list[Object]:
    """Give the objects of an instrument: its ScaledJob and what belongs to it.

    Raises
    ------
    EnvironmentFileError
        When the file is no strict YAML, or a document is no Kubernetes object with name and namespace, or a Secret.
    """
    objects = [value for value, _ in load_documents(path, placeholders)]
    for one in objects:
        if not _is_object(one):
            raise EnvironmentFileError(
                f"{path}: a document is no Kubernetes object", "It needs apiVersion, kind, metadata."
            )
        for key in ("name", "namespace"):
            if not isinstance(one["metadata"].get(key), str):
                raise EnvironmentFileError(f"{path}: {one['kind']} {one['metadata'].get('name', '')} has no {key}")
        if one["kind"] == "Secret":  # plans are shown and kept; what is secret comes from Vault
            fix = "Name it in the environment under secrets; its values belong into Vault."
            raise EnvironmentFileError(f"{path}: Secret {one['metadata']['name']} does not belong into a manifest", fix)
    return objects


def _is_object(document: Any) -> bool:
    wanted = {"apiVersion": str, "kind": str, "metadata": dict}
    return isinstance(document, dict) and all(isinstance(document.get(key), kind) for key, kind in wanted.items())


def local_file(source: str, sha256: str) -> Path:
    """Give the file of KEDA's manifests on this machine; for an ``https://`` address it is in the user's cache."""
    if not source.startswith("https://"):
        return Path(source)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "prompt-keda" / "manifests" / f"{sha256}{Path(urlsplit(source).path).suffix or '.yaml'}"


def load_keda_manifests(path: Path, sha256: str) -> list[Object]:
    """Give KEDA's objects from a file, JSON or YAML, if its SHA-256 fits.

    Raises
    ------
    EnvironmentFileError
        When it is not there, is not the one that the environment pins, or holds no Kubernetes objects.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EnvironmentFileError(f"KEDA's manifests {path} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise EnvironmentFileError(
            f"KEDA's manifests {path} have the SHA-256 {found[:16]}…, and the environment pins {sha256[:16]}…",
            "Take the file that belongs to the environment, or pin this one after you have read it.",
        )
    try:
        json_file = path.suffix == ".json"
        objects = (
            json.loads(data) if json_file else [one for one in yaml.load_all(data, Loader=yaml.CSafeLoader) if one]
        )
    except (yaml.YAMLError, ValueError) as error:
        raise EnvironmentFileError(f"KEDA's manifests {path} are neither JSON nor YAML") from error
    if not isinstance(objects, list) or not objects or not all(map(_is_object, objects)):
        raise EnvironmentFileError(f"KEDA's manifests {path} are no list of Kubernetes objects")
    return objects
