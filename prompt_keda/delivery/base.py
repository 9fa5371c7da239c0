"""Who delivers KEDA and the ScaledJobs besides this toolkit, and how both agree: the port, and that nobody does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prompt_keda.clients.kube.client import FIELD_MANAGER
from prompt_keda.clients.kube.managed_fields import no_longer_wanted
from prompt_keda.clients.kube.objects import Object
from prompt_keda.core.plan import Progress, State
from prompt_keda.core.rights import Right
from prompt_keda.environment.model import Instrument

DesiredObjects = Mapping[str, Sequence[Object]]
"""Instrument → what was applied of it; KEDA's stands under the empty name."""
NOBODY_ELSE = Progress(State.DONE, "nobody else delivers here")


class Delivery:
    """How objects come onto a cluster. This one: the toolkit applies its manifests, and nobody else does.

    The toolkit always applies what is wanted by itself. What differs is as whom, with which marks, who has to keep still
    meanwhile, and who confirms it.

    Attributes
    ----------
    field_manager
        As whom the wanted objects are applied.
    helm_release
        ``namespace/name`` of the Helm release that KEDA belongs to; empty: none. None: the one that live objects say.
    """

    field_manager = FIELD_MANAGER
    helm_release: str | None = None

    def marked(self, obj: Object, instrument: Instrument | None = None) -> Object:
        """Return an object with the marks by which its deliverer knows it.

        Parameters
        ----------
        instrument
            Whose it is; None: KEDA's.
        """
        return obj

    def marks_of_a_job(self, job: Object) -> dict[str, dict[str, None]]:
        """Return what an orphaned Job must lose so that its deliverer does not take it for its own, as a merge patch."""
        return {}

    def no_longer_wanted(self, wanted: Object, live: Object) -> str | None:
        """Return the path of a field that its deliverer has once applied, and does not want any more; None: there is none."""
        return no_longer_wanted(wanted, live, self.field_manager)

    def others(self, live: Object) -> list[str]:
        """Return who else has applied an object server-side, and so keeps fields that its deliverer drops."""
        return []

    def disown_others(self, live: Object) -> Object | None:
        """Return the patch by which `others` own nothing of an object any more; None: they do not."""
        others = self.others(live)
        entries = live["metadata"].get("managedFields") or []
        kept = [entry for entry in entries if entry.get("operation") != "Apply" or entry.get("manager") not in others]
        return {"metadata": {"managedFields": kept}} if others else None

    def agrees_with_what_stands(self) -> str:
        """Return why what stands may be right, though it is not what is wanted, in words; empty: nobody says so."""
        return ""

    def suspension(self, run_id: str) -> Progress:
        """Look whether everybody else keeps still for a run. Raises as `Kube.find` does."""
        return NOBODY_ELSE

    def suspend(self, run_id: str) -> None:
        """Make everybody else keep still. Idempotent: yes. Raises as `Kube.patch` does."""

    def is_bringing(self, instrument: Instrument) -> bool:
        """Return whether who else delivers is about to make an instrument's ScaledJob again. Raises as `Kube.find` does."""
        return False

    def obstacles(self) -> Iterator[str]:
        """Yield why nothing can be applied now as its deliverer would. Raises as `Kube.find` does."""
        yield from ()

    def resumption(self, run_id: str) -> Progress:
        """Look whether everybody else goes on as before. Raises as `Kube.find` does."""
        return NOBODY_ELSE

    def resume(self, run_id: str) -> None:
        """Let everybody else go on as before. Idempotent: yes. Raises as `Kube.patch` does."""

    def agreement(self) -> Progress:
        """Look whether who else delivers takes what stands for its own, and for right. Raises as `Kube.find` does."""
        return NOBODY_ELSE

    def agree(self, wanted: DesiredObjects) -> None:
        """Have it refresh what it compares, or write down for it what stands. Idempotent: yes. Raises as `Kube.patch` does."""

    def rights(self) -> list[Right]:
        """Return the rights that the methods above need."""
        return []
