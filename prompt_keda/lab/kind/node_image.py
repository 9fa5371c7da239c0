"""Builds the image of kind's node where no image registry is reached: from Debian packages and the stack's own programs.

It does what kind's images/base/Dockerfile and ``kind build node-image`` do, down to the images' names, so that kind is told the
same of it as of a public one. One program is the whole control plane, so that its images share a layer. Run as a program, in a
mount namespace of its own or in a container: `built` calls it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SUITE = "bookworm"
"""Its systemd still speaks cgroup v1, its containerd is what Kubernetes 1.35 takes."""
PACKAGES = (
    *(
        "systemd",
        "conntrack",
        "iptables",
        "nftables",
        "iproute2",
        "ethtool",
        "util-linux",
        "mount",
        "kmod",
        "libseccomp2",
    ),
    *(
        "pigz",
        "e2fsprogs",
        "bash",
        "ca-certificates",
        "jq",
        "procps",
        "containerd",
        "runc",
        "containernetworking-plugins",
    ),
    "busybox-static",
)
REPOSITORY = "kind.local"
"""Instead of a public registry."""
REGISTRIES = """
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
"""
"""Stands in the settings of containerd 2 from the beginning, and not in those of 1."""
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd", "coredns")
ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
NOT_NEEDED = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/i18n",
)
STORAGE = """\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/host-path
"""
REFUSE_EARLY = """\
[Service]
ExecStartPre=-/usr/sbin/iptables -w -A FORWARD -d 10.96.0.0/16 -j REJECT
"""
"""Until kube-proxy has its rules a pod that asks for a Service is refused: else it waits 30 s on a connection that is never
translated (seen)."""
STORE = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
  address = "{state}/sock"
"""
ArchivedImage = dict[str, Any]


def build(plan: dict[str, str]) -> None:
    """Build the image.

    Parameters
    ----------
    plan
        ``debootstrap`` (folder of its package), ``base`` (archive of Debian alone, made unless it is there), ``kube`` (the
        program), ``kind`` (folder of kind's sources), ``version`` (of Kubernetes), ``pause`` and ``pause_archive`` (name and
        file of the pause image), ``scratch``, ``image`` (name) and ``target`` (file).
    """
    scratch = Path(plan["scratch"])
    base, root = Path(plan["base"]), scratch / "root"
    if not base.exists():
        _tell("installing Debian")
        _debootstrap(Path(plan["debootstrap"]), scratch / "debian", base)
    _tell("assembling")
    root.mkdir(mode=0o755, parents=True)
    _run(["tar", "-C", str(root), "-xf", str(base)])
    _add_kinds_files(root, Path(plan["kind"]) / "images/base/files", plan["pause"])
    _add_kubernetes(root, Path(plan["kube"]), plan["version"])
    _fill_store(root, scratch, plan)
    _tell("packing")
    layer = scratch / "node.tar"
    _run(["tar", "-C", str(root), *_not_needed(), "-cf", str(layer), "."])
    start = {"Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"], "StopSignal": "SIGRTMIN+3"}
    image = {"names": [plan["image"]], "layers": [layer], "config": {"Env": ["container=docker", *ENV], **start}}
    with _whole(Path(plan["target"])) as made:
        write_archive(made, [image])


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give where a file is to be written that appears whole or not at all, and is its folder's owner's: we may be root for them."""
    made = target.with_name(f"{target.name}.{os.getpid()}")
    yield made
    owner = target.parent.stat()
    os.chown(made, owner.st_uid, owner.st_gid)
    made.rename(target)


def _debootstrap(programs: Path, root: Path, target: Path) -> None:
    sites = _run(["apt-get", "indextargets", "--format", "$(SITE)", f"Codename: {SUITE}"]).split()
    mirror = sites or _run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]).split()
    env = {**os.environ, "DEBOOTSTRAP_DIR": str(programs / "usr/share/debootstrap")}
    argv = [str(programs / "usr/sbin/debootstrap"), "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    _run([*argv, SUITE, str(root), mirror[0]], env=env)
    with _whole(target) as made:
        _run(["tar", "-C", str(root), *_not_needed(), "-cf", str(made), "."])
    shutil.rmtree(root)


def _not_needed() -> list[str]:
    return [f"--exclude=./{folder}/*" for folder in (*NOT_NEEDED, "dev", "proc", "sys", "var/log")]


def _add_kinds_files(root: Path, files: Path, pause: str) -> None:
    """Do what kind's Dockerfile does after its packages."""
    for folder in (
        "kind/bin",
        "kind/manifests",
        "etc/containerd",
        "opt/cni/bin",
        "etc/kubernetes/manifests",
        "etc/cni/net.d",
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for file in (file for file in files.rglob("*") if file.is_file()):
        name = file.relative_to(files)
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        target.chmod(0o644 if name.parts[0] == "etc" else 0o755)  # a Go module's archive keeps no modes
    wants = "lib/systemd/system"
    (root / wants / "sysinit.target.wants/systemd-tmpfiles-setup.service").unlink(missing_ok=True)
    for pattern in (
        f"{wants}/multi-user.target.wants/*",
        "etc/systemd/system/*.wants/*",
        f"{wants}/local-fs.target.wants/*",
        f"{wants}/sockets.target.wants/*udev*",
        f"{wants}/sockets.target.wants/*initctl*",
        f"{wants}/basic.target.wants/*",
    ):
        for file in root.glob(pattern):
            file.unlink()
    with (root / "etc/systemd/journald.conf").open("a") as journal:
        journal.write("ReadKMsg=no\n")
    _link(root / "sbin/init", "/usr/lib/systemd/systemd")
    for unit in ("kubelet", "containerd", "undo-mount-hacks"):
        _link(
            root / f"etc/systemd/system/multi-user.target.wants/{unit}.service", f"/etc/systemd/system/{unit}.service"
        )
    _link(root / "etc/systemd/system/systemd-binfmt.service", "/dev/null")
    for program in ("containerd", "containerd-shim-runc-v2", "ctr"):
        _link(root / f"usr/local/bin/{program}", f"/usr/bin/{program}")
    for plugin in ("host-local", "loopback", "portmap", "ptp"):
        shutil.copy2(root / "usr/lib/cni" / plugin, root / "opt/cni/bin" / plugin)
    spec = json.loads(_run(["chroot", str(root), "ctr", "oci", "spec"]))
    spec.setdefault("hooks", {})["createContainer"] = [{"path": "/kind/bin/mount-product-files.sh"}]
    spec["process"].pop("rlimits", None)
    (root / "etc/containerd/cri-base.json").write_text(json.dumps(spec))
    config = root / "etc/containerd/config.toml"
    text = re.sub(r"sandbox_image = .*", f'sandbox_image = "{pause}"', config.read_text())
    # without CAP_SYS_RESOURCE runc cannot lower it, and dies
    config.write_text(text.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true") + REGISTRIES)
    (root / "kind/manifests/default-storage.yaml").write_text(STORAGE)
    early = root / "etc/systemd/system/containerd.service.d/10-refuse-early.conf"
    early.parent.mkdir(parents=True, exist_ok=True)
    early.write_text(REFUSE_EARLY)
    for settings in ("50-pid-max.conf", "99-protect-links.conf"):  # the kernel's settings are the machine's
        (root / "usr/lib/sysctl.d" / settings).unlink(missing_ok=True)


def _add_kubernetes(root: Path, kube: Path, version: str) -> None:
    shutil.copyfile(kube, root / "usr/bin/kube")
    (root / "usr/bin/kube").chmod(0o755)
    for program in ("kubeadm", "kubelet", "kubectl"):  # files, as in a public node: one is copied out of an image
        os.link(root / "usr/bin/kube", root / "usr/bin" / program)
    (root / "kind/version").write_text(f"v{version}")


def _fill_store(root: Path, scratch: Path, plan: dict[str, str]) -> None:
    """Put the control plane's images into the store of the node's containerd, not unpacked."""
    archive = scratch / "control-plane.tar"
    write_archive(archive, _control_plane(root, scratch, plan["version"]))
    store, state = root / "var/lib/containerd", scratch / "containerd"
    for folder in (store, state):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    config = scratch / "containerd.toml"
    config.write_text(STORE.format(root=store, state=state))
    with subprocess.Popen(["containerd", "--config", str(config), "--log-level", "error"]) as containerd:
        try:
            ctr = ["ctr", "--address", f"{state}/sock", "--namespace", "k8s.io"]
            while subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode:
                if containerd.poll() is not None:
                    raise SystemExit("containerd has ended")
                time.sleep(0.1)
            for archive_path in (str(archive), plan["pause_archive"]):
                _run([*ctr, "images", "import", "--no-unpack", "--all-platforms", archive_path])
        finally:
            containerd.terminate()


def _control_plane(root: Path, scratch: Path, version: str) -> list[ArchivedImage]:
    """Return the images under the names that kubeadm asks for."""
    programs = scratch / "layer"
    (programs / "usr/local/bin").mkdir(parents=True)
    (programs / "tmp").mkdir()
    (programs / "tmp").chmod(0o1777)
    os.link(root / "usr/bin/kube", programs / "usr/local/bin/kube")
    for name in COMPONENTS:
        _link(programs / "usr/local/bin" / name, "kube")
    layer, firewall = scratch / "kube.tar", scratch / "iptables.tar"
    _run(["tar", "--owner=0", "--group=0", "-C", str(programs), "-cf", str(layer), "."])
    argv = ["tar", "-C", str(root), "--no-recursion", "-cf", str(firewall), "-T", "-"]
    _run(argv, stdin="\n".join(_iptables(root)))
    names = _run(
        ["chroot", str(root), "kubeadm", "config", "images", "list", f"--kubernetes-version=v{version}"]
    ).split()
    images = []
    for name in names:
        short = name.rpartition("/")[2].partition(":")[0]
        if short in COMPONENTS:
            layers = [layer, firewall] if short == "kube-proxy" else [layer]
            images.append(
                {"names": [name], "layers": layers, "config": {"Env": ENV, "Entrypoint": [f"/usr/local/bin/{short}"]}}
            )
    return images


def _iptables(root: Path) -> list[str]:
    """Return what kube-proxy's iptables is made of: programs, extensions with their links, and the libraries of all of these."""
    library = next((root / "usr/lib").glob("*/xtables")).relative_to(root)
    programs = [
        program for pattern in ("ip*tables*", "xtables*", "nft") for program in (root / "usr/sbin").glob(pattern)
    ]
    links = (root / "etc/alternatives").glob("ip*tables*")
    files = {file.relative_to(root) for file in (*programs, root / library, *(root / library).iterdir(), *links)}
    loads = ["usr/sbin/xtables-nft-multi", "usr/sbin/xtables-legacy-multi", "usr/sbin/nft"]
    loads += [str(file.relative_to(root)) for file in (root / library).glob("*.so")]
    output = _run(["chroot", str(root), "ldd", *(f"/{load}" for load in loads)])
    loaded = sorted(set(re.findall(r"(/[^\s:()]+\.so[^\s:()]*) \(", output)))
    for path, real in zip(loaded, _run(["chroot", str(root), "readlink", "-f", *loaded]).split(), strict=True):
        named = path if path.startswith("/usr/") else f"/usr{path}"  # /lib and /lib64 are links into /usr
        files |= {Path(real).relative_to("/"), Path(named).relative_to("/")}
    return ["lib", "lib64", *sorted({str(file) for file in files})]


def write_archive(path: Path, images: Sequence[ArchivedImage]) -> None:
    """Write images as ``docker load`` and ``ctr images import`` take them; layers are shared.

    Parameters
    ----------
    images
        Each with ``names``, ``layers`` (archives) and ``config``.
    """
    known: dict[Path, str] = {}
    manifest = []
    with tarfile.open(path, "w") as archive:
        for image in images:
            for layer in image["layers"]:
                if layer not in known:
                    with layer.open("rb") as file:
                        known[layer] = hashlib.file_digest(file, "sha256").hexdigest()
                    archive.add(layer, arcname=f"{known[layer]}.tar")
            config = {
                "architecture": _architecture(),
                "os": "linux",
                "created": "1970-01-01T00:00:00Z",
                "config": image["config"],
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{known[layer]}" for layer in image["layers"]]},
                "history": [
                    {"created": "1970-01-01T00:00:00Z", "created_by": "prompt-keda local stack"}
                    for _ in image["layers"]
                ],
            }
            data = json.dumps(config, sort_keys=True).encode()
            name = f"{hashlib.sha256(data).hexdigest()}.json"
            _add(archive, name, data)
            layers = [f"{known[layer]}.tar" for layer in image["layers"]]
            manifest.append({"Config": name, "RepoTags": image["names"], "Layers": layers})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _architecture() -> str:
    from prompt_keda.lab.images import ARCHITECTURE

    return ARCHITECTURE[os.uname().machine]


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _run(argv: Sequence[str], stdin: str | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, input=stdin, env=env)
    if done.returncode:
        message = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise SystemExit(f"{' '.join(argv[:3])}: {message}")
    return done.stdout


def _tell(what: str) -> None:
    sys.stderr.write(f"{what}\n")  # read by who has started it
    sys.stderr.flush()


if __name__ == "__main__":
    build(json.loads(sys.argv[1]))
