"""The streams of Prompt Redis: their groups, what waits in them, and whether events come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from prompt_keda.clients.systems import Systems
from prompt_keda.core.check import Outcome
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn
from prompt_keda.environment.model import Instrument

TRIM_COUNT = 1000
"""A cron job beside Prompt Redis trims every stream to its newest 1000 events (docs/domain.md)."""
NEAR = 0.8
SILENCE = timedelta(hours=48)
"""Longer without an event is told. In the southern summer a night that is lost to weather leaves 40 hours without one."""


def groups_exist(systems: Systems) -> Outcome:
    """Is each instrument's stream and consumer group there?"""
    fix = "./run redeploy makes them; without them workers fail with NOGROUP."
    survey = systems.redis_survey()

    def look(one: Instrument) -> Outcome:
        found = survey.group(one.stream, one.consumer_group)
        if found is None:
            return fail(f"{one.stream} has no group {one.consumer_group}", fix)
        return ok(f"{one.consumer_group} with {found.consumers} consumers")

    return _of_every_stream(systems, look)


def lag_is_right(systems: Systems) -> Outcome:
    """Is the lag what waits? KEDA 2.16.1 takes nil for 0, and makes workers for a lag that is too high (F16)."""
    fix = "./run redeploy counts it again; no group is moved."
    survey = systems.redis_survey()

    def look(one: Instrument) -> Outcome:
        found = survey.backlog(one.stream, one.consumer_group)
        if found.lag != found.waiting:
            told = "takes that for 0" if found.lag is None else "believes it"
            lag = "unknown" if found.lag is None else found.lag
            return fail(f"{one.stream}: {found.waiting} events wait, the lag is {lag}, and KEDA {told}", fix)
        if not found.counted:
            said = "Redis has lost what was read; KEDA takes the lag of the next events for 0"
            return warn(f"{one.stream}: {said}", fix)
        return ok(f"{one.stream} lag {found.lag}")

    return _of_every_stream(systems, look)


def backlog_not_trimmed(systems: Systems) -> Outcome:
    """Were events trimmed before anybody read them, or will be?

    They were, where Redis has counted more unread events than wait, and the stream holds none of those that were read:
    so what is missing stood at its beginning. A count that a restart has brought back old is told by lag-is-right.
    """
    fix = "./run redeploy counts again; those visits are lost. Find out why nobody read them: is KEDA scaling?"
    survey = systems.redis_survey()

    def look(one: Instrument) -> Outcome:
        known, group = survey.stream(one.stream), survey.group(one.stream, one.consumer_group)
        found = survey.backlog(one.stream, one.consumer_group)
        if known is None or group is None:
            return unknown(f"{one.stream} or its group is absent")
        holds_no_read = known.first_id is None or _order(known.first_id) > _order(group.last_delivered_id)
        if found.lag is not None and found.lag > found.waiting and holds_no_read:
            return fail(f"{one.stream}: {found.lag - found.waiting} events were gone before they were read", fix)
        if found.waiting >= NEAR * TRIM_COUNT:
            said = f"{found.waiting} events wait; beyond {TRIM_COUNT} the oldest are trimmed unread"
            return warn(f"{one.stream}: {said}", "Let more workers run: maxReplicaCount, room on the nodes.")
        return ok(f"{one.stream}: {found.waiting} of {TRIM_COUNT} wait")

    return _of_every_stream(systems, look)


def pending_is_young(systems: Systems) -> Outcome:
    """Is every event that was given out acknowledged within a minute? Workers do so before they work.

    Who was given an older one is dead, or hangs: nobody gives the event to another, so its visit is not worked on.
    """
    fix = "Work the visit off by hand, then XACK the event: nobody gives it out again."
    survey = systems.redis_survey()

    def look(one: Instrument) -> Outcome:
        found = survey.old_pending(one.stream, one.consumer_group)
        if not found.count:
            return ok(f"{one.stream}: nothing is pending for long")
        since = timedelta(seconds=int(found.oldest_s))
        said = f"{found.count} events were given out and not acknowledged, the oldest for {since}"
        return warn(f"{one.stream}: {said} by {found.consumer}", fix)

    return _of_every_stream(systems, look)


def fan_out_alive(systems: Systems) -> Outcome:
    """How old is each stream's last event, by Redis' own clock? By day, and in a cloudy night, none comes."""
    fix = "Is the telescope observing? Then look at next-visit-fan-out: it writes the events."
    survey = systems.redis_survey()
    up = timedelta(seconds=int(survey.info()["uptime_in_seconds"]))

    def look(one: Instrument) -> Outcome:
        known = survey.stream(one.stream)
        if known is None:
            return unknown(f"{one.stream} is absent")
        came_ms = _order(known.last_id)[0]
        silent = timedelta(seconds=int(survey.now_s() - came_ms / 1000)) if came_ms else up
        said = f"last event {_short(silent)} ago" if came_ms else f"no event in the {_short(silent)} that Redis is up"
        if silent > SILENCE:
            return warn(f"{one.stream}: {said}, expected within {SILENCE.total_seconds() / 3600:.0f} h", fix)
        return ok(f"{one.stream}: {said}")

    return _of_every_stream(systems, look)


def _short(span: timedelta) -> str:
    return (
        f"{span.total_seconds() / 3600:.1f} h" if span > timedelta(hours=1) else f"{span.total_seconds() / 60:.0f} min"
    )


def _order(entry_id: str) -> tuple[int, int]:
    """Give milliseconds and number of an id such as ``1700000000000-0``: texts would not sort."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def _of_every_stream(systems: Systems, look: Callable[[Instrument], Outcome]) -> Outcome:
    return all_of(((one.stream, one) for one in systems.environment.instruments), look)
