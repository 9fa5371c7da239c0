"""When a project of Argo CD denies syncs: its sync windows, evaluated as Argo CD does.

Sources: Argo CD 3.2, pkg/apis/application/v1alpha1/types.go (SyncWindows.Matches, CanSync); the schedule is one of
robfig/cron with five fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from prompt_keda.clients.kube.objects import Object

MINUTE = timedelta(minutes=1)
LONGEST = timedelta(days=31)
"""One that stays open for longer is not evaluated: every opening since then would be looked at."""
UNITS = {"h": timedelta(hours=1), "m": MINUTE, "s": timedelta(seconds=1)}


class NotEvaluated(ValueError):
    """A window in a form that is not evaluated here."""


@dataclass(frozen=True)
class Window:
    """One sync window of an AppProject."""

    kind: str
    schedule: str
    duration: str
    timezone: str
    by_hand: bool
    """Whether it lets a sync through that somebody asks for."""

    @classmethod
    def of(cls, live: Object) -> Window:
        """Return a window of an AppProject's ``spec.syncWindows``."""
        kind, schedule, duration, timezone = (
            str(live.get(key) or "") for key in ("kind", "schedule", "duration", "timeZone")
        )
        return cls(kind, schedule, duration, timezone, bool(live.get("manualSync")))

    def __str__(self) -> str:
        """Return it in words."""
        return f'{self.kind} window "{self.schedule}" for {self.duration} ({self.timezone or "UTC"})'[:120]


@dataclass(frozen=True)
class Denial:
    """That syncs are denied from ``since`` on, by these windows: deny windows that are open, or allow windows that are not."""

    since: datetime
    windows: tuple[Window, ...]

    @property
    def also_by_hand(self) -> bool:
        """Whether a sync that somebody asks for is denied too."""
        return not all(window.by_hand for window in self.windows)


def matches_any(patterns: Sequence[Any] | None, *values: str | None) -> bool:
    """Return whether one of some globs matches one of some values, as Argo CD matches names."""
    forms = [form for pattern in patterns or [] for form in _forms(pattern)]
    return any(value is not None and fnmatchcase(value, form) for form in forms for value in values)


def _forms(pattern: Any) -> Iterator[str]:
    """Yield a glob without braces for each way to read one with them."""
    if match := re.search(r"\{([^{}]*)\}", str(pattern)):
        for choice in match[1].split(","):
            yield from _forms(str(pattern)[: match.start()] + choice + str(pattern)[match.end() :])
    else:
        yield str(pattern)


def windows_of(project: Object, application: Object) -> list[Window]:
    """Return those windows of a project that count for an Application."""
    spec = application.get("spec") or {}
    destination = spec.get("destination") or {}

    def counts(live: Object) -> bool:
        looks = [
            ("applications", [application["metadata"]["name"]]),
            ("clusters", [destination.get("name"), destination.get("server")]),
            ("namespaces", [destination.get("namespace")]),
        ]
        answers = [matches_any(live[key], *values) for key, values in looks if live.get(key)]
        return bool(answers) and (all(answers) if live.get("useAndOperator") else any(answers))

    return [Window.of(live) for live in (project.get("spec") or {}).get("syncWindows") or [] if counts(live)]


def find_denial(windows: Sequence[Window], now: datetime, ahead: timedelta) -> Denial | None:
    """Return the first denial from now on, or None if there is none until ``ahead`` from now.

    Raises
    ------
    NotEvaluated
        When a schedule, a duration or a time zone is of a form that is not evaluated here.
    """
    spans = [(window, span) for window in windows for span in _spans(window, now, ahead)]
    changes = {now} | {moment for _, span in spans for moment in span if now < moment <= now + ahead}
    for moment in sorted(changes):
        is_open = [window for window, (begin, end) in spans if begin <= moment < end]
        denying = [window for window in is_open if window.kind == "deny"]
        if not denying and "allow" not in [window.kind for window in is_open]:
            denying = [window for window in windows if window.kind == "allow"]
        if denying:
            return Denial(moment, tuple(dict.fromkeys(denying)))
    return None


def _spans(window: Window, now: datetime, ahead: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Yield when a window opens and closes, from the one that may be open now."""
    from cronsim import CronSim, CronSimError

    duration = _duration(window)
    try:
        earliest = (now - duration - MINUTE).astimezone(ZoneInfo(window.timezone or "UTC"))
        openings = CronSim(window.schedule.replace("?", "*"), earliest)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise NotEvaluated(f"this machine knows no such time zone: {window}") from error
    except CronSimError as error:
        raise NotEvaluated(f"its schedule is not understood: {window}") from error
    for opening in openings:
        begin = opening.astimezone(UTC)
        if begin > now + ahead:
            return
        yield begin, begin + duration


def _duration(window: Window) -> timedelta:
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", window.duration)
    if not parts or "".join(map("".join, parts)) != window.duration:
        raise NotEvaluated(f"its duration is not understood: {window}")
    duration = sum((float(count) * UNITS[unit] for count, unit in parts), timedelta(0))
    if duration > LONGEST:
        raise NotEvaluated(f"it is open for more than {LONGEST.days} days: {window}")
    return duration
