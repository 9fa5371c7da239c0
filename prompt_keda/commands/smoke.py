"""smoke: verify scaling on streams and ScaledJobs made for it: the smoke test, and the acceptance suite."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prompt_keda.commands.session import Session
from prompt_keda.components.smoke import smoke_test
from prompt_keda.core import exit_code
from prompt_keda.core.errors import Refusal
from prompt_keda.core.event import Observer
from prompt_keda.core.selection import starts_of_ids
from prompt_keda.records.run_record import STAMP
from prompt_keda.redeploy.approval import Ask, approve_or_refuse, full_smoke_digest, smoke_digest
from prompt_keda.report.parts import SmokeReport
from prompt_keda.report.result import Result

if TYPE_CHECKING:
    from prompt_keda.components.smoke.acceptance.case import Case


def run_smoke(
    session: Session, events_count: int, approve: str, observer: Observer, ask: Ask | None
) -> Result[SmokeReport]:
    """Verify scaling on a stream, ScaledJob and namespace of its own, and clean up.

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
        When a point of the smoke test is not reached.
    """
    if not 0 <= events_count <= smoke_test.MOST_JOBS:
        raise Refusal(f"--events {events_count} is not between 1 and {smoke_test.MOST_JOBS}")
    environment, context = session.environment, session.for_writing()
    approve_or_refuse(context, smoke_digest(environment), "smoke test", approve, ask)
    count = events_count or environment.smoke.events_count
    verified = smoke_test.run_smoke(session.systems, count, observer, _stamp())
    header = session.header(context.kube_system_uid)
    return Result("smoke", environment.name, header, SmokeReport(verified, verified.intervals_s))


def run_full_smoke(
    session: Session, cases: Sequence[Case], approve: str, observer: Observer, ask: Ask | None
) -> Result[SmokeReport]:
    """Run the smoke test, and then the acceptance suite: what KEDA promises, each case on objects of its own.

    Parameters
    ----------
    cases
        As `choose_cases` returns them.
    approve, ask
        As for `redeploy`; the digest is another one than the smoke test's.

    Raises
    ------
    Refusal
        Before any write, as `redeploy` does.
    PromptKedaError
        When the smoke test is not passed: then no case is tried.
    """
    from prompt_keda.components.smoke.acceptance.run_acceptance import run_acceptance

    environment, context, stamp = session.environment, session.for_writing(), _stamp()
    digest = full_smoke_digest(environment, [case.id for case in cases])
    approve_or_refuse(context, digest, f"acceptance suite of {len(cases)} cases", approve, ask)
    verified = smoke_test.run_smoke(session.systems, environment.smoke.events_count, observer, stamp)
    cases_done = run_acceptance(session.systems, cases, observer, stamp)
    timings = {**verified.intervals_s, **{case.id: case.duration_s for case in cases_done}}
    code = exit_code.of_verdicts(case.verdict for case in cases_done)
    header = session.header(context.kube_system_uid)
    return Result("smoke", environment.name, header, SmokeReport(verified, timings, cases_done), code)


def _stamp() -> str:
    return f"smoke-{datetime.now(UTC):{STAMP}}"


def choose_cases(only: str) -> list[Case]:
    """Return the cases of the acceptance suite that are asked for.

    Parameters
    ----------
    only
        The start of a case's id, such as ``strategy`` or ``lag/activation``; several with commas; empty: all.

    Raises
    ------
    Refusal
        When a part of it fits no case.
    """
    from prompt_keda.components.smoke.acceptance import CASES  # here: no other command needs them at its start

    ids = [case.id for case in CASES]
    starts = starts_of_ids(only, ids, "case", f"Known: {', '.join(ids)}.")
    return [case for case in CASES if not starts or case.id.startswith(starts)]
