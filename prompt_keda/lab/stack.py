"""Brings the local stack up and down. Each part is idempotent, so that an interrupted `up` goes on where it stood."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer, nobody
from prompt_keda.core.private_folder import private_folder
from prompt_keda.environment import local_stack
from prompt_keda.lab import (
    argocd,
    base_objects,
    cgroups,
    contents,
    control_plane,
    desk,
    go_builds,
    helm,
    network,
    people,
    place,
    providers,
    requirements,
    services,
    state,
    vault_contents,
    vcluster,
)
from prompt_keda.lab.commands import Children, run
from prompt_keda.lab.pki import Authority
from prompt_keda.lab.provider import DELIVERY, Infrastructure, Provider
from prompt_keda.lab.settings import PORTS, Lab, current_lab

DELIVERIES = ("argocd", "helm", "vcluster")
"""What can be added to a stack: what delivers KEDA as in production, or a vCluster in which it lives. One of them."""


def up(
    observer: Observer = nobody, *, redis_password: bool = True, delivery: str = "", provider: str = ""
) -> state.LabStatus:
    """Bring the local stack up, and return its `state.status`. Idempotent: yes.

    Parameters
    ----------
    observer
        Gets what is built and started, and how long it took.
    redis_password
        False: Prompt Redis without a password, as in production. It counts when Redis is first made.
    delivery
        ``argocd`` or ``helm``: what delivers KEDA there; ``vcluster``: in which it lives. It is added to a stack that stands
        as well. Empty: what it has.
    provider
        ``native`` or ``kind``: who runs its cluster. Empty: as `providers.choose` has it.

    Raises
    ------
    Refusal
        When this machine cannot run it, or another delivery is there; nothing was changed.
    LabError
        When a part does not build or start.
    """
    lab = current_lab()
    asked, delivery = delivery, _only_delivery(lab, delivery)
    chosen, why = providers.choose(lab, provider)
    if delivery and DELIVERY not in chosen.capabilities:
        raise Refusal(f"with the provider {chosen.name} nothing can be added by --with", "Take the provider native.")
    stands = state.status(lab).state == "up"
    if stands:
        # The checkout that brought it up may be gone, and with it the Python that people log in with.
        people.write_kubeconfigs(lab, Authority(lab.pki), state.endpoints(lab)["address"])
    else:
        chosen, whence = providers.with_images(chosen)
        if whence:  # before a refusal: it may be that nothing can be pulled, and this says why
            observer(Event(EventKind.NOTE, "lab/images", "", whence))
        requirements.check(chosen.modules, needs_root=chosen.needs_root, brings=chosen.brings)
        observer(Event(EventKind.NOTE, "lab/provider", "", f"{chosen.name}: {why}"))
        providers.keep(lab, chosen)
        _Bringup(lab, observer, redis_password, chosen).run()
    if delivery and (asked or not stands):
        add = {"argocd": argocd.up, "helm": helm.up, "vcluster": vcluster.up}[delivery]
        _timed(observer, delivery, lambda: add(lab, observer))
    return state.status(lab)


def _only_delivery(lab: Lab, asked: str) -> str:
    """Return what delivers KEDA on a stack; empty: nothing but the toolkit. Raises `Refusal` when that cannot be."""
    if asked not in ("", *DELIVERIES):
        raise Refusal(f"--with knows no {asked!r}", f"Known: {', '.join(DELIVERIES)}.")
    delivery = str((local_stack.read_endpoints(lab.name) or {}).get("delivery", ""))
    if asked and delivery and asked != delivery:
        fix = f"PROMPT_KEDA_LAB=another ./run lab.up --with {asked}"
        raise Refusal(f"the local stack {lab.name!r} has {delivery} already", fix)
    return asked or delivery


def ensure_up(observer: Observer = nobody, provider: str = "") -> None:
    """Bring the local stack up for who works on it. One with a fault injected stays as it is. Raises as `up` does."""
    if not state.faults(current_lab()):
        up(observer, provider=provider)


def _timed(observer: Observer, name: str, work: Callable[[], None]) -> None:
    started = time.monotonic()
    observer(Event(EventKind.STARTED, f"lab/{name}", "working"))
    work()
    observer(Event(EventKind.FINISHED, f"lab/{name}", "done", "", time.monotonic() - started))


class _Bringup:
    """One run of `up`: what compiles goes on in the background while the parts that are there start."""

    def __init__(self, lab: Lab, observer: Observer, redis_password: bool, provider: Provider | None = None) -> None:
        self.lab = lab
        self.provider = provider or providers.of(lab)
        self.observer = observer
        self.redis_password = redis_password
        self.builds: dict[str, Future[Path]] = {}
        self.children = Children()

    def run(self) -> None:
        lab = self.lab
        private_folder(lab.state)
        pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="build")
        try:
            # One after the other, the cluster's binary first; the second lane only fills what a linker leaves idle.
            first, *others = self.provider.modules
            self.builds[first.name] = pool.submit(self._build, first, 0)
            for module in (*others, go_builds.WORKER, go_builds.KEDA, go_builds.VAULT):
                self.builds[module.name] = pool.submit(self._build, module, 10)
            if not lab.is_users:
                network.ensure_bridge_filter()  # before apt takes a minute for a kernel that cannot do it
            self._timed("packages", lambda: self.provider.provide_packages(lab, self.observer, self.children))
            self._timed("network", self._make_infrastructure)
            self._timed("cluster", self._start_cluster)
            self._timed("redis", self._start_redis)
            self._timed("vault", self._start_vault)
            self._timed("keda-images", self._publish_keda)
            self._timed("ready", self._finish)
        except Refusal as error:  # a folder that cannot be made, say; but by now something was changed
            raise LabError(error.what, error.fix) from error
        finally:
            # Whatever ends this shows at once: no error waits minutes for compilers whose result nobody wants.
            pool.shutdown(wait=False, cancel_futures=True)
            self.children.stop()
            pool.shutdown(wait=True)

    def _build(self, module: go_builds.GoModule, niceness: int) -> Path:
        fetched = self.provider.fetch(self.lab, module, self.observer, self.children)
        return fetched or go_builds.build(module, self.observer, niceness, self.children)

    def _timed(self, name: str, work: Callable[[], None]) -> None:
        _timed(self.observer, name, work)

    def _make_infrastructure(self) -> None:
        """Make what needs no compiler: network, keys, registry, directory, login."""
        lab = self.lab
        self.address = address = place.of(lab).make(lab)
        state.reach_directly(address)
        self.authority = authority = Authority(lab.pki)
        for name in ("registry", "vault", "ldap", "login"):
            authority.ensure_server(name, [address, f"{name}.prompt-keda.test"])
        control_plane.prepare(lab, authority, address)
        services.start_registry(lab, address)
        self.people = people.start(lab, authority, address)

    def _start_cluster(self) -> None:
        self.provider.start_cluster(
            Infrastructure(
                self.lab,
                self.address,
                self.authority,
                self.people,
                lambda module: self.builds[module.name].result(),
                self.children,
                self.observer,
            )
        )
        contents.apply(self.lab, base_objects.cluster(self.lab.name))

    def _start_redis(self) -> None:
        lab = self.lab
        self.images = contents.publish_small_images(lab, self.registry_url, self.builds["worker"].result())
        base_objects.make_redis_folder(lab)
        self.password = state.ensure_secret(lab, "redis-password") if self.redis_password else None
        pull = services.docker_config(lab)
        contents.apply(lab, base_objects.redis(self.images["redis"], lab.redis_data, self.password, pull))

    @property
    def registry_url(self) -> str:
        return f"https://{self.address}:{PORTS['registry']}"

    def _start_vault(self) -> None:
        lab = self.lab
        self.vault_url = f"https://{self.address}:{PORTS['vault']}"
        services.start_vault(lab, self.builds["vault"].result() / "vault", self.address)
        services.wait_until("Vault", lambda: contents.answers(self.address, PORTS["vault"]), 30, lab, "vault")
        client = vault_contents.unseal(lab, self.vault_url, self.authority.ca_file)
        vault_contents.fill(lab, client, self.password, services.docker_config(lab))

    def _publish_keda(self) -> None:
        programs = self.builds["keda"].result()
        images = contents.publish_keda_images(self.lab, self.registry_url, programs)
        self.manifests, self.manifests_sha256 = contents.write_keda_manifests(self.lab, images)

    def _finish(self) -> None:
        """Wait for what the first user needs, then say that the stack is up."""
        lab = self.lab
        contents.wait_for_redis(lab)
        uid = contents.kubectl(lab, ["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])
        reference = {"path": "rubin/prompt-keda-local/prompt-redis", "key": "redis-password"}
        endpoints = {
            "name": lab.name,
            "address": self.address,
            "api_url": control_plane.server_url(self.address),
            "kubeconfig": str(lab.people_kubeconfig),
            "admin_kubeconfig": str(lab.admin_kubeconfig),
            "context": f"prompt-keda-{lab.name}",
            "ca_file": str(self.authority.ca_file),
            "ca_sha256": self.authority.ca_sha256(),
            "kube_system_uid": uid.strip(),
            "ldap_url": f"ldaps://{self.address}:{PORTS['ldap']}",
            "vault_url": self.vault_url,
            "vault_role_id_file": str(state.secret_file(lab, "vault-role-id")),
            "vault_secret_id_file": str(state.secret_file(lab, "vault-secret-id")),
            "redis_password": reference if self.password else None,
            "registry_url": self.registry_url,
            "keda_manifests": str(self.manifests),
            "keda_manifests_sha256": self.manifests_sha256,
            "worker_image": self.images["worker"],
            "audit_log": str(lab.audit_log),
        }
        state.write_endpoints(lab, endpoints)


def down(observer: Observer = nobody) -> None:
    """Stop the local stack and remove all of it: processes, pods, mounts, namespaces, links, cgroups, files.

    What was built stays in the user's cache. Idempotent: yes; it also clears what a crashed `up` left.

    Raises
    ------
    Refusal
        When not root, unless the stack lives in the user's container engine, or there is none.
    LabError
        When something does not go; with what it is.
    """
    lab = current_lab()
    if os.geteuid() != 0 and not lab.is_users and (lab.find_provider() or network.exists(lab)):
        raise Refusal("lab.down needs root: this stack lives in no container engine of yours", "Run it with sudo.")
    home = place.of(lab)
    parts: list[tuple[str, Callable[[], None]]] = [
        ("processes", lambda: home.kill_all(lab)),
        ("pods", lambda: _remove_pods(lab)),
        ("mounts", lambda: _unmount_below(lab)),
        ("desk", lambda: desk.close(lab)),
        ("place", lambda: home.remove(lab)),
        ("provider", lambda: providers.of(lab).clear(lab)),
        ("files", lambda: _remove_files(lab)),
    ]
    for part, work in parts:
        observer(Event(EventKind.STARTED, f"lab.down/{part}", "working"))
        work()
    observer(Event(EventKind.FINISHED, "lab.down", "done", f"nothing of {lab.name!r} is left"))


def _remove_pods(lab: Lab) -> None:
    """End what runs in pods, once nothing of the stack can make more of it.

    Without a cgroup for each quality of service the kubelet names no parent, and containerd puts its containers beside
    the stack's cgroup (seen).
    """
    for cgroup in lab.pod_cgroups():
        cgroups.kill_all(cgroup)
        cgroups.remove(cgroup)


def _mounts_below(lab: Lab) -> list[Path]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].replace("\\040", " ")) for line in lines]
    ours = [point for point in points if point.is_relative_to(lab.state) or point.is_relative_to(lab.run)]
    return sorted(ours, key=lambda point: len(point.parts), reverse=True)


def _unmount_below(lab: Lab) -> None:
    for point in _mounts_below(lab):
        run(["umount", "--lazy", str(point)], fix="Run lab.down again.")


def _remove_files(lab: Lab) -> None:
    if left := _mounts_below(lab):
        raise LabError(f"{left[0]} is still mounted", "Run lab.down again.")
    for folder in (lab.run, lab.state):
        if folder.exists():
            shutil.rmtree(folder)


def exec_(argv: Sequence[str]) -> int:
    """Run a command inside the stack's network namespace, with its environment set, and return its exit code.

    ``KUBECONFIG``, ``VAULT_ADDR``, ``VAULT_CACERT`` and ``REDISCLI_AUTH`` are set, and the stack's kubectl is on the
    PATH.

    Raises
    ------
    LabError
        When the stack is not up.
    """
    lab = current_lab()
    endpoints = state.endpoints(lab)
    env = {
        **os.environ,
        "KUBECONFIG": str(lab.admin_kubeconfig),
        "VAULT_ADDR": endpoints["vault_url"],
        "VAULT_CACERT": endpoints["ca_file"],
        "PATH": f"{lab.state / 'bin'}:{os.environ['PATH']}",
    }
    if endpoints["redis_password"]:
        env["REDISCLI_AUTH"] = state.ensure_secret(lab, "redis-password").reveal()
    return subprocess.run([*place.of(lab).inside(lab), *argv], env=env, check=False).returncode
