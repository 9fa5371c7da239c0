"""The composition root of proofs on streams and ScaledJobs of their own: the smoke test, and the acceptance suite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prompt_keda import __version__
from prompt_keda.commands import toolkit
from prompt_keda.commands.redeploy import context_to_write
from prompt_keda.components.smoke import smoke_test
from prompt_keda.core.decisions import digest_of
from prompt_keda.core.errors import Refusal
from prompt_keda.core.event import Observer
from prompt_keda.environment.model import Environment
from prompt_keda.records.run_record import STAMP
from prompt_keda.redeploy.approval import Ask, approve_or_refuse
from prompt_keda.report.result import Result

if TYPE_CHECKING:
    from prompt_keda.components.smoke.acceptance.case import Case


def smoke_digest(name: str) -> str:
    """Give the digest that approves a smoke test in an environment. Raises as `load_environment` does."""
    return _smoke_digest(toolkit.load(name))


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
    if not 0 <= events_count <= smoke_test.MOST_JOBS:
        raise Refusal(f"--events {events_count} is not between 1 and {smoke_test.MOST_JOBS}")
    with toolkit.open_systems(name) as systems:
        context = context_to_write(systems)
        approve_or_refuse(context, _smoke_digest(systems.environment), "smoke test", approve, ask)
        result = Result("smoke", systems.environment.name, header=toolkit.header(systems, context.kube_system_uid))
        count = events_count or systems.environment.smoke.events_count
        stamp = f"smoke-{datetime.now(UTC):{STAMP}}"
        proven = smoke_test.run_smoke(systems, count, observer, stamp)
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
    from prompt_keda.components.smoke.acceptance.case import exit_code as acceptance_exit_code
    from prompt_keda.components.smoke.acceptance.run_acceptance import run_acceptance

    cases = _cases(only)
    with toolkit.open_systems(name) as systems:
        context = context_to_write(systems)
        digest = full_smoke_digest(systems.environment, cases)
        approve_or_refuse(context, digest, f"acceptance suite of {len(cases)} cases", approve, ask)
        result = Result("smoke", systems.environment.name, header=toolkit.header(systems, context.kube_system_uid))
        stamp = f"smoke-{datetime.now(UTC):{STAMP}}"
        proven = smoke_test.run_smoke(systems, systems.environment.smoke.events_count, observer, stamp)
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
    from prompt_keda.components.smoke.acceptance import CASES  # here: no other command needs them at its start

    starts = toolkit.words(only)
    for start in starts:
        if not any(one.id.startswith(start) for one in CASES):
            raise Refusal(f"no case fits {start!r}", f"Known are {', '.join(one.id for one in CASES)}.")
    return [one for one in CASES if not starts or one.id.startswith(starts)]
