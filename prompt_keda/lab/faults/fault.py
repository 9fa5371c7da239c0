"""What a fault is, and what it works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import PODS
from prompt_keda.clients.redis_streams import RedisStreams
from prompt_keda.core.errors import Missing
from prompt_keda.delivery.manifests import load_keda_manifests
from prompt_keda.environment.model import Environment
from prompt_keda.lab import state, vcluster
from prompt_keda.lab.settings import Lab, current_lab


@dataclass(frozen=True)
class Stage:
    """The running local stack, as its administrator: where Prompt KEDA lives in a vCluster, inside of that.

    Parameters
    ----------
    environment
        The environment whose checks look at it.
    """

    environment: Environment

    @property
    def lab(self) -> Lab:
        """The stack."""
        return current_lab()

    @property
    def endpoints(self) -> dict[str, Any]:
        """Where its parts are. Raises `LabError` when it is not up."""
        return state.endpoints(self.lab)

    @property
    def kube(self) -> Kube:
        """The API server of where Prompt KEDA lives, by a login that needs no directory."""
        return self._connect(vcluster.admin_kubeconfig(self.lab) if self._is_inside else self.lab.admin_kubeconfig)

    @property
    def host(self) -> Kube:
        """The stack's own API server: a vCluster's host."""
        return self._connect(self.lab.admin_kubeconfig)

    @property
    def _is_inside(self) -> bool:
        return self.endpoints.get("delivery") == "vcluster"

    def _connect(self, kubeconfig: Path) -> Kube:
        return Kube.connect(kubeconfig, None, timedelta(seconds=10))

    @property
    def redis(self) -> RedisStreams:
        """Prompt Redis, connected again each time: its pod may be another one."""
        settings = self.environment.redis
        password = state.ensure_secret(self.lab, "redis-password") if self.endpoints["redis_password"] else None
        limit = timedelta(seconds=10)
        return RedisStreams.through(self.kube, settings.namespace, settings.service, settings.port, password, limit)

    def keda_object(self, kind: str, name: str) -> Object:
        """Return one of KEDA's objects as its manifests have it. Raises `Missing` when there is none."""
        manifests = Path(self.endpoints["keda_manifests"])
        for obj in load_keda_manifests(manifests, self.endpoints["keda_manifests_sha256"]):
            if (obj["kind"], obj["metadata"]["name"]) == (kind, name):
                return obj
        raise Missing("file", str(manifests), f"no {kind} {name}")

    def keda_pods(self, part: str) -> list[Object]:
        """Return the pods of one of KEDA's Deployments, by its name."""
        return self.kube.list(PODS, self.environment.keda.namespace, f"app={part}")

    @property
    def redis_pods(self) -> tuple[str, str]:
        """The namespace and the label selector of Redis' pod."""
        settings = self.environment.redis
        return settings.namespace, f"app.kubernetes.io/name={settings.service}"

    @property
    def ca_file(self) -> Path:
        """The authority of all its servers."""
        return Path(self.endpoints["ca_file"])


FaultAction = Callable[[Stage], None]
"""What is done to the stack."""


@dataclass(frozen=True)
class InChaos:
    """A fault as chaos rounds draw it: it takes neither Jobs nor events, and comes and goes within seconds, whatever is broken.

    Parameters
    ----------
    is_repaired
        Whether a redeploy repairs it. Else its checks may not be green as long as it is there.
    writes
        What it writes as a whole: another fault of the same would revert it. Empty: nothing that others write.
    inject, revert
        Its acts without the wait for the symptom, which takes a minute and no round asks for; None: the fault's own.
    """

    is_repaired: bool = True
    writes: str = ""
    inject: FaultAction | None = None
    revert: FaultAction | None = None


@dataclass(frozen=True)
class Fault:
    """One way in which Prompt KEDA fails.

    Parameters
    ----------
    id
        ``category/what-is-broken``.
    case
        Its number in docs/failure-modes.md; empty where it has none.
    title
        What is broken, in words.
    inject, revert
        Inject it, and put back what was there before. Both return when that is done, and can be called twice.
    expected_checks
        Check id → the verdict (``fail``, ``warn``, ``unknown``) that it gets; no other check is anything but OK, or
        SKIPPED because it needs one of these.
    cause
        A part of what the first of them observes: the right cause. Never a name that the fault itself has made.
    cause_behind_proxy
        The same where an engine's proxy takes the connections to the API server, as with the provider kind; empty: no other.
    left_out
        Checks that need none of these, and see by themselves that there is nothing to look at: SKIPPED as well.
    runbook
        The one that answers it; empty: that of the first check that detects it.
    stops_scaling
        Whether no more workers begin while it is broken: those that run or wait take few of the events that come, and visits
        are lost, one every 36 s. Else there is time. Measured: tests/stack/test_scaling_stops.py.
    needs
        What the stack has to have for it: capabilities of its provider (`lab.provider`), or what delivers there, as
        ``lab.up --with`` names it.
    chaos
        How chaos rounds draw it; None: they do not.
    """

    id: str
    case: str
    title: str
    inject: FaultAction
    revert: FaultAction
    expected_checks: Mapping[str, str]
    cause: str
    left_out: tuple[str, ...] = ()
    runbook: str = ""
    stops_scaling: bool = False
    chaos: InChaos | None = None
    needs: frozenset[str] = frozenset()
    cause_behind_proxy: str = ""

    @property
    def causes(self) -> tuple[str, ...]:
        """What names the cause, one or the other."""
        return (self.cause, self.cause_behind_proxy) if self.cause_behind_proxy else (self.cause,)
