"""watch: check-deps again and again. It reports what changes alone, and a round that cannot run is UNKNOWN, never the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prompt_keda.clients.systems import Systems
from prompt_keda.commands.session import Session
from prompt_keda.components.round import run_round
from prompt_keda.core.check import Check, CheckResult, Verdict
from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.exit_code import STOPPED, of_checks
from prompt_keda.environment.model import parse_duration
from prompt_keda.report.as_metrics import Metrics

SHORTEST = timedelta(seconds=5)
CHAT_LINES = 8
"""So many lines a post to the chat has at most."""


@dataclass(frozen=True)
class Transition:
    """A check whose verdict is another one than at the last look; ``before`` is None at the first."""

    at: datetime
    environment: str
    before: Verdict | None
    result: CheckResult

    def to_line(self) -> str:
        """Return it as a line for people: what it was, what it is, what was seen, and the page that answers it."""
        before = f"{self.before.value.upper()} → " if self.before else ""
        page = f"  runbooks/{self.result.runbook}.md" if self.result.runbook and not _is_well(self.result) else ""
        verdict = self.result.verdict.value.upper()
        return f"{self.at:%Y-%m-%dT%H:%M:%SZ}  {self.result.id}  {before}{verdict}: {self.result.observed}{page}"

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        fields: dict[str, Any] = {
            "at": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
            "environment": self.environment,
            "check": self.result.id,
            "before": self.before.value if self.before else None,
            "now": self.result.verdict.value,
            "observed": self.result.observed,
            "fix": self.result.fix,
            "runbook": self.result.runbook,
        }
        return json.dumps(fields, ensure_ascii=False)


def interval(text: str) -> timedelta:
    """Return how often a round begins, of ``60s`` or ``2m``. Raises `Refusal` when it is none, or shorter than `SHORTEST`."""
    try:
        every: timedelta = parse_duration(text)
    except ValueError as error:
        raise Refusal(f"--every {text}: {error}") from None
    if every < SHORTEST:
        raise Refusal(f"--every {text} is shorter than {SHORTEST.seconds} s", "Each round asks every system.")
    return every


def watch(
    session: Session,
    checks: Sequence[Check[Systems]],
    every: timedelta,
    metrics: Metrics,
    report: Callable[[Transition], None],
    observer: Observer,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Run rounds of checks until a signal stops it, and return 0.

    Each round opens the environment again: a login, a password or a token that was rotated is read again.

    Parameters
    ----------
    every
        From the beginning of one round to that of the next; a round that takes longer is followed by the next at once.
    metrics
        Is shown each round.
    report
        Gets each transition. What it raises ends the watch: nobody would hear of anything then.
    observer
        Gets what is no transition: that it begins, and what the chat did not take.
    pause
        Waits for some seconds.
    """
    verdicts: dict[str, Verdict] = {}
    name = session.environment.name
    observer(
        Event(EventKind.NOTE, "watch", "", f"{name}: {len(checks)} checks, a round each {every.total_seconds():g} s")
    )
    try:
        while True:
            began = time.monotonic()
            results = _look(session, checks)
            if of_checks(results) == STOPPED:
                return 0
            metrics.show_round(results, time.time(), time.monotonic() - began)
            changed = _transitions(name, verdicts, results)
            for transition in changed:
                report(transition)
            _post_to_chat(session, changed, observer)
            pause(max(0.0, every.total_seconds() - (time.monotonic() - began)))
    except KeyboardInterrupt:
        return 0


def _look(session: Session, checks: Sequence[Check[Systems]]) -> list[CheckResult]:
    """Run one round; where it cannot run, every check is UNKNOWN, with the reason."""
    try:
        with session.reopened() as now:
            return run_round(now.systems, checks)
    except PromptKedaError as error:
        reason, fix = error.what, error.fix
    except Exception as error:  # noqa: BLE001  whatever it is: the next round may run
        reason, fix = f"internal error: {type(error).__name__}", "Please report this."
    now_at = datetime.now(UTC)
    return [
        CheckResult(check.id, check.title, Verdict.UNKNOWN, "", reason, "", fix, check.runbook, now_at, 0.0)
        for check in checks
    ]


def _transitions(name: str, known: dict[str, Verdict], results: Sequence[CheckResult]) -> list[Transition]:
    """Return what has changed, and remember it. What was skipped is a consequence, and changes nothing.

    At the first look only what is not well is a change.
    """
    at, changed = datetime.now(UTC), []
    for result in results:
        if result.verdict is Verdict.SKIPPED:
            continue
        before = known.get(result.id)
        if result.verdict is not before and not (before is None and _is_well(result)):
            changed.append(Transition(at, name, before, result))
        known[result.id] = result.verdict
    return changed


def _is_well(result: CheckResult) -> bool:
    return result.verdict is Verdict.OK


def _post_to_chat(session: Session, changed: Sequence[Transition], observer: Observer) -> None:
    """Post what has changed, if the environment names a chat. That the chat or Vault does not take it ends nothing."""
    if not changed or session.environment.incidents.webhook is None:
        return
    lines = [
        f"{session.environment.name}: {len(changed)} checks have changed",
        *(transition.to_line() for transition in changed),
    ]
    if len(lines) > CHAT_LINES:
        lines[CHAT_LINES - 1 :] = [f"… and {len(changed) - CHAT_LINES + 2} more: ./run check-deps --env {session.name}"]
    try:
        session.post_to_chat("\n".join(lines))
    except PromptKedaError as error:
        observer(Event(EventKind.NOTE, "watch", "", f"not posted to the chat: {error.what}"))
    except Exception as error:  # noqa: BLE001  its words may hold the webhook's address
        observer(Event(EventKind.NOTE, "watch", "", f"not posted to the chat: {type(error).__name__}"))
