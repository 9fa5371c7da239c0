"""What is put into the cluster and the registry while the stack comes up."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from prompt_keda.clients.kube.objects import Object
from prompt_keda.lab import go_builds, images, keda_manifests, network, node, packages, services, state, users_engine
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import KEDA_VERSION, REGISTRY_HOST, Lab, cache_home

REDIS_SERVER, REDIS_CLI = Path("/usr/bin/redis-server"), Path("/usr/bin/redis-cli")
BUSYBOX = Path("/bin/busybox")


def kubectl(
    lab: Lab, arguments: list[str], stdin: str | None = None, timeout_s: float = 60, kubeconfig: Path | None = None
) -> str:
    """Run the stack's kubectl as its administrator, or with another kubeconfig. In a user's engine it ends with the stack.

    Raises
    ------
    LabError
        When it fails; with its last line.
    """
    ends = users_engine.marked(lab) if lab.is_users else []
    argv = [*ends, lab.program("kubectl"), "--kubeconfig", str(kubeconfig or lab.admin_kubeconfig), *arguments]
    return run(argv, stdin=stdin, timeout_s=timeout_s)


def apply(lab: Lab, objects: list[Object], kubeconfig: Path | None = None) -> None:
    """Apply objects server-side, as `kubectl` does. Idempotent: yes."""
    document = {"apiVersion": "v1", "kind": "List", "items": objects}
    arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=prompt-keda-lab", "-f", "-"]
    kubectl(lab, arguments, stdin=json.dumps(document), kubeconfig=kubeconfig)


def wait_for_redis(lab: Lab) -> None:
    """Wait until Prompt Redis is ready; kubectl watches it."""
    name = "statefulset/prompt-redis"
    kubectl(lab, ["rollout", "status", name, "-n", "prompt-redis", "--timeout=90s"], timeout_s=100)


def answers(address: str, port: int) -> bool:
    """Return whether something listens there."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _listens(path: Path) -> bool:
    """Return whether a server accepts on a Unix socket: the file alone may be there a moment earlier (seen in CI)."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def import_pause_image(lab: Lab, worker: Path) -> None:
    """Put the pause image into containerd itself: it pulls this one without the pods' pull secret."""
    archive = lab.state / "pause.tar"
    images.write_archive(pause_image(worker), archive, node.PAUSE_IMAGE)
    services.wait_until("containerd", lambda: _listens(lab.containerd_socket), 30, lab, "containerd")
    argv = ["ctr", f"--address={lab.containerd_socket}", "-n", "k8s.io", "images", "import", str(archive)]
    run([*network.enter(lab), *argv])
    archive.unlink()


def pause_image(worker: Path) -> images.BuiltImage:
    """Return the pause image: the worker's program, which does that work under another name."""
    image = images.ImageContents("pause", "1", {"/pause": worker / "worker"}, ("/pause",))
    return images.build(image, _image_cache())


def publish_small_images(lab: Lab, registry_url: str, worker: Path) -> dict[str, str]:
    """Push the images of worker, Redis and busybox, and return their names by digest."""
    wanted = {
        "worker": images.ImageContents("lsst-dm/prompt-service", "local", {"/worker": worker / "worker"}, ("/worker",)),
        "redis": _redis_image(lab),
        "busybox": images.ImageContents(
            "busybox", "1", {"/bin/busybox": packages.find(lab, BUSYBOX)}, ("/bin/busybox",)
        ),
    }
    return publish(lab, registry_url, wanted)


def publish_redis_image(lab: Lab, registry_url: str) -> str:
    """Push Redis' image, and return its name by digest."""
    return publish(lab, registry_url, {"redis": _redis_image(lab)})["redis"]


def _redis_image(lab: Lab) -> images.ImageContents:
    files: dict[str, Path] = {}
    for program in (REDIS_SERVER, REDIS_CLI):  # upstream's image has both, and the runbooks call the second
        libraries = images.shared_libraries(packages.list_libraries(lab, program), packages.root(lab))
        files |= {str(program): packages.find(lab, program), **libraries}
    return images.ImageContents("redis", "7", files, (str(REDIS_SERVER),))


def publish_keda_images(lab: Lab, registry_url: str, programs: Path) -> dict[str, str]:
    """Push KEDA's three images, with the entry points of upstream's, and return their names by digest."""
    tag = KEDA_VERSION
    wanted = {
        "keda": images.ImageContents("kedacore/keda", tag, {"/keda": programs / "operator"}, ("/keda",)),
        "keda-metrics-apiserver": images.ImageContents(
            "kedacore/keda-metrics-apiserver", tag, {"/keda-adapter": programs / "adapter"}, ("/keda-adapter",)
        ),
        "keda-admission-webhooks": images.ImageContents(
            "kedacore/keda-admission-webhooks",
            tag,
            {"/keda-admission-webhooks": programs / "webhooks"},
            ("/keda-admission-webhooks",),
        ),
    }
    return publish(lab, registry_url, wanted)


def write_keda_manifests(lab: Lab, image_names: dict[str, str]) -> tuple[Path, str]:
    """Write KEDA's manifests into the cache, and return the file and its SHA-256."""
    module = go_builds.module_folder(go_builds.KEDA, "github.com/kedacore/keda/v2")
    objects = keda_manifests.render(module, lab.program("kubectl"), image_names)
    return keda_manifests.write(objects, cache_home() / "prompt-keda" / "manifests")


def publish(lab: Lab, registry_url: str, wanted: dict[str, images.ImageContents]) -> dict[str, str]:
    """Push images, each unless the registry has it, and return their names by digest. Raises as `images.push` does."""
    password = state.ensure_secret(lab, "registry-password")
    with images.registry_client(registry_url, lab.pki / "ca.crt", services.REGISTRY_USER, password) as client:
        pushed = {name: images.push(images.build(image, _image_cache()), client) for name, image in wanted.items()}
    return {name: f"{REGISTRY_HOST}/{pinned}" for name, pinned in pushed.items()}


def _image_cache() -> Path:
    return cache_home() / "prompt-keda" / "images"
