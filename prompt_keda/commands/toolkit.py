"""The composition root: an environment's name → clients → checks, status or history → a result that can be shown.

It is the only place that builds clients. What changes a cluster stands in `redeploying` and `proving`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from prompt_keda.clients.systems import Systems, filled, viewpoint
from prompt_keda.commands import standing, support
from prompt_keda.core.check import Check
from prompt_keda.core.deadline import in_time
from prompt_keda.core.errors import LabError, PromptKedaError, Refusal
from prompt_keda.core.event import Event, Observer
from prompt_keda.core.exit_code import exit_code
from prompt_keda.core.redaction import Redaction
from prompt_keda.core.run_checks import run_checks
from prompt_keda.delivery.manifests import load_keda_manifests, local_file
from prompt_keda.environment import local_stack
from prompt_keda.environment.loading import find_environment, load_environment
from prompt_keda.environment.model import Environment
from prompt_keda.records.drill_history import drills_kept
from prompt_keda.records.run_history import runs_kept
from prompt_keda.records.run_summary import RunSummary
from prompt_keda.redeploy import enrol as enrolment
from prompt_keda.redeploy import history as run_history
from prompt_keda.redeploy.approval import Ask
from prompt_keda.report.result import Result

ENVIRONMENTS = Path(__file__).parents[2] / "environments"
DEEP = timedelta(seconds=60)
"""A pod has to be made, to pull its image and to run."""
CHAT = timedelta(seconds=5)
"""For the login to Vault and the post together: in an incident nobody waits longer for a chat."""


class ChecksObserver(Protocol):
    """What watches a round of checks."""

    def __call__(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """The round is over."""


class Unwatched:
    """Watches a round of checks, and says nothing."""

    def __call__(self, event: Event) -> None:
        """Take one event."""

    def close(self) -> None:
        """The round is over."""


def runs_folder() -> Path:
    """Give the folder that holds all runs."""
    return local_stack.state_home() / "prompt-keda" / "runs"


def drills_folder() -> Path:
    """Give the folder that holds what drills have shown."""
    return runs_folder().parent / "drills"


def placeholders() -> dict[str, Any] | None:
    """Give the local stack's values, or None when it is not up."""
    try:
        return local_stack.endpoints(local_stack.current_stack())
    except LabError:
        return None


def is_local(name: str) -> bool:
    """Tell whether a name or path means the environment of the local stack. Raises as `find_environment` does."""
    return bool(name) and find_environment(name, ENVIRONMENTS).resolve() == (ENVIRONMENTS / "local.yaml").resolve()


def load(name: str) -> Environment:
    """Read an environment by its name, or by its file's path. Raises as `load_environment` does."""
    if not name:
        raise Refusal(
            "say which environment: --env NAME", "environments/ holds them; $PROMPT_KEDA_ENV names one for all."
        )
    return load_environment(find_environment(name, ENVIRONMENTS), placeholders())


@contextmanager
def open_systems(name: str) -> Iterator[Systems]:
    """Give an environment's systems for a while. Each is connected when it is first asked. Raises as `load` does."""
    systems = Systems(load(name), placeholders())
    try:
        yield systems
    finally:
        systems.close()


def header(systems: Systems, kube_system_uid: str = "") -> str:
    """Say what is looked at, and from where; the cluster's identity as far as it is known. Nothing is connected for it."""
    environment = systems.environment
    kube = systems.connected_kube
    if kube is None:
        cluster = "its cluster is not connected"
    else:
        cluster = f"{kube.address} (CA {(kube.ca_sha256 or 'none')[:12]}"
        cluster += f", kube-system {kube_system_uid})" if kube_system_uid else ")"
    return f"environment {environment.name} · {cluster} · seen from {systems.viewpoint}"


def check_deps(
    name: str,
    observe: Callable[[Sequence[str]], ChecksObserver],
    *,
    only: str = "",
    skip: str = "",
    timeout_s: float | None = None,
    strict: bool = False,
    deep: bool = False,
) -> Result:
    """Run the checks.

    Parameters
    ----------
    observe
        Is told the ids of the round, and gives what watches it; that is closed when it ends.
    only, skip
        The start of an id, such as ``redis`` or ``redis/answers``; several with commas.
    timeout_s
        For all checks together, in seconds; None: as the environment says, and `DEEP` more for deep ones.
    deep
        Also what needs rights of its own: dry runs, reviews of KEDA's accounts, and a canary pod, which is deleted again.

    Raises
    ------
    Refusal
        When a part of ``only`` or ``skip`` fits no check, or both together leave none.
    """
    from prompt_keda.components.catalogue import ALL_CHECKS

    offered = [one for one in ALL_CHECKS if deep or not one.deep]
    chosen = _chosen(offered, _starts(only, offered), _starts(skip, ALL_CHECKS))
    with open_systems(name) as systems:
        result = Result("check-deps", systems.environment.name)
        overall = timedelta(seconds=timeout_s) if timeout_s else systems.environment.limits.checks + DEEP * deep
        observer = observe([one.id for one in chosen])
        try:
            result.checks = run_checks(chosen, systems, observer, overall)
        finally:
            observer.close()
        result.header = header(systems)
        result.exit_code = exit_code(result.checks, strict)
        return result


def words(text: str) -> tuple[str, ...]:
    """Give the parts of a flag's text that commas separate."""
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _starts(text: str, checks: Sequence[Check[Systems]]) -> tuple[str, ...]:
    starts = words(text)
    for start in starts:
        if not any(check.id.startswith(start) for check in checks):
            raise Refusal(
                f"no check fits {start!r}", "Ids look like redis/answers, deep/… need --deep: docs/checks.md."
            )
    return starts


def _chosen(checks: Sequence[Check[Systems]], only: tuple[str, ...], skip: tuple[str, ...]) -> list[Check[Systems]]:
    chosen = [one for one in checks if (not only or one.id.startswith(only)) and not (skip and one.id.startswith(skip))]
    if not chosen:
        raise Refusal("--skip leaves no check of --only", "Ids look like redis/answers; see docs/checks.md.")
    return chosen


def status(name: str) -> Result:
    """Say what stands: KEDA's parts, ScaledJobs, streams and Jobs. It reads, and never writes, and gives no verdict.

    Notes
    -----
    What could not be seen is said in its place, and makes the exit code 3.
    """
    with open_systems(name) as systems:
        result = Result("status", systems.environment.name)
        result.parts = {"status": standing.look(systems)}
        result.header = header(systems)
        result.exit_code = 0 if standing.is_all_seen(result.parts) else PromptKedaError.exit_code
        return result


def support_files(name: str, more: Mapping[str, str]) -> tuple[dict[str, str], int]:
    """Give what a support bundle holds, by file name, without secrets; and how many places were redacted.

    Parameters
    ----------
    more
        What else goes into it, by file name: it is redacted as well.

    Raises
    ------
    ClientError
        When the Secrets that have to be taken out cannot be read: then nothing is collected.
    """
    with open_systems(name) as systems:
        redact = Redaction(support.secret_values(systems))
        found = {file: redact(text) for file, text in (*more.items(), *support.collect(systems))}
        return found, redact.count


def prepare(name: str) -> Result:
    """Fetch what a redeploy needs into this machine's cache, so that an incident needs no internet. Idempotent: yes.

    Raises
    ------
    Unfilled
        When the environment does not say where the manifests are, or their SHA-256.
    ClientError
        When they cannot be fetched, or are others than the environment pins.
    EnvironmentFileError
        When the file on this machine cannot be read, is another one, or holds no manifests.
    """
    with open_systems(name) as systems:
        environment = systems.environment
        manifests = environment.keda.manifests
        source = filled(manifests.source, "keda.manifests.source")
        sha256 = filled(manifests.sha256, "keda.manifests.sha256")
        file = local_file(source, sha256)
        there = file.exists()
        if source.startswith("https://") and not there:
            from prompt_keda.clients.http.download import download

            download(source, sha256, file, manifests.ca_file, environment.limits.connect)
        count = len(load_keda_manifests(file, sha256))
        result = Result("prepare", environment.name, header=f"environment {environment.name}")
        found = {"what": "KEDA's manifests", "file": str(file), "sha256": sha256, "objects_count": count}
        result.parts = {"prepared": [{**found, "fetched": not there}]}
        return result


def history(name: str) -> Result:
    """Tell runs and drills of this machine, newest first; of an environment also runs that only its cluster's mirror knows.

    Parameters
    ----------
    name
        The environment; empty: all that this machine has.

    Notes
    -----
    A mirror that cannot be asked is said, and makes the exit code 3: what this machine knows is told all the same.
    """
    if not name:
        found, damaged = runs_kept(runs_folder(), "", viewpoint())
        return _history("", found, damaged, "")
    with open_systems(name) as systems:
        environment = systems.environment.name
        here, damaged = runs_kept(runs_folder(), environment, systems.viewpoint)
        try:
            mirrored, more = run_history.runs_mirrored(systems.kube, environment)
        except PromptKedaError as error:
            return _history(environment, here, damaged, f"its cluster's mirror could not be read: {error.what}")
        return _history(environment, run_history.merged(here, mirrored), [*damaged, *more], "")


def runs_of_this_machine(environment: str) -> list[dict[str, Any]]:
    """Give the runs of an environment that this machine has, newest first, as `history` does."""
    return [asdict(one) for one in runs_kept(runs_folder(), environment, viewpoint())[0]]


def _history(environment: str, found: Sequence[RunSummary], damaged: Sequence[str], not_seen: str) -> Result:
    result = Result("history", environment, header=f"runs of {environment or 'this machine'}")
    drills, more = drills_kept(drills_folder(), environment)
    result.parts = {
        "runs": [asdict(one) for one in found],
        "drills": [one.to_json() for one in drills],
        "damaged": [*damaged, *more],
        "not_seen": not_seen,
    }
    result.exit_code = PromptKedaError.exit_code if not_seen else 0
    return result


def enrol(name: str, approve: str, observer: Observer, ask: Ask | None) -> Result:
    """Record a rebuilt cluster's new identity in the environment's file, once a person has seen old and new. Idempotent: yes.

    Raises as `prompt_keda.redeploy.enrol.enrol` does.
    """
    with open_systems(name) as systems:
        found = enrolment.enrol(systems, find_environment(name, ENVIRONMENTS), approve, observer, ask)
        return Result("enrol", systems.environment.name, header=header(systems), parts=found)


def post_to_chat(name: str, text: str) -> str:
    """Post a text to the chat that an environment names, within `CHAT`; give the chat's host.

    Raises
    ------
    Missing
        When the environment names no chat.
    Unfilled
        When it does not say where the webhook's address stands.
    ClientError
        When Vault does not give the address, or as `prompt_keda.clients.http.webhook.post` raises.
    DeadlinePassed
        When it takes too long.
    """
    with open_systems(name) as systems:
        return in_time(lambda: systems.post_to_chat(text), CHAT, "the post to the chat")
