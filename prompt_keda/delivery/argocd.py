"""Delivery where Argo CD delivers too: it is not driven. What it would apply is applied as it would do it, and it confirms.

What the toolkit applies bears Argo CD's marks and has its field manager, so that its next look says Synced and its next
sync changes nothing, and a value that git takes away later goes. A sync is never asked for: a full one deletes the
ScaledJobs, which are hooks in Phalanx, and all of their running Jobs with them.

Sources: Argo CD, docs/user-guide/resource_tracking.md and docs/user-guide/auto_sync.md (``automated.enabled`` since 3.1);
util/argo/resource_tracking.go (the form of the tracking id), common/common.go (the field manager).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from prompt_keda.clients.kube.change import change
from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.managed_fields import appliers, last_applied_and_unwanted
from prompt_keda.clients.kube.objects import Object, is_going, some
from prompt_keda.clients.kube.resources import APPLICATIONS, CONFIG_MAPS, SCALED_JOBS
from prompt_keda.clients.systems import Systems
from prompt_keda.core.errors import Missing, Refused, StepBroken
from prompt_keda.core.plan import Progress, State
from prompt_keda.core.rights import Right
from prompt_keda.delivery.base import Delivery, DesiredObjects
from prompt_keda.environment.model import ArgoCdSettings, Environment, Instrument

CONFIG = "argocd-cm"
METHOD_KEY, LABEL_KEY = "application.resourceTrackingMethod", "application.instanceLabelKey"
"""Where in ``argocd-cm`` it stands how Argo CD knows its objects."""
OWN_KEY, OWN_METHOD = "app.kubernetes.io/instance", "annotation"
"""What Argo CD takes where ``argocd-cm`` says nothing (util/settings/settings.go; the method since 3.0)."""
TRACKING_ID = "argocd.argoproj.io/tracking-id"
HOOK, HOOK_FINALIZER = "argocd.argoproj.io/hook", "argocd.argoproj.io/hook-finalizer"
REFRESH = "argocd.argoproj.io/refresh"
SUSPENDED_BY = "prompt-keda.lsst.io/suspended-by"
"""On an Application: the run that has suspended its automation."""
ENABLED_WAS = "prompt-keda.lsst.io/automated-enabled-was"
"""On an Application: what stood at ``automated.enabled`` before that, ``true``, or ``null`` for nothing."""
NOT_MARKED = ("CustomResourceDefinition", "Namespace")
"""Argo CD marks no CRD; namespaces belong to the parent Application."""
ANSWERS_WITHIN_S = 45.0
"""A controller with a whole cache answers a refresh within seconds; one that starts fills its cache first."""
FRESH = timedelta(minutes=10)
"""Argo CD compares every three minutes by default, and at each change that it sees."""


class ArgoCdDelivery(Delivery):
    """Argo CD delivers from git. Needs ``argocd`` in the environment, which its model holds to that."""

    field_manager = "argocd-controller"
    helm_release = ""

    def __init__(self, systems: Systems) -> None:
        environment = systems.environment
        assert environment.argocd is not None
        self._systems, self._settings = systems, environment.argocd
        self._asked_at: float | None = None

    def marked(self, obj: Object, instrument: Instrument | None = None) -> Object:
        """Return an object with the tracking marks of its Application; without one it gets none."""
        application = instrument.application if instrument else self._settings.application
        if obj["kind"] in NOT_MARKED or not application:
            return obj
        metadata = dict(obj["metadata"])
        if self._settings.tracks_by_label:
            metadata["labels"] = {**(metadata.get("labels") or {}), self._settings.label_key: application}
        if self._settings.tracks_by_annotation:
            home = instrument.namespace if instrument else self._systems.environment.keda.namespace
            group = obj["apiVersion"].rpartition("/")[0]
            where = f"{metadata.get('namespace') or home}/{metadata['name']}"
            tracking_id = f"{application}:{group}/{obj['kind']}:{where}"
            metadata["annotations"] = {**(metadata.get("annotations") or {}), TRACKING_ID: tracking_id}
        return {**obj, "metadata": metadata}

    def marks_of_a_job(self, job: Object) -> dict[str, dict[str, None]]:
        """Return its tracking marks: KEDA copies them from the ScaledJob, and a Job without an owner would be pruned."""
        marks = {"labels": self._settings.label_key, "annotations": TRACKING_ID}
        return {where: {key: None} for where, key in marks.items() if key in (job["metadata"].get(where) or {})}

    def no_longer_wanted(self, wanted: Object, live: Object) -> str | None:
        """Return the same; an Application without server-side apply is compared with what was applied client-side."""
        return super().no_longer_wanted(wanted, live) or last_applied_and_unwanted(wanted, live)

    def others(self, live: Object) -> list[str]:
        """Return who else has applied an object server-side: a port that they named stays, and Argo CD's next sync fails."""
        return [manager for manager in appliers(live) if manager != self.field_manager]

    def agrees_with_what_stands(self) -> str:
        """Return that Argo CD finds what git has: git may have moved on since the rendering. An old look says nothing."""
        live = self._application(self._settings.application)
        if live is None or sync_status(live) != "Synced" or trouble_of(live):
            return ""
        status = live["status"]
        looked = datetime.fromisoformat(str(status.get("reconciledAt") or "2000-01-01T00:00:00Z"))
        if self._systems.kube.server_time() - looked > FRESH:
            return ""
        revision = str(status["sync"].get("revision", ""))[:12] or "its revision"
        return f"Application {self._settings.application} is Synced with git at {revision}"

    def suspension(self, run_id: str) -> Progress:
        """Look whether no Application syncs: none by itself, and no operation runs but one that waits for this run."""
        applications = dict(self._applications())
        by_itself = [name for name, live in applications.items() if syncs_by_itself(live)]
        others = [name for name, live in applications.items() if suspended_by(live) not in ("", run_id)]
        if by_itself or others:
            state = "syncs by itself" if by_itself else "was suspended by another run"
            return Progress(State.TODO, f"{some(by_itself or others)} {state}")
        if busy := {name: live for name, live in applications.items() if is_busy(live)}:
            now = self._systems.kube.server_time()
            at_work = [
                f"{name} since {_began(live)}{_why(live)}"
                for name, live in busy.items()
                if not is_left(live, now)
                and not scaled_jobs_that_go(self._systems.kube, self._systems.environment, name)
            ]
            if at_work:
                return Progress(State.WORKING, f"Argo CD syncs {some(at_work)}: wait until it ends")
        ours = [name for name, live in applications.items() if run_id and suspended_by(live) == run_id]
        return Progress(State.DONE, f"suspended: {some(ours)}" if ours else "nothing syncs by itself")

    def is_bringing(self, instrument: Instrument) -> bool:
        """Return whether a sync that has removed the ScaledJob runs: it would remove one that somebody else makes meanwhile."""
        live = self._application(instrument.application) if instrument.application else None
        if live is None or not is_busy(live) or is_left(live, self._systems.kube.server_time()):
            return False
        scaled_job = _scaled_job(self._systems.kube, instrument)
        return scaled_job is None or is_going(scaled_job)

    def obstacles(self) -> Iterator[str]:
        """Yield how Argo CD knows its objects by other marks than those that would be applied."""
        with suppress(Refused):  # the missing right is told as such
            config = self._systems.kube.find(CONFIG_MAPS, CONFIG, self._settings.namespace)
            yield from (f"{words}: correct the environment" for words in tracked_otherwise(config, self._settings))

    def suspend(self, run_id: str) -> None:
        """Switch the automation of each Application off, and write on it whose doing that is."""

        def switched_off(live: Object) -> Object | None:
            is_on, by = syncs_by_itself(live), suspended_by(live)
            if not is_on and by in ("", run_id):
                return None
            annotations = {SUSPENDED_BY: run_id}
            if is_on:
                annotations[ENABLED_WAS] = "true" if _automated(live).get("enabled") else "null"
            return {"metadata": {"annotations": annotations}, "spec": {"syncPolicy": {"automated": {"enabled": False}}}}

        for name, live in self._changed(switched_off):
            if syncs_by_itself(live):
                raise StepBroken(
                    f"the automation of Application {name} cannot be suspended: this Argo CD knows no automated.enabled",
                    "It came with Argo CD 3.1. Switch automatic sync off in its user interface, and go on.",
                )

    def resumption(self, run_id: str) -> Progress:
        """Look whether no Application is suspended by this run."""
        ours = [name for name, live in self._applications() if run_id and suspended_by(live) == run_id]
        return Progress(State.TODO, f"suspended by this run: {some(ours)}") if ours else Progress(State.DONE)

    def resume(self, run_id: str) -> None:
        """Put the automation of each Application that this run has suspended back as it was."""

        def as_before(live: Object) -> Object | None:
            if not run_id or suspended_by(live) != run_id:
                return None
            body: Object = {"metadata": {"annotations": {SUSPENDED_BY: None, ENABLED_WAS: None}}}
            if "automated" in _policy(
                live
            ):  # else somebody has taken it away: a patch would bring it back, switched on
                was = (live["metadata"].get("annotations") or {}).get(ENABLED_WAS)
                body["spec"] = {"syncPolicy": {"automated": {"enabled": True if was == "true" else None}}}
            return body

        for _ in self._changed(as_before):
            pass

    def agreement(self) -> Progress:
        """Return what Argo CD says after a refresh. What it cannot say is reported, and holds nothing up."""
        if self._asked_at is None:
            return Progress(State.TODO, "Argo CD has not been asked to look since")
        lines, differing = [], []
        for name, live in self._applications():
            if REFRESH in (live["metadata"].get("annotations") or {}):
                if time.monotonic() - self._asked_at < ANSWERS_WITHIN_S:
                    return Progress(State.WORKING, f"Argo CD looks at {name}")
                lines.append(f"not confirmed: Argo CD has not looked at {name} for {ANSWERS_WITHIN_S:.0f} s")
                continue
            if trouble := trouble_of(live):
                lines.append(f"not confirmed: {name}: {trouble}")
                continue
            differing += [f"{resource} ({name})" for resource in out_of_sync(live)]
            lines.append(f"{name} {sync_status(live)}")
        if differing:
            return Progress(State.BROKEN, f"Argo CD wants otherwise: {some(differing)}")
        return Progress(State.DONE, "; ".join(lines) or "not confirmed: none of its Applications is there")

    def agree(self, wanted: DesiredObjects) -> None:
        """Ask for a refresh: a comparison, never a sync."""
        for _ in self._changed(lambda live: {"metadata": {"annotations": {REFRESH: "normal"}}}):
            pass
        self._asked_at = time.monotonic()

    def rights(self) -> list[Right]:
        """Return those to read and patch its own Applications, by their names, and to read how Argo CD tracks."""
        namespace = self._settings.namespace
        where = (APPLICATIONS.group, APPLICATIONS.plural, namespace)
        own = [Right(verb, *where, name) for name in self._names() for verb in ("get", "patch")]
        return [*own, Right("get", "", CONFIG_MAPS.plural, namespace, CONFIG)]

    def _names(self) -> list[str]:
        return application_names(self._systems.environment)

    def _applications(self) -> Iterator[tuple[str, Object]]:
        """Yield the Applications that are there: without one, or without Argo CD, there is nobody to wait for."""
        for name in self._names():
            if live := self._application(name):
                yield name, live

    def _application(self, name: str) -> Object | None:
        live = self._systems.kube.find(APPLICATIONS, name, self._settings.namespace)
        return None if live is None or is_going(live) else live

    def _changed(self, how: Callable[[Object], Object | None]) -> Iterator[tuple[str, Object]]:
        """Change each Application as ``how`` says of what stands, and yield it as it is then."""
        for name, _ in list(self._applications()):
            live = change(self._systems.kube, APPLICATIONS, name, self._settings.namespace, how)
            if live is not None:
                yield name, live


def scaled_jobs_that_go(kube: Kube, environment: Environment, application: str) -> list[str]:
    """Return the ScaledJobs of an Application that are being deleted: without KEDA's operator, a sync waits for them for
    ever. A redeploy lets them go, once their running Jobs are orphaned. Raises as `Kube.find` does.
    """
    own = (instrument for instrument in environment.instruments if instrument.application == application)
    live = ((instrument, _scaled_job(kube, instrument)) for instrument in own)
    return [
        f"{instrument.namespace}/{instrument.scaled_job}"
        for instrument, obj in live
        if obj is not None and is_going(obj)
    ]


def _scaled_job(kube: Kube, instrument: Instrument) -> Object | None:
    with suppress(Missing):  # its CRD
        return kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
    return None


def tracked_otherwise(config: Object | None, settings: ArgoCdSettings) -> list[str]:
    """Return where ``argocd-cm`` says that Argo CD tracks in another way than an environment; nothing without that."""
    if config is None:
        return []
    method, key = tracking(config)
    wrong = (
        [f"argocd.tracking is {settings.tracking}, and {CONFIG} says {method}"] if method != settings.tracking else []
    )
    if "label" in method and key != settings.label_key:
        wrong.append(f"argocd.label_key is {settings.label_key}, and {CONFIG} says {key}")
    return wrong


def tracking(config: Object, method: str = OWN_METHOD, key: str = OWN_KEY) -> tuple[str, str]:
    """Return by which method, and by which label, an Argo CD with this ``argocd-cm`` knows its objects.

    Parameters
    ----------
    method, key
        What is returned where it does not say.
    """
    data = config.get("data") or {}
    return str(data.get(METHOD_KEY) or method), str(data.get(LABEL_KEY) or key)


def application_names(environment: Environment) -> list[str]:
    """Return the Applications that deliver KEDA and the instruments of an environment."""
    if environment.argocd is None:
        return []
    settings, instruments = environment.argocd, (instrument.application for instrument in environment.instruments)
    return list(dict.fromkeys([settings.application, *filter(None, instruments)]))


def _policy(live: Object) -> dict[str, Any]:
    return (live.get("spec") or {}).get("syncPolicy") or {}


def _automated(live: Object) -> dict[str, Any]:
    return _policy(live).get("automated") or {}


def syncs_by_itself(live: Object) -> bool:
    """Return whether an Application is synced automatically; an empty ``automated`` is one that is switched on."""
    return _policy(live).get("automated") is not None and _automated(live).get("enabled") is not False


def suspended_by(live: Object) -> str:
    """Return the run that has suspended an Application's automation; empty: none."""
    return str((live["metadata"].get("annotations") or {}).get(SUSPENDED_BY, ""))


def _state(live: Object) -> dict[str, Any]:
    return (live.get("status") or {}).get("operationState") or {}


def is_busy(live: Object) -> bool:
    """Return whether an operation on an Application runs, or is about to."""
    return "operation" in live or _state(live).get("phase") in ("Running", "Terminating")


def is_left(live: Object, now: datetime) -> bool:
    """Return whether the state of an operation says that it runs, and nobody runs it: the operation itself is gone.

    Argo CD takes ``operation`` away in the patch that ends it (controller/appcontroller.go, setOperationState), and goes on
    with none that is not there. Who took it away by hand may have done so in the midst of a look of the controller's.
    """
    if "operation" in live or not is_busy(live):
        return False
    began = _state(live).get("startedAt")
    return began is not None and now - datetime.fromisoformat(str(began)) > FRESH


def _began(live: Object) -> str:
    return str(_state(live).get("startedAt", "a moment ago"))


def _why(live: Object) -> str:
    """Return what an operation waits for, in Argo CD's words. One that a sync window holds back waits for hours, and Terminate
    does not end it before the window opens either (controller/sync.go, SyncAppState).
    """
    message = " ".join(str(_state(live).get("message") or "").split())[:150]
    if "blocked by sync window" in message and not (_state(live).get("syncResult") or {}).get("resources"):
        message += "; it has begun nothing: runbooks/argocd-disagrees.md says how to take it away"
    return f" ({message})" if message else ""


def sync_status(live: Object) -> str:
    """Return what Argo CD said at its last look: ``Synced``, ``OutOfSync`` or ``Unknown``."""
    return str(((live.get("status") or {}).get("sync") or {}).get("status", "Unknown"))


def trouble_of(live: Object) -> str:
    """Return why Argo CD cannot compare an Application with git, in its own words; empty: it can."""
    conditions = (live.get("status") or {}).get("conditions") or []
    errors = [condition for condition in conditions if str(condition.get("type", "")).endswith("Error")]
    if errors:
        return " ".join(str(errors[0].get("message", "")).split())[:300]
    return "" if sync_status(live) != "Unknown" else "it says Unknown"


def out_of_sync(live: Object) -> list[str]:
    """Return the objects of an Application that are not as git has them, as Argo CD sees it."""
    resources = (live.get("status") or {}).get("resources") or []
    differing = (resource for resource in resources if resource.get("status") == "OutOfSync")
    return [
        "/".join(filter(None, (str(resource.get("kind")), resource.get("namespace"), resource.get("name"))))
        for resource in differing
    ]
