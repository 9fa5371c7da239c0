"""What Helm has left: releases that hang, and the marks by which it knows its objects.

Helm keeps a release's revisions as Secrets in its namespace, with the labels ``owner=helm``, ``name`` and ``status``, and
takes only objects for its own that carry its label and annotations (helm.sh/helm/v3, pkg/storage/driver/secrets.go and
pkg/action/validate.go). After a removal that hung, ``helm upgrade --install`` says that the release "has no deployed
releases" (failure mode F5); over objects that somebody else made, "invalid ownership metadata" (F46).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object, some
from prompt_keda.clients.kube.resources import SECRETS
from prompt_keda.clients.systems import Systems
from prompt_keda.core.decisions import Deletion
from prompt_keda.core.plan import Progress, State
from prompt_keda.core.rights import Right
from prompt_keda.delivery import release_record
from prompt_keda.delivery.base import Delivery, DesiredObjects
from prompt_keda.environment.model import Instrument

RELEASE_NAME, RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
MANAGED = ("app.kubernetes.io/managed-by", "Helm")
DEPLOYED, IN_ORDER = "deployed", ("deployed", "superseded")


class HelmDelivery(Delivery):
    """Helm delivers too: what is applied bears its marks and has its field manager, and its record of it is kept true."""

    field_manager = "helm"
    """As whom Helm 4 applies server-side (helm.sh/helm/v4, pkg/kube/client.go)."""

    def __init__(self, systems: Systems) -> None:
        self._systems, keda = systems, systems.environment.keda
        self._keda_release = self.helm_release = f"{keda.namespace}/{keda.release}"

    def marked(self, obj: Object, instrument: Instrument | None = None) -> Object:
        """Return an object with the marks of its release; without one it gets none."""
        return marked(obj, self._release(instrument))

    def agreement(self) -> Progress:
        """Look whether each release has a revision that is deployed, so that Helm goes on from it."""
        without = [release for release in self._releases().values() if not self._is_deployed(release)]
        if without:
            return Progress(State.TODO, f"Helm has no record of {some(without)}")
        return Progress(State.DONE, f"deployed: {some(self._releases().values())}")

    def agree(self, wanted: DesiredObjects) -> None:
        """Write the record of a release that has none: what was removed with its namespace, or could not go on."""
        version = str(self._systems.environment.keda.version)
        for name, release in self._releases().items():
            if not self._is_deployed(release):
                namespace = release.partition("/")[0]
                revision = 1 + max(map(_revision, self._revisions(release)), default=0)
                body = release_record.secret(release, revision, version, wanted.get(name) or ())
                self._systems.kube.create(SECRETS, body, namespace)

    def rights(self) -> list[Right]:
        """Return those to read and write the records of its releases."""
        spaces = {release.partition("/")[0] for release in self._releases().values()}
        return [Right(verb, "", "secrets", space) for space in sorted(spaces) for verb in ("list", "create")]

    def _release(self, instrument: Instrument | None) -> str:
        if instrument is None:
            return self._keda_release
        return f"{instrument.namespace}/{instrument.release}" if instrument.release else ""

    def _releases(self) -> dict[str, str]:
        """Return instrument → its release; KEDA's stands under the empty name."""
        instruments = self._systems.environment.instruments
        named = {instrument.name: self._release(instrument) for instrument in instruments if instrument.release}
        return {"": self._keda_release, **named}

    def _revisions(self, release: str) -> Sequence[Object]:
        namespace, _, name = release.partition("/")
        return self._systems.kube.names(SECRETS, namespace, f"owner=helm,name={name}")

    def _is_deployed(self, release: str) -> bool:
        return any(_status(revision) == DEPLOYED for revision in self._revisions(release))


def release_of(objects: Iterable[Object]) -> str:
    """Return ``namespace/name`` of the one release that live objects say they are of; empty if none or several."""
    releases = set()
    for obj in objects:
        annotations = obj["metadata"].get("annotations") or {}
        if RELEASE_NAME in annotations:
            releases.add(f"{annotations.get(RELEASE_NAMESPACE, '')}/{annotations[RELEASE_NAME]}")
    return releases.pop() if len(releases) == 1 else ""


def marked(obj: Object, release: str) -> Object:
    """Return an object with the marks of a release; as it is if there is none."""
    namespace, _, name = release.rpartition("/")
    if not name:
        return obj
    metadata = obj["metadata"]
    labels = {**(metadata.get("labels") or {}), **dict([MANAGED])}
    annotations = {**(metadata.get("annotations") or {}), RELEASE_NAME: name, RELEASE_NAMESPACE: namespace}
    return {**obj, "metadata": {**metadata, "labels": labels, "annotations": annotations}}


def stuck(kube: Kube, namespace: str) -> Iterator[Deletion]:
    """Yield the revisions that hold a release up; raises as `Kube.names` does.

    Of a release that has a deployed revision, only those that hang (pending, uninstalling, failed); of one that has
    none, all: nothing can be upgraded from them.
    """
    releases: dict[str, list[Object]] = {}
    for revision in kube.names(SECRETS, namespace, "owner=helm"):
        releases.setdefault(revision["metadata"]["labels"].get("name", ""), []).append(revision)
    for name, revisions in sorted(releases.items()):
        is_deployed = any(_status(revision) == DEPLOYED for revision in revisions)
        for revision in revisions:
            if not is_deployed or _status(revision) not in IN_ORDER:
                metadata, why = (
                    revision["metadata"],
                    f"release {name} is {_status(revision)}, and Helm cannot go on from it",
                )
                yield Deletion("Secret", namespace, metadata["name"], metadata["uid"], why)


def _status(revision: Object) -> str:
    return str(revision["metadata"]["labels"].get("status", "unknown"))


def _revision(revision: Object) -> int:
    return int(revision["metadata"]["labels"].get("version", "0"))
