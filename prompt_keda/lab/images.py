"""Builds container images from files of this machine, and pushes them to the stack's registry.

An image is one uncompressed layer FROM scratch. The same files give the same digests, so a second push sends nothing.
Form: the OCI image specification 1.0 and its distribution API.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from prompt_keda.core.errors import LabError
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.secret import Secret
from prompt_keda.lab.commands import run

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class ImageContents:
    """What goes into an image.

    Parameters
    ----------
    repository, tag
        Its name in the registry, without the host.
    files
        Path in the image → file of this machine.
    entrypoint
        The program and its fixed arguments.
    user
        ``uid:gid`` that it runs as.
    links
        Path in the image → where that symbolic link leads.
    """

    repository: str
    tag: str
    files: Mapping[str, Path]
    entrypoint: tuple[str, ...]
    user: str = "65532:65532"
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltImage:
    """An image in the cache: its layer's file, its config and manifest, and the manifest's digest."""

    image: ImageContents
    layer: Path
    layer_digest: str
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """The digest that the image is pinned by."""
        return _digest(self.manifest)


def build(image: ImageContents, cache: Path) -> BuiltImage:
    """Build an image; its layer is made once and kept in ``cache``. Idempotent: yes."""
    layer = private_folder(cache) / f"{_key(image)}.tar"
    digest_file = layer.with_suffix(".sha256")
    if not digest_file.exists():
        scratch = layer.with_suffix(".new")
        _write_layer(image, scratch)
        with scratch.open("rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        scratch.rename(layer)
        digest_file.write_text(digest)
    digest = digest_file.read_text()
    config = {
        "architecture": ARCHITECTURE[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": list(image.entrypoint), "User": image.user, "Env": ["PATH=/bin:/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "prompt-keda local stack"}],
    }
    config_json = _json(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": _digest(config_json), "size": len(config_json)},
        "layers": [{"mediaType": LAYER, "digest": digest, "size": layer.stat().st_size}],
    }
    return BuiltImage(image, layer, digest, config_json, _json(manifest))


def push(built: BuiltImage, client: httpx.Client) -> str:
    """Push an image, and return ``repository@digest``. What the registry has already is not sent.

    Parameters
    ----------
    client
        Has the registry's base address, its trust and its credentials.

    Raises
    ------
    LabError
        When the registry refuses, or does not answer.
    """
    name = built.image.repository
    try:
        path = f"/v2/{name}/manifests/{built.digest}"
        if client.head(path, headers={"Accept": MANIFEST}).status_code != httpx.codes.OK:
            _push_blob(client, name, built.layer_digest, built.layer)
            _push_blob(client, name, _digest(built.config), built.config)
        for reference in (built.image.tag, built.digest):
            put_manifest(client, name, reference, built.manifest, MANIFEST)
    except httpx.HTTPError as error:
        raise LabError(f"the local registry does not take {name}: {error}", "Look at logs/registry.log.") from error
    return f"{name}@{built.digest}"


def put_manifest(client: httpx.Client, name: str, reference: str, manifest: bytes, media_type: str) -> str:
    """Put a manifest, or an index, under a tag or its digest, and return its digest. Raises `httpx.HTTPError`."""
    url = f"/v2/{name}/manifests/{reference}"
    client.put(url, content=manifest, headers={"Content-Type": media_type}).raise_for_status()
    return _digest(manifest)


def mount_blob(client: httpx.Client, name: str, digest: str, source: str) -> None:
    """Let a repository have a blob of another one, without sending it. Raises `httpx.HTTPError`."""
    query = {"mount": digest, "from": source}
    client.post(f"/v2/{name}/blobs/uploads/", params=query).raise_for_status()


def registry_client(url: str, ca_file: Path, user: str, password: Secret) -> httpx.Client:
    """Return a client for the stack's registry. Its connections do not follow redirects."""
    import ssl

    context = ssl.create_default_context(cafile=str(ca_file))
    return httpx.Client(base_url=url, verify=context, auth=(user, password.reveal()), timeout=60, trust_env=False)


def write_archive(built: BuiltImage, path: Path, name: str) -> None:
    """Write an image as an OCI archive, which ``ctr images import`` takes without any registry."""
    descriptor = {"mediaType": MANIFEST, "digest": built.digest, "size": len(built.manifest)}
    descriptor["annotations"] = {"io.containerd.image.name": name}
    blobs = {_digest(data): data for data in (built.manifest, built.config, built.layer.read_bytes())}
    with tarfile.open(path, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(archive, "index.json", _json({"schemaVersion": 2, "manifests": [descriptor]}))
        for digest, data in blobs.items():
            _add(archive, f"blobs/{digest.replace(':', '/')}", data)


def shared_libraries(lister: list[str], root: Path = Path("/")) -> dict[str, Path]:
    """Give the shared libraries that a dynamic program loads, as ``files`` of an image.

    Parameters
    ----------
    lister
        The command line that lists them, as ``ldd PROGRAM`` does.
    root
        Where packages are unpacked: what lies below it lies in the image as below ``/``.

    Raises
    ------
    LabError
        When a library is missing on this machine.
    """
    libraries: dict[str, Path] = {}
    for line in run(lister).splitlines():
        if "not found" in line:
            raise LabError(f"{lister[-1]} lacks a library: {line.strip()}", "Reinstall its Debian package.")
        paths = [Path(word) for word in line.split() if word.startswith("/")]
        if paths:  # of a linker both: where the program wants it, and where it is
            wanted = paths[0]
            inside = Path("/") / wanted.relative_to(root) if wanted.is_relative_to(root) else wanted
            libraries[str(inside)] = paths[-1].resolve()
    return libraries


def _write_layer(image: ImageContents, path: Path) -> None:
    folders = {str(parent) for name in (*image.files, *image.links) for parent in Path(name).parents}
    with tarfile.open(path, "w") as archive:
        for folder in sorted({*folders, "/tmp", "/etc"} - {"/"}):  # noqa: S108  inside the image
            info = tarfile.TarInfo(folder.lstrip("/"))
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "/tmp" else 0o755  # noqa: S108
            archive.addfile(info)
        for name, source in sorted(image.files.items()):
            info = tarfile.TarInfo(name.lstrip("/"))
            info.size, info.mode = source.stat().st_size, 0o755
            with source.open("rb") as file:
                archive.addfile(info, file)
        for name, target in sorted(image.links.items()):
            info = tarfile.TarInfo(name.lstrip("/"))
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)


def _key(image: ImageContents) -> str:
    """Return a key for the layer: names, links, and each file's path, size and time of change."""
    facts: list[Any] = [sorted(image.links.items())]
    for name, source in sorted(image.files.items()):
        stat = source.stat()
        facts.append([name, str(source), stat.st_size, stat.st_mtime_ns])
    return hashlib.sha256(_json(facts)).hexdigest()[:24]


def _push_blob(client: httpx.Client, name: str, digest: str, content: Path | bytes) -> None:
    if client.head(f"/v2/{name}/blobs/{digest}").status_code == httpx.codes.OK:
        return
    begun = client.post(f"/v2/{name}/blobs/uploads/")
    begun.raise_for_status()
    url = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest})
    if url.is_absolute_url and url.host != client.base_url.host:
        raise LabError(f"the local registry sends uploads to {url.host}", "Look at logs/registry.log.")
    if isinstance(content, Path):
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(content.stat().st_size)}
        with content.open("rb") as file:
            client.put(url, content=iter(lambda: file.read(1 << 20), b""), headers=headers).raise_for_status()
    else:
        client.put(url, content=content, headers={"Content-Type": "application/octet-stream"}).raise_for_status()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
