"""The composition root: an environment's name → clients → checks or a plan → a result that can be shown.

It is the only place that builds clients.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prompt_keda.clients.download import download
from prompt_keda.clients.kube_resources import CONFIG_MAPS
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.engine.exit_code import exit_code
from prompt_keda.engine.run_checks import run_checks
from prompt_keda.engine.run_plan import run_plan
from prompt_keda.errors import JournalMismatch, LabError, PromptKedaError, Refusal
from prompt_keda.files.environment_file import find_environment, load_environment, unfilled
from prompt_keda.files.manifest_file import load_keda_manifests, local_file
from prompt_keda.files.run_folder import JournalFile, RunFolder
from prompt_keda.model.check import Check, CheckResult
from prompt_keda.model.event import Observer
from prompt_keda.model.redeploy_plan import Deletion, JobRecord, Plan
from prompt_keda.redeploy import guard, jobs, planner, smoke
from prompt_keda.redeploy.context import Context
from prompt_keda.report import as_json

ENVIRONMENTS = Path(__file__).parents[1] / "environments"
MARKER = "prompt-keda-lab"
Ask = Callable[[str], str]
"""Asks a person on a terminal, and gives the answer."""


@dataclass
class Result:
    """What a task gives: an exit code, a header, and the parts of its JSON document."""

    task: str
    environment: str
    exit_code: int = 0
    header: str = ""
    parts: dict[str, Any] = field(default_factory=dict)
    checks: list[CheckResult] = field(default_factory=list)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    began: float = field(default_factory=time.monotonic)

    def to_json(self) -> str:
        """Give the JSON document."""
        document = {
            "task": self.task,
            "environment": self.environment,
            "exit_code": self.exit_code,
            "started_at": self.started_at,
            "duration_s": round(time.monotonic() - self.began, 3),
            "header": self.header,
            **self.parts,
        }
        if self.checks:
            document["results"] = [as_json.check_to_json(one) for one in self.checks]
        return as_json.to_text(document)


def runs_folder() -> Path:
    """Give the folder that holds all runs."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "prompt-keda" / "runs"


def _placeholders() -> dict[str, Any] | None:
    """Give the local stack's values, or None when it is not up."""
    from prompt_keda.lab import state

    try:
        return state.endpoints()
    except LabError:
        return None


@contextmanager
def _systems(name: str) -> Iterator[Systems]:
    environment = load_environment(find_environment(name, ENVIRONMENTS), _placeholders())
    systems = Systems(environment)
    try:
        yield systems
    finally:
        systems.close()


def _header(systems: Systems) -> str:
    environment = systems.environment
    try:
        cluster = systems.kube.address
    except PromptKedaError as error:
        cluster = f"cluster not reached ({error.what})"
    return f"environment {environment.name} · {cluster} · seen from {systems.viewpoint}"


def check_deps(
    name: str,
    observer: Observer,
    *,
    only: str = "",
    skip: str = "",
    timeout_s: float | None = None,
    strict: bool = False,
) -> Result:
    """Run the checks.

    Parameters
    ----------
    only, skip
        The start of an id, such as ``redis`` or ``redis/answers``; several with commas.
    timeout_s
        For all checks together, in seconds; None: as the environment says.

    Raises
    ------
    Refusal
        When no check fits ``only`` and ``skip``.
    """
    from prompt_keda.checks import ALL_CHECKS

    chosen = [one for one in ALL_CHECKS if _fits(one, only, True) and not _fits(one, skip, False)]
    if not chosen:
        raise Refusal("no check fits --only and --skip", "Ids look like redis/answers; see docs/checks.md.")
    with _systems(name) as systems:
        result = Result("check-deps", systems.environment.name, header=_header(systems))
        overall = timedelta(seconds=timeout_s) if timeout_s else systems.environment.limits.checks
        result.checks = run_checks(chosen, systems, observer, overall)
        result.exit_code = exit_code(result.checks, strict)
        return result


def _fits(check: Check[Systems], starts: str, otherwise: bool) -> bool:
    wanted = [one.strip() for one in starts.split(",") if one.strip()]
    return any(check.id.startswith(one) for one in wanted) if wanted else otherwise


def plan(name: str, mode: str) -> Result:
    """Say what a redeploy would do, each step with what its inspection sees now. It reads, and never writes."""
    with _systems(name) as systems:
        result = Result("plan", systems.environment.name, header=_header(systems))
        context = _context(systems)
        made = planner.make_plan(context, mode)
        shown = made.to_json()
        for step, row in zip(made.steps, shown["steps"], strict=True):
            row["now"] = _seen_now(step, context)
        result.parts = {"plan": shown, "steps": shown["steps"]}
        return result


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
    with _systems(name) as systems:
        environment = systems.environment
        manifests = environment.keda.manifests
        source = filled(manifests.source, "keda.manifests.source")
        sha256 = filled(manifests.sha256, "keda.manifests.sha256")
        file = local_file(source, sha256)
        there = file.exists()
        if source.startswith("https://") and not there:
            download(source, sha256, file, manifests.ca_file, environment.limits.connect)
        count = len(load_keda_manifests(file, sha256))
        result = Result("prepare", environment.name, header=f"environment {environment.name}")
        found = {"what": "KEDA's manifests", "file": str(file), "sha256": sha256, "objects_count": count}
        result.parts = {"prepared": [{**found, "fetched": not there}]}
        return result


def _seen_now(step: Any, context: Context) -> str:
    try:
        progress = step.inspect(context)
    except PromptKedaError as error:  # for example a kind that is not served before its CRD is there
        return f"[not seen: {error.what}]"
    return f"[{progress.state.value}{': ' + progress.detail if progress.detail else ''}]"


def _context(systems: Systems) -> Context:
    """Make a context for writing.

    Raises
    ------
    Refusal
        When a value is not filled in, delivery is Argo CD's, or the cluster is another one.
    """
    context = planner.make_context(systems, _placeholders())
    open_values = list(unfilled(systems.environment))
    if open_values:
        key, wanted = open_values[0]
        raise Refusal(f"the environment does not say {key} (and {len(open_values) - 1} more)", f"Fill it in: {wanted}")
    guard.check_identity(context)
    return context


def redeploy(name: str, mode: str, approve: str, observer: Observer, ask: Ask | None) -> Result:
    """Plan, get approval, act, prove.

    Parameters
    ----------
    approve
        The digest that `plan` printed; empty: ask the person, where the environment wants an approval.
    ask
        None: there is no terminal.

    Raises
    ------
    Refusal
        Before any write: no approval, wrong cluster, unfilled value, Argo CD.
    PromptKedaError
        When a step fails; everything done until then stands in the journal.
    """
    with _systems(name) as systems:
        context = _context(systems)
        made = planner.make_plan(context, mode)
        _approve(context, made, approve, ask)
        folder = RunFolder.create(runs_folder(), systems.environment.name)
        context.before = jobs.ledger(systems.kube)
        folder.write_json("snapshot.json", {"jobs": [one.__dict__ for one in context.before], **_streams(systems)})
        folder.write_json("plan.json", {"environment_file": name, **made.to_json()})
        return _run(context, made, folder, observer, "redeploy")


def resume(name: str, run_id: str, observer: Observer) -> Result:
    """Go on where an interrupted redeploy stopped; each step looks for itself whether it is done.

    Raises
    ------
    Refusal
        When there is nothing to resume.
    JournalMismatch
        When the environment, the manifests or the toolkit have changed since.
    """
    runs = runs_folder()
    folder = RunFolder.open_(runs, run_id) if run_id else RunFolder.latest_unfinished(runs, name)
    if folder is None:
        raise Refusal(f"no interrupted run of environment {name} is recorded here", "Start one with ./run redeploy.")
    kept, snapshot = folder.read_json("plan.json"), folder.read_json("snapshot.json")
    with _systems(kept["environment_file"]) as systems:
        context = _context(systems)
        deletions = tuple(Deletion(**one) for one in kept["deletions"])
        made = planner.make_plan(context, kept["mode"], deletions)
        if made.digest != kept["digest"]:
            changed = [key for key, value in made.inputs.items() if _plain(value) != kept["inputs"].get(key)]
            raise JournalMismatch(
                f"run {folder.run_id} cannot go on: changed since it was planned: {', '.join(changed)}",
                "Undo the change, or begin a new redeploy.",
            )
        context.before = tuple(JobRecord(**one) for one in snapshot["jobs"])
        return _run(context, made, folder, observer, "resume")


def _plain(value: Any) -> Any:
    import json

    return json.loads(json.dumps(value, default=str))


def _run(context: Context, made: Plan[Context], folder: RunFolder, observer: Observer, task: str) -> Result:
    result = Result(task, context.environment.name, header=f"{_header(context.systems)} · run {folder.run_id}")
    context.run_id, context.observer = folder.run_id, observer
    journal = JournalFile(folder)
    journal.append("run", "begin", f"{task} mode {made.mode} by {context.systems.viewpoint}")
    try:
        steps = run_plan(made.steps, context, journal, observer)
    finally:
        try:
            guard.release_lease(context)
        except PromptKedaError as error:  # it must not hide why the run ended; the lock expires by itself
            journal.append("run", "lock-kept", error.what)
    seconds = time.monotonic() - result.began
    journal.append("run", "done", f"{seconds:.1f} s")
    result.parts = {
        "run": folder.run_id,
        "mode": made.mode,
        "steps": [as_json.step_to_json(one) for one in steps],
        "ledger": {
            "before": [one.__dict__ for one in context.before],
            "after": [one.__dict__ for one in jobs.ledger(context.systems.kube)],
            **_streams(context.systems),
        },
        "smoke": context.smoke.to_json() if context.smoke else None,
        "timings": {"recovery": round(seconds, 2), **{one.id: round(one.duration_s, 2) for one in steps}},
    }
    folder.write_json("report.json", result.parts)
    return result


def _streams(systems: Systems) -> dict[str, Any]:
    """Give length, lag and pending of each instrument's stream; a Redis that does not answer is said, not fatal."""
    found: dict[str, Any] = {}
    for one in systems.environment.instruments:
        try:
            stream = systems.redis.stream_info(one.stream)
            group = systems.redis.group_info(one.stream, one.consumer_group)
            found[one.stream] = {
                "length": stream.length if stream else None,
                "lag": group.lag if group else None,
                "pending": group.pending if group else None,
            }
        except PromptKedaError as error:
            systems.forget_redis()
            found[one.stream] = {"unknown": error.what}
    return {"streams": found}


def _approve(context: Context, made: Plan[Context], approve: str, ask: Ask | None) -> None:
    environment = context.environment
    if environment.approval == "none":
        if context.systems.kube.find(CONFIG_MAPS, MARKER, "kube-system") is None:
            raise Refusal(
                f"environment {environment.name} needs no approval, but this cluster is no local stack",
                "Set approval to confirm or digest in the environment.",
            )
        return
    if approve:
        if approve != made.digest:
            raise Refusal(
                f"--approve {approve} is not this plan's digest, which is {made.digest}", "Look at ./run plan."
            )
        return
    if ask is None:
        raise Refusal(
            f"plan {made.digest} is not approved, and there is no terminal to ask", f"--approve {made.digest}"
        )
    if environment.approval == "confirm":
        agreed = ask(f"Redeploy {environment.name} by plan {made.digest} ({made.mode})? yes/no: ").strip() == "yes"
    else:
        agreed = ask(f"Plan {made.digest} ({made.mode}). Type the environment's name: ").strip() == environment.name
    if not agreed:
        raise Refusal("not approved")


def run_smoke(name: str, events_count: int, observer: Observer) -> Result:
    """Prove scaling on a stream, ScaledJob and namespace of its own, and clean up."""
    with _systems(name) as systems:
        result = Result("smoke", systems.environment.name, header=_header(systems))
        context = Context(systems, [], {})
        guard.check_identity(context)
        count = events_count or systems.environment.smoke.events_count
        stamp = datetime.now(UTC).strftime("smoke-%Y%m%dt%H%M%Sz")
        proven = smoke.run_smoke(systems, count, observer, stamp)
        result.parts = {"smoke": proven.to_json(), "timings": proven.intervals_s}
        return result
