"""Faults of KEDA's CRDs: one is gone, or it allows another ScaledJob than the one that a redeploy installs."""

from __future__ import annotations

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import CRDS, SCALED_JOBS
from prompt_keda.components.keda.names import NEEDED_CRDS
from prompt_keda.core.errors import BadAnswer
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import scaled_jobs
from prompt_keda.lab.faults.fault import Fault, Stage

CRD, LOGINS = NEEDED_CRDS


def delete_crd(stage: Stage) -> None:
    """Delete the CRD of TriggerAuthentications, and these with it."""
    stage.kube.delete(CRDS, LOGINS)
    until(lambda: stage.kube.find(CRDS, LOGINS) is None, f"no CRD {LOGINS}")


def make_crd(stage: Stage) -> None:
    """Make it again; what was deleted with it comes from the instruments' manifests."""
    stage.kube.apply(stage.keda_object(CRDS.kind, LOGINS), force=True)

    until(lambda: has_condition(stage.kube.get(CRDS, LOGINS), "Established"), f"a CRD {LOGINS} that is served")
    scaled_jobs.restore(stage)


def narrow_crd(stage: Stage) -> None:
    """Let the installed CRD be of a KEDA that allows fewer Jobs than the ScaledJobs ask for. What is there stays."""
    versions = _own_versions(stage)
    most = min(instrument.max_jobs for instrument in stage.environment.instruments) - 1
    _schema(versions, "spec", "maxReplicaCount")["maximum"] = most
    _set_versions(stage, versions)


def restore_crd(stage: Stage) -> None:
    """Put the schema of the manifests back."""
    _set_versions(stage, _own_versions(stage))


def use_what_the_next_refuses(stage: Stage) -> None:
    """Let the installed CRD be of a KEDA that wants less, and every ScaledJob (paused) leave that out.

    A pod's ``os`` without a name: KEDA makes no pod of it as long as the ScaledJob is paused.
    """
    versions = _own_versions(stage)
    del _schema(versions, "spec", "jobTargetRef", "template", "spec", "os")["required"]
    _set_versions(stage, versions)
    scaled_jobs.pause(stage)
    until(lambda: _leaves_name_out(stage), "a CRD that lets a pod's os have no name")


def use_what_the_next_accepts(stage: Stage) -> None:
    """Put both back."""
    _set_os(stage, None)
    scaled_jobs.restore(stage)
    restore_crd(stage)


def _leaves_name_out(stage: Stage) -> bool:
    """Try to: the API server takes a moment to serve a CRD's new schema."""
    try:
        _set_os(stage, {})
    except BadAnswer:
        return False
    return True


def _set_os(stage: Stage, system: Object | None) -> None:
    scaled_jobs.edit_workers(stage, lambda pod: {"os": system})


def _own_versions(stage: Stage) -> list[Object]:
    """Return the versions of the CRD as the manifests have them."""
    versions: list[Object] = stage.keda_object(CRDS.kind, CRD)["spec"]["versions"]
    return versions


def _schema(versions: list[Object], *path: str) -> Object:
    """Return the schema of a field in the version that ScaledJobs have."""
    wanted = SCALED_JOBS.api_version.partition("/")[2]
    schema: Object = next(version for version in versions if version["name"] == wanted)["schema"]["openAPIV3Schema"]
    for name in path:
        schema = schema["properties"][name]
    return schema


def _set_versions(stage: Stage, versions: list[Object]) -> None:
    stage.kube.patch(CRDS, CRD, None, {"spec": {"versions": versions}})


FAULTS: tuple[Fault, ...] = (
    Fault(
        "keda/crd-gone",
        "F4",
        "the CRD of TriggerAuthentications is gone, and these with it",
        delete_crd,
        make_crd,
        {"keda/crds-established": "fail"},
        "is missing",
    ),
    Fault(
        "keda/crd-refuses",
        "",
        "the CRD that stands allows less than the ScaledJob asks for",
        narrow_crd,
        restore_crd,
        {"keda/scaled-jobs-valid": "fail"},
        "spec.maxReplicaCount does not fit maximum",
    ),
    Fault(
        "keda/next-crd-refuses",
        "",
        "the CRD of the next redeploy refuses what the one that stands has let in (paused, so that no Job is made)",
        use_what_the_next_refuses,
        use_what_the_next_accepts,
        {"keda/scaled-jobs-valid-for-redeploy": "fail", "keda/none-paused": "warn"},
        "spec.jobTargetRef.template.spec.os lacks name",
        stops_scaling=True,
    ),
)
