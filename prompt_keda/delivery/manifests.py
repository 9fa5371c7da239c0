"""Reads manifests of Kubernetes objects."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from prompt_keda.clients.kube.in_vcluster import SKIP_BACKSYNC
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import SCALED_JOBS
from prompt_keda.clients.systems import filled
from prompt_keda.core.errors import ClientError, EnvironmentFileError
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.strict_yaml import Where, load_documents, mark_near, place
from prompt_keda.core.whole_file import write_whole
from prompt_keda.environment.model import PREPARED, Instrument

PREPARE = "Prepare it: ./run prepare --env E --phalanx CHECKOUT"
"""What helps where a rendering is not on this machine, or is another one."""


def load_instrument_manifest(path: Path, placeholders: Mapping[str, Any] | None) -> list[Object]:
    """Return the objects of an instrument: its ScaledJob and what belongs to it.

    Raises
    ------
    EnvironmentFileError
        When the file is no strict YAML, or a document is no Kubernetes object with name and namespace, or a Secret; or when
        its metadata or spec are not of the form that the API server takes. With file, line and column.
    """
    documents = load_documents(path, placeholders)
    for document, marks in documents:
        for where, what, fix in _wrong(document):
            raise EnvironmentFileError(f"{place(path, mark_near(where, marks))}: {what}", fix)
    return [document for document, _ in documents]


def _wrong(document: Any) -> Iterator[tuple[Where, str, str]]:
    """Yield the place, the words and the fix of each thing in a document for which the API server would not take it."""
    if not isinstance(document, dict):
        yield (), "a document is no Kubernetes object", "It needs apiVersion, kind, metadata."
        return
    for key, kind, form in (("apiVersion", str, "a text"), ("kind", str, "a text"), ("metadata", dict, "a mapping")):
        if not isinstance(document.get(key), kind):
            yield (
                (key,),
                f"a document is no Kubernetes object: {key} is not {form}",
                "It needs apiVersion, kind, metadata.",
            )
            return
    kind, metadata = document["kind"], document["metadata"]
    if kind.endswith("List") and isinstance(document.get("items"), list):
        yield (
            ("kind",),
            f"a {kind} is no object of its own",
            "Write each of its items as a document, with --- between them.",
        )
    for key in ("name", "namespace"):
        if not metadata.get(key) or not isinstance(metadata[key], str):
            yield ("metadata", key), f"{kind} {metadata.get('name', '')} has no {key}", "Give it one, as a text."
    for key in ("labels", "annotations"):
        yield from _wrong_texts(metadata.get(key), ("metadata", key))
    for key in ("finalizers", "ownerReferences"):
        if not isinstance(metadata.get(key) or [], list):
            yield ("metadata", key), f"metadata.{key} is not a list", ""
    if not isinstance(document.get("spec", {}), dict):
        yield ("spec",), f"the spec of {kind} {metadata.get('name', '')} is not a mapping", ""
    if kind == "Secret":  # plans are shown and kept; what is secret comes from Vault
        fix = "Name it in the environment under secrets; its values belong into Vault."
        yield (), f"Secret {metadata.get('name', '')} does not belong into a manifest", fix


def _wrong_texts(texts: Any, where: Where) -> Iterator[tuple[Where, str, str]]:
    """Yield what is wrong with labels or annotations: a mapping whose values are texts, and nothing else is taken."""
    name = ".".join(map(str, where))
    if texts is not None and not isinstance(texts, dict):
        yield where, f"{name} is not a mapping", 'Write each as KEY: "VALUE".'
        return
    for key, value in (texts or {}).items():
        if not isinstance(value, str):
            kind = type(value).__name__
            yield (*where, key), f"{name}: {key} is {kind}, and not a text", f'Put its value into quotes: {key}: "…"'


def _is_object(document: Any) -> bool:
    wanted = {"apiVersion": str, "kind": str, "metadata": dict}
    return isinstance(document, dict) and all(isinstance(document.get(key), kind) for key, kind in wanted.items())


def local_file(source: str, sha256: str) -> Path:
    """Return the file of KEDA's manifests on this machine.

    What ``prepare`` rendered is in the user's cache, and so is what an ``https://`` address gave.
    """
    if source == PREPARED:
        return prepared_file(sha256)
    if not source.startswith("https://"):
        return Path(source)
    return _kept() / f"{sha256}{Path(urlsplit(source).path).suffix or '.yaml'}"


def prepared_file(sha256: str) -> Path:
    """Return the file in the user's cache that holds what ``prepare --phalanx`` rendered."""
    return _kept() / f"{sha256}.json"


def keep_prepared(file: Path, data: bytes) -> None:
    """Write one of the files that `prepared_file` names, or one beside it, whole or not at all.

    Raises
    ------
    Refusal
        When the folder cannot be this user's alone.
    ClientError
        When it cannot be written.
    """
    private_folder(file.parent)
    try:
        write_whole(file, data)
    except OSError as error:
        fix = "Look at the rights and the free room of that folder."
        raise ClientError("cache", str(file), f"it cannot be written: {error.strerror}", fix) from error


def _kept() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "prompt-keda" / "manifests"


def has_objects(instrument: Instrument) -> bool:
    """Return whether an instrument's objects have a source here, or are delivered by somebody else."""
    return instrument.manifest is not None or instrument.prepared is not None


def source_name(instrument: Instrument) -> str:
    """Return what an instrument's objects are read from, for messages."""
    if instrument.prepared is not None:
        return f"the rendering {instrument.prepared.sha256[:16]}…"
    return str(instrument.manifest)


def load_instrument_objects(instrument: Instrument, placeholders: Mapping[str, Any] | None) -> list[Object]:
    """Return an instrument's objects: of its manifest, or of what ``prepare`` rendered. None if somebody else delivers them.

    Raises
    ------
    EnvironmentFileError
        As `load_instrument_manifest` and `load_prepared` do.
    Unfilled
        When the environment does not say the rendering's SHA-256.
    """
    if instrument.prepared is not None:
        sha256 = filled(instrument.prepared.sha256, f"instruments[{instrument.name}].prepared.sha256")
        return load_prepared(sha256)
    objects = load_instrument_manifest(instrument.manifest, placeholders) if instrument.manifest else []
    return [_outliving(obj) for obj in objects] if instrument.skip_backsync else objects


def _outliving(obj: Object) -> Object:
    """Return a ScaledJob whose pods a syncer leaves alone that does not find them in its store; others as they are."""
    template = ((obj.get("spec") or {}).get("jobTargetRef") or {}).get("template")
    if obj["kind"] != SCALED_JOBS.kind or not isinstance(template, dict):
        return obj
    made = copy.deepcopy(obj)
    metadata = made["spec"]["jobTargetRef"]["template"].setdefault("metadata", {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), SKIP_BACKSYNC: "true"}
    return made


def load_prepared(sha256: str) -> list[Object]:
    """Return the objects of an instrument as ``prepare`` rendered them, read as strictly as a manifest.

    Raises
    ------
    EnvironmentFileError
        When it is not in the cache, is not what the environment pins, or holds what no manifest may.
    """
    file = prepared_file(sha256)
    data = _read_pinned(file, sha256, "the instrument's manifests")
    try:
        objects = json.loads(data)
    except ValueError as error:
        raise EnvironmentFileError(f"{file} is not JSON", PREPARE) from error
    if not isinstance(objects, list) or not objects:
        raise EnvironmentFileError(f"{file} is not a list of Kubernetes objects", PREPARE)
    for obj in objects:
        for _, what, fix in _wrong(obj):
            raise EnvironmentFileError(f"{file}: {what}", fix)
    return objects


def _read_pinned(path: Path, sha256: str, what: str) -> bytes:
    """Return a file's bytes, if its SHA-256 fits."""
    try:
        data = path.read_bytes()
    except OSError as error:
        if path == prepared_file(sha256) and isinstance(error, FileNotFoundError):
            raise EnvironmentFileError(
                f"{what} {sha256[:16]}… are not in the cache of this machine", PREPARE
            ) from error
        raise EnvironmentFileError(f"{what} {path} cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise EnvironmentFileError(
            f"{what} {path} have the SHA-256 {digest[:16]}…, and the environment pins {sha256[:16]}…",
            "Take the file that belongs to the environment, or pin this one after you have read it.",
        )
    return data


def load_keda_manifests(path: Path, sha256: str) -> list[Object]:
    """Return KEDA's objects from a file, JSON or YAML, if its SHA-256 fits.

    Raises
    ------
    EnvironmentFileError
        When it is missing, is not the one that the environment pins, or holds no Kubernetes objects.
    """
    data = _read_pinned(path, sha256, "KEDA's manifests")
    try:
        json_file = path.suffix == ".json"
        objects = (
            json.loads(data) if json_file else [obj for obj in yaml.load_all(data, Loader=yaml.CSafeLoader) if obj]
        )
    except (yaml.YAMLError, ValueError) as error:
        raise EnvironmentFileError(f"KEDA's manifests {path} are neither JSON nor YAML") from error
    if not isinstance(objects, list) or not objects or not all(map(_is_object, objects)):
        raise EnvironmentFileError(f"KEDA's manifests {path} are not a list of Kubernetes objects")
    for obj in objects:
        for key in ("labels", "annotations"):
            for _, what, fix in _wrong_texts(obj["metadata"].get(key), ("metadata", key)):
                raise EnvironmentFileError(f"KEDA's manifests {path}: {obj['kind']}: {what}", fix)
    return objects
