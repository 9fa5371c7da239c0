"""The smoke tests' own namespace: what each test needs in it, and the removal of what is a test's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from prompt_keda.clients.kube.resources import JOBS, SCALED_JOBS, SECRETS, TRIGGER_AUTHENTICATIONS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.keda.install import wanted_secret
from prompt_keda.components.run import Context
from prompt_keda.components.scaled_jobs.objects import SCALED_JOB_LABEL
from prompt_keda.components.smoke import smoke_objects
from prompt_keda.core.errors import ClientError
from prompt_keda.core.marks import RUN_ANNOTATION

LEFTOVER_AGE = timedelta(minutes=10)
"""No object of a smoke test, nor of a case of the acceptance suite, is needed that long."""


class SmokePlace:
    """Where smoke tests put their objects. All objects of one test have the test's name.

    Parameters
    ----------
    run_id
        Of the run; stands on every object.
    say
        Gets one line on what is removed, and what could not be.
    """

    def __init__(self, systems: Systems, run_id: str, say: Callable[[str], None]) -> None:
        self._systems = systems
        self._environment = systems.environment
        self._namespace = systems.environment.smoke.namespace
        self._run_id = run_id
        self._say = say

    def prepare(self) -> None:
        """Make the namespace with its pull secret, and remove what killed tests left. Idempotent: yes.

        Raises
        ------
        ClientError
            When the API server refuses, or Vault does not give the pull secret.
        """
        kube = self._systems.kube
        kube.apply(smoke_objects.namespace(self._environment))
        # what a killed test left: one of this run, or one too old to be still at work
        for kind in (SCALED_JOBS, TRIGGER_AUTHENTICATIONS, SECRETS):
            for leftover in self._systems.kube.list(kind, self._namespace, smoke_objects.SMOKE_LABEL):
                metadata = leftover["metadata"]
                mine = (metadata.get("annotations") or {}).get(RUN_ANNOTATION) == self._run_id
                age = datetime.now(UTC) - datetime.fromisoformat(metadata["creationTimestamp"])
                if mine or age > LEFTOVER_AGE:
                    self._say(f"removing {metadata['name']}, which a smoke test that was killed has left")
                    self.remove(metadata["name"])
        if self._environment.smoke.pull_secret:
            context = Context(self._systems, [], {})
            kube.apply(wanted_secret(context, self._environment.smoke.pull_secret))

    def put_login(self, name: str) -> None:
        """Hand a test what KEDA logs in with and trusts, if anything. Idempotent: yes. Raises as `prepare` does."""
        parameters = event_source(self._systems).trigger_parameters()
        for made in smoke_objects.login(self._environment, name, parameters, self._run_id):
            self._systems.kube.apply(made)

    def remove(self, name: str) -> None:
        """Remove a test's objects; what cannot be removed is said, and does not hide how the test ended. Idempotent: yes."""
        kube, source = self._systems.kube, event_source(self._systems)
        removals: list[tuple[str, Callable[[], None]]] = [
            ("stream", lambda: source.delete(name)),
            ("stream for held workers", lambda: source.delete(smoke_objects.hold_stream(name))),
            ("ScaledJob", lambda: kube.delete(SCALED_JOBS, name, self._namespace)),
            ("Jobs", lambda: self._delete_jobs(name)),
            ("TriggerAuthentication", lambda: kube.delete(TRIGGER_AUTHENTICATIONS, name, self._namespace)),
            ("Secret", lambda: kube.delete(SECRETS, name, self._namespace)),
        ]
        for kind, remove in removals:
            try:
                remove()
            except ClientError as error:
                self._say(f"the smoke test's {kind} {name} is left in {self._namespace}: {error.what}")

    def _delete_jobs(self, name: str) -> None:
        for job in self._systems.kube.each(JOBS, self._namespace, f"{SCALED_JOB_LABEL}={name}"):
            metadata = job["metadata"]
            self._systems.kube.delete(JOBS, metadata["name"], self._namespace, uid=metadata["uid"])
