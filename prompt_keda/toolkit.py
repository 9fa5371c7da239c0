"""The composition root: an environment's name → clients → checks or a plan → a result that can be shown.

It is the only place that builds clients.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from prompt_keda import __version__
from prompt_keda.clients.systems import Systems, filled, viewpoint
from prompt_keda.engine.exit_code import exit_code
from prompt_keda.engine.in_time import in_time
from prompt_keda.engine.run_checks import run_checks
from prompt_keda.engine.run_plan import GO_ON, run_plan
from prompt_keda.errors import JournalMismatch, LabError, PromptKedaError, Refusal
from prompt_keda.files.drill_history import drills_kept
from prompt_keda.files.environment_file import find_environment, load_environment, unfilled
from prompt_keda.files.manifest_file import load_keda_manifests, local_file
from prompt_keda.files.run_folder import RunFolder
from prompt_keda.files.run_history import runs_kept
from prompt_keda.model.check import Check
from prompt_keda.model.environment import Environment
from prompt_keda.model.event import Event, EventKind, Observer
from prompt_keda.model.plan import StepResult
from prompt_keda.model.redaction import Redaction
from prompt_keda.model.redeploy_plan import Decisions, JobRecord, Plan, digest_of
from prompt_keda.model.run_record import STAMP, environment_of
from prompt_keda.model.run_summary import RunSummary
from prompt_keda.redeploy import enrol as enrolment
from prompt_keda.redeploy import guard, jobs, planner, smoke, support, timings
from prompt_keda.redeploy import history as run_history
from prompt_keda.redeploy import status as standing
from prompt_keda.redeploy.approval import Ask, approve_or_refuse
from prompt_keda.redeploy.context import Context
from prompt_keda.redeploy.mirrored_journal import MirroredJournal, mirrored_journal
from prompt_keda.redeploy.mirrored_runs import refuse_foreign, told
from prompt_keda.redeploy.modes import Wishes
from prompt_keda.redeploy.unfinished import KeptRun, find_unfinished
from prompt_keda.report import as_json
from prompt_keda.report.result import Result

if TYPE_CHECKING:
    from prompt_keda.redeploy.acceptance.case import Case

ENVIRONMENTS = Path(__file__).parents[1] / "environments"
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
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "prompt-keda" / "runs"


def drills_folder() -> Path:
    """Give the folder that holds what drills have shown."""
    return runs_folder().parent / "drills"


def _placeholders() -> dict[str, Any] | None:
    """Give the local stack's values, or None when it is not up."""
    from prompt_keda.lab import state

    try:
        return state.endpoints()
    except LabError:
        return None


def load(name: str) -> Environment:
    """Read an environment by its name, or by its file's path. Raises as `load_environment` does."""
    if not name:
        raise Refusal(
            "say which environment: --env NAME", "environments/ holds them; $PROMPT_KEDA_ENV names one for all."
        )
    return load_environment(find_environment(name, ENVIRONMENTS), _placeholders())


@contextmanager
def _systems(name: str) -> Iterator[Systems]:
    systems = Systems(load(name), _placeholders())
    try:
        yield systems
    finally:
        systems.close()


def _header(systems: Systems, kube_system_uid: str = "") -> str:
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
    from prompt_keda.checks import ALL_CHECKS

    offered = [one for one in ALL_CHECKS if deep or not one.deep]
    chosen = _chosen(offered, _starts(only, offered), _starts(skip, ALL_CHECKS))
    with _systems(name) as systems:
        result = Result("check-deps", systems.environment.name)
        overall = timedelta(seconds=timeout_s) if timeout_s else systems.environment.limits.checks + DEEP * deep
        observer = observe([one.id for one in chosen])
        try:
            result.checks = run_checks(chosen, systems, observer, overall)
        finally:
            observer.close()
        result.header = _header(systems)
        result.exit_code = exit_code(result.checks, strict)
        return result


def _words(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _starts(text: str, checks: Sequence[Check[Systems]]) -> tuple[str, ...]:
    starts = _words(text)
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


def plan(name: str, wishes: Wishes) -> Result:
    """Say what a redeploy would do, each step with what its inspection sees now. It reads, and never writes."""
    with _systems(name) as systems:
        context = _context(systems)
        result = Result("plan", systems.environment.name, header=_header(systems, context.kube_system_uid))
        made = planner.make_plan(context, wishes)
        context.before = jobs.ledger(systems.kube)
        shown = made.to_json()
        for step, row in zip(made.steps, shown["steps"], strict=True):
            row["now"] = _seen_now(step, context)
        result.parts = {"plan": shown, "steps": shown["steps"]}
        return result


def status(name: str) -> Result:
    """Say what stands: KEDA's parts, ScaledJobs, streams and Jobs. It reads, and never writes, and gives no verdict.

    Notes
    -----
    What could not be seen is said in its place, and makes the exit code 3.
    """
    with _systems(name) as systems:
        result = Result("status", systems.environment.name)
        result.parts = {"status": standing.look(systems)}
        result.header = _header(systems)
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
    with _systems(name) as systems:
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
    with _systems(name) as systems:
        environment = systems.environment
        manifests = environment.keda.manifests
        source = filled(manifests.source, "keda.manifests.source")
        sha256 = filled(manifests.sha256, "keda.manifests.sha256")
        file = local_file(source, sha256)
        there = file.exists()
        if source.startswith("https://") and not there:
            from prompt_keda.clients.download import download

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


def redeploy(name: str, wishes: Wishes, approve: str, observer: Observer, ask: Ask | None) -> Result:
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
        When a step fails; everything done until then stands in the journal, and in the error's ``parts``.
    """
    with _systems(name) as systems:
        context = _context(systems)
        made = planner.make_plan(context, wishes)
        approve_or_refuse(context, made.digest, f"redeploy, mode {made.mode}", approve, ask)
        folder = RunFolder.create(runs_folder(), systems.environment.name)
        context.before = jobs.ledger(systems.kube)
        ledger = [one.__dict__ for one in context.before]
        folder.write_json("snapshot.json", {"jobs": ledger, "objects": context.objects, **_streams(systems)})
        file = str(find_environment(name, ENVIRONMENTS).resolve())
        folder.write_json("plan.json", {"environment_file": file, **made.to_json()})
        return _run(context, made, folder, observer, "redeploy")


def resume(name: str, run_id: str, approve: str, observer: Observer, ask: Ask | None) -> Result:
    """Go on where an interrupted redeploy stopped, here or on another machine; each step looks for itself whether it is done.

    Parameters
    ----------
    run_id
        The run; empty: the newest, if it is unfinished.
    approve, ask
        As for `redeploy`; asked for only where the run was begun on another machine: nobody here has approved it.

    Raises
    ------
    Refusal
        When there is nothing to resume, or it is damaged or not approved.
    JournalMismatch
        When the environment, the manifests or the toolkit have changed since.
    """
    with _systems(name) as systems:
        context = _context(systems)
        kept = find_unfinished(runs_folder(), systems.environment, systems.kube, run_id, observer)
        if kept is None:
            raise _nothing_to_resume(systems.environment.name, run_id)
        made = _plan_again(context, kept)
        if kept.folder is None:
            for said in told(made.decisions):
                observer(Event(EventKind.NOTE, "resume", "", said))
            what = f"resume of run {kept.run_id}, begun on another machine, mode {made.mode}"
            approve_or_refuse(context, made.digest, what, approve, ask)
        context.before = tuple(JobRecord(**one) for one in kept.snapshot["jobs"])
        return _run(context, made, kept.open(runs_folder()), observer, "resume")


def _nothing_to_resume(environment: str, run_id: str) -> Refusal:
    if not run_id:
        said = f"no interrupted run of environment {environment} is recorded here or in its cluster"
        return Refusal(said, "Start one with ./run redeploy.")
    other = environment_of(run_id)
    if other in (None, environment):
        return Refusal(f"there is no run {run_id} here or in its cluster", "./run history names them.")
    said = f"run {run_id} is one of environment {other}, not of {environment}"
    return Refusal(said, f"./run resume --env {other} --run {run_id}")


def _plan_again(context: Context, kept: KeptRun) -> Plan[Context]:
    """Make an interrupted run's plan anew. Raises `JournalMismatch` when something else comes out, and says what."""
    plan, decisions = kept.plan, Decisions.from_json(kept.plan["decisions"])
    if kept.folder is None:
        refuse_foreign(context, decisions, kept.snapshot["objects"], kept.run_id)
    made = planner.plan_again(context, plan["mode"], decisions, kept.snapshot["objects"], tuple(plan["notes"]))
    if made.digest != plan["digest"]:
        before = plan.get("input_digests", {})
        changed = [key for key, value in made.input_digests.items() if before.get(key) != value]
        gone = [key for key in before if key not in made.input_digests]
        raise JournalMismatch(
            f"run {kept.run_id} cannot go on: changed since it was planned: {', '.join([*changed, *gone]) or 'its plan'}",
            f"Undo the change, or begin a new redeploy.{_planned_from(kept)}",
        )
    return made


def _planned_from(kept: KeptRun) -> str:
    file = kept.plan.get("environment_file") if kept.folder else None
    return f" It was planned from {file}." if file else ""


def _run(context: Context, made: Plan[Context], folder: RunFolder, observer: Observer, task: str) -> Result:
    header = f"{_header(context.systems, context.kube_system_uid)} · run {folder.run_id}"
    result = Result(task, context.environment.name, header=header)
    context.run_id, context.observer = folder.run_id, observer
    journal = mirrored_journal(context, folder)
    begun = f"{task} mode {made.mode} by {context.systems.viewpoint}, process {os.getpid()}"
    journal.append("run", "begin", begun)
    try:
        steps = run_plan(made.steps, context, journal, observer)
        seconds = time.monotonic() - result.began
        result.parts = _proven(context, made, folder, steps, seconds)
        journal.append("run", "done", f"{seconds:.1f} s")
        folder.write_json("report.json", result.parts)
        journal.finish({"mode": made.mode, "timings": result.parts["timings"]})
    except PromptKedaError as error:
        _tell_how_far(error, context, made, folder, header)
        if task == "redeploy" and not context.lock_was_held:
            folder.mark_refused(error.what)  # it wrote nothing: it must not hide an earlier run from resume
        raise
    finally:
        try:
            journal.close()  # before the lock is given back: who takes it next finds the copy as it is
        finally:
            _give_lock_back(context, journal)
    return result


def _give_lock_back(context: Context, journal: MirroredJournal) -> None:
    try:
        guard.release_lease(context)
    except PromptKedaError as error:  # it must not hide why the run ended; the lock expires by itself
        journal.append("run", "lock-kept", error.what)


def _proven(
    context: Context, made: Plan[Context], folder: RunFolder, steps: Sequence[StepResult], seconds: float
) -> dict[str, Any]:
    return {
        "run": folder.run_id,
        "mode": made.mode,
        "notes": list(made.notes),
        "steps": [as_json.step_to_json(one) for one in steps],
        "ledger": {
            "before": [one.__dict__ for one in context.before],
            "after": [one.__dict__ for one in jobs.ledger(context.systems.kube)],
            **_streams(context.systems),
        },
        "smoke": context.smoke.to_json() if context.smoke else None,
        "timings": {"recovery": round(seconds, 2), **timings.parts(steps, context.smoke)},
    }


def _tell_how_far(
    error: PromptKedaError, context: Context, made: Plan[Context], folder: RunFolder, header: str
) -> None:
    """Give an error what the run had done."""
    steps: list[StepResult] = error.parts.get("steps", [])
    error.parts = {
        "header": header,
        "run": folder.run_id,
        "mode": made.mode,
        "steps": [as_json.step_to_json(one) for one in steps],
        "ledger": {"before": [one.__dict__ for one in context.before]},
        "timings": timings.parts(steps, None),
    }
    if context.lock_was_held and GO_ON not in error.fix:
        error.fix = f"{error.fix} Then {GO_ON}".strip()


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
    with _systems(name) as systems:
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
    with _systems(name) as systems:
        found = enrolment.enrol(systems, find_environment(name, ENVIRONMENTS), approve, observer, ask)
        return Result("enrol", systems.environment.name, header=_header(systems), parts=found)


def post_to_chat(name: str, text: str) -> str:
    """Post a text to the chat that an environment names, within `CHAT`; give the chat's host.

    Raises
    ------
    Missing
        When the environment names no chat.
    Unfilled
        When it does not say where the webhook's address stands.
    ClientError
        When Vault does not give the address, or as `prompt_keda.clients.webhook.post` raises.
    DeadlinePassed
        When it takes too long.
    """
    with _systems(name) as systems:
        return in_time(lambda: systems.post_to_chat(text), CHAT, "the post to the chat")


def smoke_digest(name: str) -> str:
    """Give the digest that approves a smoke test in an environment. Raises as `load_environment` does."""
    return _smoke_digest(load(name))


def _smoke_digest(environment: Environment) -> str:
    return digest_of({"task": "smoke", "toolkit": __version__, "environment": environment.portable()})


def run_smoke(name: str, events_count: int, approve: str, observer: Observer, ask: Ask | None) -> Result:
    """Prove scaling on a stream, ScaledJob and namespace of its own, and clean up.

    Parameters
    ----------
    events_count
        Jobs wanted, 1 to 100; 0: as many as the environment says.
    approve, ask
        As for `redeploy`.

    Raises
    ------
    Refusal
        Before any write, as `redeploy` does; and when ``events_count`` is out of its range.
    PromptKedaError
        When a point of the proof is not reached.
    """
    if not 0 <= events_count <= smoke.MOST_JOBS:
        raise Refusal(f"--events {events_count} is not between 1 and {smoke.MOST_JOBS}")
    with _systems(name) as systems:
        context = _context(systems)
        approve_or_refuse(context, _smoke_digest(systems.environment), "smoke test", approve, ask)
        result = Result("smoke", systems.environment.name, header=_header(systems, context.kube_system_uid))
        count = events_count or systems.environment.smoke.events_count
        stamp = f"smoke-{datetime.now(UTC):{STAMP}}"
        proven = smoke.run_smoke(systems, count, observer, stamp)
        result.parts = {"smoke": proven.to_json(), "timings": proven.intervals_s}
        return result


def run_full_smoke(name: str, only: str, approve: str, observer: Observer, ask: Ask | None) -> Result:
    """Run the smoke test, and then the acceptance suite: what KEDA promises, each case on objects of its own.

    Parameters
    ----------
    only
        The start of a case's id, such as ``strategy`` or ``lag/activation``; several with commas; empty: all.
    approve, ask
        As for `redeploy`; the digest is another one than the smoke test's.

    Raises
    ------
    Refusal
        Before any write, as `redeploy` does; and when a part of ``only`` fits no case.
    PromptKedaError
        When the smoke test is not passed: then no case is tried.
    """
    from prompt_keda.redeploy.acceptance.case import exit_code as acceptance_exit_code
    from prompt_keda.redeploy.acceptance.run_acceptance import run_acceptance

    cases = _cases(only)
    with _systems(name) as systems:
        context = _context(systems)
        digest = full_smoke_digest(systems.environment, cases)
        approve_or_refuse(context, digest, f"acceptance suite of {len(cases)} cases", approve, ask)
        result = Result("smoke", systems.environment.name, header=_header(systems, context.kube_system_uid))
        stamp = f"smoke-{datetime.now(UTC):{STAMP}}"
        proven = smoke.run_smoke(systems, systems.environment.smoke.events_count, observer, stamp)
        found = run_acceptance(systems, cases, observer, stamp)
        result.parts = {"smoke": proven.to_json(), "cases": [one.to_json() for one in found]}
        result.parts["timings"] = {**proven.intervals_s, **{one.id: one.duration_s for one in found}}
        result.exit_code = acceptance_exit_code(found)
        return result


def full_smoke_digest(environment: Environment, cases: Sequence[Case]) -> str:
    """Give the digest that approves these cases of the acceptance suite, and the smoke test before them."""
    ids = [one.id for one in cases]
    return digest_of(
        {"task": "smoke --full", "cases": ids, "toolkit": __version__, "environment": environment.portable()}
    )


def _cases(only: str) -> list[Case]:
    from prompt_keda.redeploy.acceptance import CASES  # here: no other command needs them at its start

    starts = _words(only)
    for start in starts:
        if not any(one.id.startswith(start) for one in CASES):
            raise Refusal(f"no case fits {start!r}", f"Known are {', '.join(one.id for one in CASES)}.")
    return [one for one in CASES if not starts or one.id.startswith(starts)]
