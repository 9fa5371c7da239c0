"""Runs as their copies in the cluster have them, read strictly. No path that stands there is ever used."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.objects import Object, label, selector_of
from prompt_keda.clients.kube.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, SECRETS
from prompt_keda.components.keda.names import LEASE, PART_OF
from prompt_keda.components.run import Context
from prompt_keda.core.decisions import Decisions, Deletion
from prompt_keda.core.errors import Refusal
from prompt_keda.delivery import helm
from prompt_keda.records.lock import STATE_NAMESPACE
from prompt_keda.records.run_record import (
    EntryRecord,
    PlanRecord,
    ResultRecord,
    SnapshotRecord,
    Strict,
    cut,
    environment_of,
)
from prompt_keda.redeploy.cluster_copy import ENTRY, ENVIRONMENT, GREEN, PLAN, PREFIX, RESULT, RUN, SNAPSHOT, STATE
from prompt_keda.redeploy.inventory import custom_kinds

R = TypeVar("R", bound=Strict)
MOST_BYTES = 64 * 2**20
"""More is not unpacked: 20 000 Jobs and pods need 8 MiB."""


@dataclass(frozen=True)
class CopiedRun:
    """One run, as its copy in the cluster has it.

    Parameters
    ----------
    run_id
        Its id, which is one of the environment that was asked for.
    config_map
        All of it, as it was found.
    """

    run_id: str
    config_map: Object

    @property
    def is_green(self) -> bool:
        """Whether it has ended green, on whatever machine."""
        return bool(self.config_map["metadata"]["labels"].get(STATE) == GREEN)

    def plan(self) -> PlanRecord:
        """Return its plan. Raises `Refusal` when it is damaged."""
        return self._packed(PLAN, PlanRecord)

    def snapshot(self) -> SnapshotRecord:
        """Return what stood at its start. Raises `Refusal` when it is damaged."""
        return self._packed(SNAPSHOT, SnapshotRecord)

    def entries(self) -> list[dict[str, str]]:
        """Return its journal. Raises `Refusal` when it is damaged, or has a gap."""
        data = self.config_map.get("data") or {}
        names = sorted(name for name in data if name.startswith(ENTRY))
        if names != [f"{ENTRY}{n:05}" for n in range(len(names))]:
            raise self._damaged("the journal", "it has a gap")
        return [self._read(name, data[name], EntryRecord).model_dump() for name in names]

    def result(self) -> ResultRecord | None:
        """Return how it went; None while it has not ended green. Raises `Refusal` when it is damaged."""
        text = (self.config_map.get("data") or {}).get(RESULT)
        return None if text is None else self._read(RESULT, text, ResultRecord)

    def _packed(self, name: str, kind: type[R]) -> R:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip
        try:
            packed = base64.b64decode((self.config_map.get("binaryData") or {})[name], validate=True)
            text = unpacker.decompress(packed, MOST_BYTES)
        except KeyError:
            raise self._damaged(name, "it is missing") from None
        except (ValueError, TypeError, zlib.error) as error:
            raise self._damaged(name, str(error)) from error
        if not unpacker.eof:
            raise self._damaged(name, "it is cut off" if len(text) < MOST_BYTES else "it is too large")
        return self._read(name, text, kind)

    def _read(self, name: str, text: str | bytes, kind: type[R]) -> R:
        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(step) for step in first["loc"])
            raise self._damaged(name, f"{where}: {first['msg']}".removeprefix(": ")) from None

    def _damaged(self, what: str, why: str) -> Refusal:
        return Refusal(
            f"the copy of run {self.run_id} in the cluster is damaged: {what}: {cut(why)}",
            f"Resume where it was begun, or begin a new redeploy. To look: ConfigMap {PREFIX}{self.run_id} in "
            f"{STATE_NAMESPACE}.",
        )


def find_runs(kube: Kube, environment: str) -> list[CopiedRun]:
    """Return the runs of an environment that have a copy in this cluster, newest first. Raises as `Kube.list` does.

    What does not carry the name of such a run is not one.
    """
    runs = []
    for config_map in kube.list(CONFIG_MAPS, STATE_NAMESPACE, f"{ENVIRONMENT}={environment},{RUN}"):
        run_id = str(config_map["metadata"]["labels"][RUN])
        if environment_of(run_id) == environment and config_map["metadata"]["name"] == f"{PREFIX}{run_id}":
            runs.append(CopiedRun(run_id, config_map))
    return sorted(runs, key=lambda run: run.run_id, reverse=True)


def refuse_foreign(context: Context, decisions: Decisions, objects: Sequence[Object], run_id: str) -> None:
    """Make sure that a plan from the cluster removes nothing but parts of KEDA, and brings back only objects of its kinds.

    Raises
    ------
    Refusal
        When it names something else.
    ClientError
        When the cluster cannot be asked.
    """
    foreign = [
        f"remove {deletion.kind} {deletion.name}" for deletion in decisions.deletions if not _is_part(context, deletion)
    ]
    kinds = {(kind.api_version, kind.kind) for kind in custom_kinds(context)}
    foreign += [f"bring back {label(obj)}" for obj in objects if (obj["apiVersion"], obj["kind"]) not in kinds]
    if foreign:
        raise Refusal(
            f"the copy of run {run_id} in the cluster would {foreign[0]}, which is no part of KEDA",
            "Do not resume it: somebody has changed it. Begin a new redeploy.",
        )


def _is_part(context: Context, deletion: Deletion) -> bool:
    """Return whether a plan may remove this: it is one of the kinds that plans remove, and stands as a part of KEDA.

    What is gone, or another object by now, is fine: it is not removed.
    """
    kind, name, namespace = deletion.kind, deletion.name, deletion.namespace
    wanted = [obj for obj in context.keda_objects if (obj["kind"], obj["metadata"]["name"]) == (kind, name)]
    if any(obj["metadata"].get("namespace", "") == namespace for obj in wanted):
        return True
    if kind == "Lease":
        return name == LEASE and bool(namespace)
    kinds = {"Deployment": DEPLOYMENTS, "Pod": PODS, "Secret": SECRETS}
    if kind not in kinds or not namespace or (kind != "Deployment" and namespace != context.namespace):
        return False
    lives = any(obj["metadata"]["uid"] == deletion.uid for obj in context.systems.kube.names(kinds[kind], namespace))
    return not lives or deletion.uid in _parts(context, kind, namespace)


def _parts(context: Context, kind: str, namespace: str) -> set[str]:
    """Return the UIDs of what stands as a part of KEDA: its Deployments, their pods, revisions of Helm that hang."""
    kube = context.systems.kube
    if kind == "Secret":
        return {revision.uid for revision in helm.stuck(kube, namespace)}
    if kind == "Deployment":
        return {deployment["metadata"]["uid"] for deployment in kube.names(DEPLOYMENTS, namespace, PART_OF)}
    selectors = {selector_of(obj) for obj in context.keda_objects if obj["kind"] == "Deployment"} - {""}
    return {pod["metadata"]["uid"] for selector in selectors for pod in kube.names(PODS, namespace, selector)}


def decision_lines(decisions: Decisions) -> Iterator[str]:
    """Yield what a plan decides, a line each: for who has to approve what another machine has planned."""
    for deletion in decisions.deletions:
        yield f"may remove {deletion.kind} {deletion.name} (uid {deletion.uid}): {deletion.why}"
    yield from (f"takes over the fields of others in {name}" for name in decisions.takes_over)
    yield from (f"takes away the pause of ScaledJob {name}" for name in decisions.unpauses)
    yield from (f"brings back {name} from the snapshot" for name in decisions.saved)
    yield from (f"may lose the running Job {name}" for name in decisions.given_up)
