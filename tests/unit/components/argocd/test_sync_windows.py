"""Sync windows are evaluated as Argo CD evaluates them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.components.argocd.sync_windows import NotEvaluated, Window, find_denial

SATURDAY = datetime(2026, 2, 28, 23, 30, tzinfo=UTC)
HOURS = timedelta(hours=6)


def window(schedule, duration="1h", kind="deny", timezone="", by_hand=False):
    return Window(kind, schedule, duration, timezone, by_hand)


@pytest.mark.parametrize(
    ("schedule", "duration", "timezone", "begins"),
    [
        ("0 23 * * *", "1h", "", 0),
        ("30 23 * * *", "1m", "", 0),
        ("30 22 * * *", "1h", "", None),
        ("0 22 * * 6", "1h30m30s", "", 0),
        ("0 22 * * sat", "24h", "", 0),
        ("0 2 * * SUN", "1h", "", 150),
        ("0 2 * * mon-fri", "1h", "", None),
        ("0 2 1 3 *", "1h", "", 150),
        ("0 2 15 * 0", "1h", "", 150),
        ("0 2 15 * *", "1h", "", None),
        ("*/20 * * * *", "5m", "", 10),
        ("5-10/5,40 0 ? mar ?", "1m", "", 35),
        ("0 0 * * 0", "2h", "Europe/Berlin", 0),
        ("0 16 * * *", "1h", "America/Los_Angeles", 30),
    ],
)
def test_a_deny_window_denies_from_its_schedule_for_its_duration(schedule, duration, timezone, begins):
    """In minutes from now; None where it does not open within the hours that are looked at."""
    denial = find_denial([window(schedule, duration, timezone=timezone)], SATURDAY, HOURS)
    assert (denial and denial.since - SATURDAY) == (None if begins is None else timedelta(minutes=begins))


def test_outside_of_every_allow_window_syncs_are_denied():
    """And within one they are not, unless a deny window is open as well."""
    open_, shut = window("0 23 * * *", "12h", "allow"), window("0 1 * * *", "1h", "allow", by_hand=True)
    assert find_denial([open_, shut], SATURDAY, HOURS) is None
    denial = find_denial([shut], SATURDAY, HOURS)
    assert denial.since == SATURDAY and denial.windows == (shut,) and not denial.also_by_hand
    denied = window("0 1 * * *")
    denial = find_denial([open_, denied], SATURDAY, HOURS)
    assert denial.since == SATURDAY + timedelta(minutes=90) and denial.windows == (denied,) and denial.also_by_hand


def test_an_allow_window_that_ends_denies_from_then_on():
    """Half an hour from now."""
    denial = find_denial([window("0 23 * * *", "1h", "allow")], SATURDAY, HOURS)
    assert denial.since == SATURDAY + timedelta(minutes=30)


@pytest.mark.parametrize(
    ("schedule", "duration", "timezone"),
    [
        *((schedule, "1h", "") for schedule in ("", "@daily", "0 0 * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *")),
        *(("0 0 * * *", duration, "") for duration in ("", "1", "1d", "h", "1h ", "-1h", "1000h")),
        *(("0 0 * * *", "1h", timezone) for timezone in ("Nowhere", "../../etc/passwd", "/etc/passwd")),
    ],
)
def test_what_is_not_understood_is_reported_and_never_taken_for_open(schedule, duration, timezone):
    """As an error that names the window."""
    with pytest.raises(NotEvaluated, match="window"):
        find_denial([window(schedule, duration, timezone=timezone)], SATURDAY, HOURS)
