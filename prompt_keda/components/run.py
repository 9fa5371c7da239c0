"""What every step of a redeploy is given."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from prompt_keda.clients.kube.change import change
from prompt_keda.clients.kube.client import FIELD_MANAGER
from prompt_keda.clients.kube.errors import is_conflict
from prompt_keda.clients.kube.managed_fields import updates_as_applied
from prompt_keda.clients.kube.objects import Object, label
from prompt_keda.clients.systems import Systems
from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.decisions import Decisions, JobRecord
from prompt_keda.core.errors import ClientError
from prompt_keda.core.event import Observer, nobody
from prompt_keda.core.run_plan import GO_ON
from prompt_keda.delivery.base import Delivery
from prompt_keda.environment.model import Environment, Instrument
from prompt_keda.records.lock import Lock

CHANGED = f"Somebody has changed it since it was planned. A new ./run redeploy puts it right; or undo that, and {GO_ON}"


@dataclass
class Context:
    """One redeploy of one environment.

    Parameters
    ----------
    systems
        The clients.
    keda_objects
        KEDA's objects in the order in which they can be applied.
    instrument_objects
        Instrument → its ScaledJob and what belongs to it. Empty for one that somebody else delivers.
    delivery
        Who else delivers, and how both agree.
    decisions
        What the plan removes, takes over, unpauses and brings back.
    objects
        All that stood of KEDA when it was looked at, for the snapshot.
    saved
        Those of them that come back, as they are applied.
    kube_system_uid
        The cluster's identity, once `guard.check_identity` has seen it.
    before
        The Jobs and pods that were active at the start.
    lag_was_counted
        Whether this process has let Redis count what was read: what is still not right then, no counting corrects.
    finalizers_were_waited_for
        Whether this process has waited for what was being deleted: what still hangs comes back last.
    read_before
        Stream → how many events its group had read when the verification began to look.
    polled_before
        Namespace and name of a ScaledJob → how late its last poll was when the verification began to look, in seconds.
    lock
        The lock of this cluster; None until the run's id is known.
    """

    systems: Systems
    keda_objects: list[Object]
    instrument_objects: dict[str, list[Object]]
    delivery: Delivery = field(default_factory=Delivery)
    run_id: str = ""
    kube_system_uid: str = ""
    decisions: Decisions = field(default_factory=Decisions)
    objects: list[Object] = field(default_factory=list)
    saved: tuple[Object, ...] = ()
    before: tuple[JobRecord, ...] = ()
    observer: Observer = nobody
    smoke: SmokeResult | None = None
    lag_was_counted: bool = False
    finalizers_were_waited_for: bool = False
    read_before: dict[str, int] = field(default_factory=dict)
    polled_before: dict[tuple[str, str], float] = field(default_factory=dict)
    lock: Lock | None = None

    @property
    def lock_was_held(self) -> bool:
        """Whether this process ever had the lock. If not, it has written nothing else."""
        return self.lock is not None and self.lock.was_held

    @property
    def environment(self) -> Environment:
        """The environment."""
        return self.systems.environment

    @property
    def namespace(self) -> str:
        """KEDA's namespace."""
        return self.environment.keda.namespace

    def instruments(self) -> list[Instrument]:
        """Return the instruments whose ScaledJobs this toolkit delivers."""
        return [
            instrument for instrument in self.environment.instruments if self.instrument_objects.get(instrument.name)
        ]

    def find(self, wanted: Object) -> Object | None:
        """Return what stands of an object, or None. Raises `Missing` when its kind is not served, and as `Kube.find`."""
        kube, metadata = self.systems.kube, wanted["metadata"]
        return kube.find(kube.resource_of(wanted), metadata["name"], metadata.get("namespace"))

    def apply_all(self, objects: list[Object]) -> None:
        """Apply objects of the toolkit's own side by side. Raises what `Kube.apply` raises, for the first that fails."""
        self._side_by_side(self.apply, objects)

    def deliver_all(self, objects: list[Object]) -> list[Object]:
        """Apply objects of the manifests side by side, and return them as they are then. Raises as `apply_all` does."""
        return self._side_by_side(self.deliver, objects)

    def apply(self, wanted: Object) -> Object:
        """Apply one object of the toolkit's own. Raises as `Kube.apply` does. Idempotent: yes."""
        return self._apply(wanted, FIELD_MANAGER)

    def deliver(self, wanted: Object, force: bool = False) -> Object:
        """Apply one object of the manifests, as whoever delivers it. Raises as `Kube.apply` does. Idempotent: yes.

        What it had written by updates counts as applied: else what it drops would stay.
        """
        kube, metadata, manager = self.systems.kube, wanted["metadata"], self.delivery.field_manager
        if manager != FIELD_MANAGER:
            kind, namespace = kube.resource_of(wanted), metadata.get("namespace")
            change(kube, kind, metadata["name"], namespace, lambda live: updates_as_applied(live, manager))
        return self._apply(wanted, manager, force)

    def _apply(self, wanted: Object, field_manager: str, force: bool = False) -> Object:
        """Apply one object, by force where the plan takes over fields of others.

        What conflicted when it was planned is taken over, or removed before, so that a conflict is news: resume alone
        meets it again.
        """
        force = force or label(wanted) in self.decisions.takes_over
        try:
            return self.systems.kube.apply(wanted, force=force, field_manager=field_manager)
        except ClientError as error:
            if is_conflict(error):
                error.fix = CHANGED
            raise

    def _side_by_side(self, apply: Callable[[Object], Object], objects: list[Object]) -> list[Object]:
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="apply") as pool:
            return [done.result() for done in [pool.submit(apply, obj) for obj in objects]]
