"""A registry of the tests' own, as people behind a firewall have one: it holds images that were built here, by index."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import bcrypt
import httpx
import yaml

from prompt_keda.core.event import nobody
from prompt_keda.core.places import CODE
from prompt_keda.core.waiting import until
from prompt_keda.lab import go_builds, image_list, images, packages
from prompt_keda.lab.commands import Children
from prompt_keda.lab.kind import engine
from prompt_keda.lab.kind.built import Built
from prompt_keda.lab.kind.pulled import PROGRAMS
from prompt_keda.lab.services import REGISTRY
from prompt_keda.lab.settings import cache_home

INDEX = "application/vnd.oci.image.index.v1+json"
PORT, WITH_LOGIN_PORT = 5055, 5056
HOST, WITH_LOGIN = f"127.0.0.1:{PORT}", f"127.0.0.1:{WITH_LOGIN_PORT}"
"""Docker takes a registry on this machine's loopback without TLS."""


class Mirror:
    """A registry in the network of a user's engine, and the list of what is in it."""

    def __init__(self, machine, folder: Path) -> None:
        self.inside = ["nsenter", f"--net={machine.engine.netns_path}", "--"]
        self.folder = folder
        self.list_file = machine.home / "images.yaml"
        self.running: list[subprocess.Popen[bytes]] = []
        self.entries: list[dict[str, object]] = []
        self.machine = machine

    def start(self) -> None:
        """Start it, without a login and with one, and put there what is pulled: kind's node, Go, Debian, Vault and KEDA."""
        users = self.folder / "users"
        users.write_text(f"somebody:{bcrypt.hashpw(b'x', bcrypt.gensalt(rounds=5)).decode()}\n")
        for host, auth in ((HOST, None), (WITH_LOGIN, {"htpasswd": {"realm": "x", "path": str(users)}})):
            config = {
                "version": "0.1",
                "log": {"level": "warn"},
                "storage": {"filesystem": {"rootdirectory": str(self.folder / "registry")}},
                "http": {"addr": host},
                **({"auth": auth} if auth else {}),
            }
            file = self.folder / f"{host}.json"
            file.write_text(json.dumps(config))
            self.running.append(
                subprocess.Popen([*self.inside, str(REGISTRY), "serve", str(file)], stderr=subprocess.DEVNULL)
            )
        self.add(image_list.NODE, "docker.io/kindest/node", self._node())
        self.add("go", "docker.io/library/golang", self._go())
        self.add("debian", "docker.io/library/debian", self._debian())
        for module in (go_builds.KEDA, go_builds.VAULT):
            folder = _programs(module)
            for program, (name, inside) in PROGRAMS[module.name].items():
                image = images.ImageContents(name, "v1", {inside: folder / program}, (inside,))
                self.add(
                    name, f"ghcr.io/programs/{name}", self._with_volume(images.build(image, self.folder / "images"))
                )

    def stop(self) -> None:
        """Stop it, and remove what it held."""
        for process in self.running:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, name: str, image: str, built: images.BuiltImage, **changed: str) -> str:
        """Push an image with an index above it, add it to the list, and return the index's digest."""
        plan = self.folder / "push"
        plan.mkdir(exist_ok=True)
        (plan / "config").write_bytes(built.config)
        (plan / "manifest").write_bytes(built.manifest)
        asked = [image.partition("/")[2], str(plan), str(built.layer), built.layer_digest]
        env = {"PYTHONPATH": str(CODE), "PATH": "/usr/bin:/bin"}
        argv = [*self.inside, sys.executable, __file__, json.dumps(asked)]
        digest = subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.strip()
        entry = {"name": name, "image": image, "tag": "v1", "digest": digest, "licence": "MIT", "use": "a test"}
        self.entries.append({**entry, "sources": ["https://example.org/built-here"], **changed})
        self.write_list()
        return digest

    def write_list(self, **changed: str) -> str:
        """Write the list of what is there, changed in the node's image if need be, and return its file."""
        first, *others = self.entries
        self.list_file.write_text(yaml.safe_dump({"images": [{**first, **changed}, *others]}))
        self.list_file.chmod(0o644)
        return str(self.list_file)

    def _node(self) -> images.BuiltImage:
        """Return the node's image as it is built here; a public one cannot be had."""
        lab = self.machine.engine
        infrastructure = SimpleNamespace(lab=lab, folder_of=_programs, children=Children(), observer=nobody)
        _, archive = Built()._ensure_archive(infrastructure, engine)
        with tarfile.open(archive) as tar:
            (described,) = json.load(tar.extractfile("manifest.json"))
            config = tar.extractfile(described["Config"]).read()
            layer = self.folder / "node.tar"
            with tar.extractfile(described["Layers"][0]) as source, layer.open("wb") as target:
                shutil.copyfileobj(source, target)
        digest = f"sha256:{described['Layers'][0].removesuffix('.tar')}"
        return built(layer, digest, config)

    def _go(self) -> images.BuiltImage:
        """Return this machine's Go, where the images golang have theirs."""
        layer = self.folder / "go.tar"
        root = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
        with tarfile.open(layer, "w") as tar:
            tar.add(root, "usr/local/go", filter=_owned_by_root)
        digest = _digest(layer.read_bytes())
        config = {"architecture": images.ARCHITECTURE[platform.machine()], "os": "linux", "config": {}}
        return built(layer, digest, json.dumps({**config, "rootfs": {"type": "layers", "diff_ids": [digest]}}).encode())

    def _with_volume(self, image: images.BuiltImage) -> images.BuiltImage:
        """Return the image with a volume, as HashiCorp's of Vault has: what is copied out of it may leave none."""
        config = json.loads(image.config)
        config["config"]["Volumes"] = {"/logs": {}}
        return built(image.layer, image.layer_digest, json.dumps(config).encode())

    def _debian(self) -> images.BuiltImage:
        """Return the Debian that kind's node is made of here, with the packages that are asked of it: nothing leads to others."""
        (base,) = (cache_home() / "prompt-keda/build").glob("debian-bookworm-????????????????.tar")
        layer, repository = self.folder / "debian.tar", _repository(self.folder / "packages")
        (repository / "sources.list").write_text("deb [trusted=yes] file:/packages ./\n")
        with tarfile.open(base) as debian, tarfile.open(layer, "w") as tar:
            for member in debian:
                if not member.name.endswith("etc/apt/sources.list"):
                    tar.addfile(member, debian.extractfile(member) if member.isreg() else None)
            tar.add(repository, "packages", filter=_owned_by_root)
            tar.add(repository / "sources.list", "etc/apt/sources.list", filter=_owned_by_root)
        digest = _digest(layer.read_bytes())
        config = {"architecture": images.ARCHITECTURE[platform.machine()], "os": "linux", "config": {}}
        return built(layer, digest, json.dumps({**config, "rootfs": {"type": "layers", "diff_ids": [digest]}}).encode())


def _repository(folder: Path) -> Path:
    """Make a repository of apt's of what a stack without root takes of Debian, with all that it depends on."""
    for place in ("apt/lists/partial", "apt/archives/partial"):
        (folder / place).mkdir(parents=True)
    (folder / "apt/status").touch()
    state = [f"-oDir::State={folder}/apt", f"-oDir::State::status={folder}/apt/status", f"-oDir::Cache={folder}/apt"]
    subprocess.run(["apt-get", "-qq", *state, "update"], check=True)
    fetch = ["install", "--yes", "--download-only", "--no-install-recommends", *packages.SERVERS]
    subprocess.run(["apt-get", "-qq", *state, *fetch], check=True)
    index = []
    for package in (folder / "apt/archives").glob("*.deb"):
        moved = package.rename(folder / package.name.replace("%", "-"))
        control = subprocess.run(["dpkg-deb", "--field", str(moved)], capture_output=True, text=True, check=True).stdout
        facts = f"Filename: ./{moved.name}\nSize: {moved.stat().st_size}\nSHA256: {_digest(moved.read_bytes())[7:]}"
        index.append(f"{control.strip()}\n{facts}\n")
    shutil.rmtree(folder / "apt")
    (folder / "Packages").write_text("\n".join(index))
    return folder


def _owned_by_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    return info


def _programs(module: go_builds.GoModule) -> Path:
    return go_builds.build(module, nobody)


def built(layer: Path, layer_digest: str, config: bytes) -> images.BuiltImage:
    """Return an image of one layer as `images.push` takes it."""
    described = {"mediaType": images.CONFIG, "digest": _digest(config), "size": len(config)}
    layers = [{"mediaType": images.LAYER, "digest": layer_digest, "size": layer.stat().st_size}]
    manifest = {"schemaVersion": 2, "mediaType": images.MANIFEST, "config": described, "layers": layers}
    return images.BuiltImage(
        images.ImageContents("", "v1", {}, ()), layer, layer_digest, config, json.dumps(manifest).encode()
    )


def _push(repository: str, plan: str, layer: str, layer_digest: str) -> str:
    """Push an image and an index above it: called in the engine's network."""
    config, manifest = (Path(plan, name).read_bytes() for name in ("config", "manifest"))
    image = images.BuiltImage(
        images.ImageContents(repository, "v1", {}, ()), Path(layer), layer_digest, config, manifest
    )
    with httpx.Client(base_url=f"http://{HOST}", timeout=120, trust_env=False) as client:
        until(lambda: _answers(client), "the mirror", 10)
        images.push(image, client)
        described = {"mediaType": images.MANIFEST, "digest": image.digest, "size": len(manifest)}
        described["platform"] = {"os": "linux", "architecture": images.ARCHITECTURE[platform.machine()]}
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]}).encode()
        digest = _digest(index)
        where = f"/v2/{repository}/manifests/{digest}"
        client.put(where, content=index, headers={"Content-Type": INDEX}).raise_for_status()
    return digest


def _answers(client: httpx.Client) -> bool:
    try:
        client.get("/v2/")
    except httpx.TransportError:
        return False
    return True


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


if __name__ == "__main__":
    sys.stdout.write(_push(*json.loads(sys.argv[1])))
