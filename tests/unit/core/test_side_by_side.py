"""Looking at several things at once."""

from __future__ import annotations

import threading

import pytest

from prompt_keda.core.errors import Missing, Unreachable
from prompt_keda.core.outcomes import ok
from prompt_keda.core.side_by_side import AT_ONCE, look_side_by_side

THINGS = [(str(number), number) for number in range(3 * AT_ONCE)]


def test_some_are_looked_at_at_once_and_told_in_their_order():
    """So many wait for each other here; what answers no, or not at all, is that thing's alone."""
    together = threading.Barrier(AT_ONCE)

    def look(number):
        together.wait(5)
        if number == 1:
            raise Missing("registry", "r", "not there")
        if number == 2:
            raise Unreachable("registry", "r", "no answer")
        return ok(str(number))

    verdicts = [outcome.verdict.value for outcome in look_side_by_side(THINGS, look)]
    assert verdicts == ["ok", "fail", "unknown", *["ok"] * (len(THINGS) - 3)]


def test_a_defect_is_not_swallowed_by_a_thread():
    """The round of checks tells it."""
    with pytest.raises(ZeroDivisionError):
        look_side_by_side(THINGS, lambda number: ok(str(1 / number)))


def test_nothing_is_looked_at_without_a_thing():
    """And what makes a verdict of that says so."""
    assert look_side_by_side([], lambda thing: ok("")) == []
