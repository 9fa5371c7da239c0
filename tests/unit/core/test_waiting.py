"""The one wait loop, by a clock of its own: no test waits."""

from __future__ import annotations

import pytest

from prompt_keda.core import waiting
from prompt_keda.core.errors import DeadlinePassed


class Clock:
    """Moves on as long as is waited for; it is a signal too."""

    def __init__(self):
        self.at, self.waits = 0.0, []

    def __call__(self):
        return self.at

    def wait(self, timeout_s):
        self.at += timeout_s
        self.waits.append(timeout_s)
        return False

    def close(self):
        pass


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(waiting.time, "monotonic", clock)
    monkeypatch.setattr(waiting.time, "sleep", clock.wait)
    return clock


def test_the_last_look_is_when_the_time_is_over(clock):
    """What came in the last interval is seen; none lasts longer than what is left."""
    assert [clock.at for _ in waiting.looks(2.5, clock, now=clock)] == [0, 1, 2, 2.5]
    assert clock.waits == [1.0, 1.0, 0.5] and clock.at == 2.5


def test_what_has_no_time_left_is_looked_at_once(clock):
    """Then the caller says what it saw."""
    assert len(list(waiting.looks(-1, clock, now=clock))) == 1 and clock.waits == []


def test_what_nothing_watches_is_looked_at_more_often(clock):
    """A quarter of a second apart, unless the caller knows better."""
    list(waiting.looks(0.5, now=clock))
    list(waiting.looks(0.2, every_s=0.1, now=clock))
    assert clock.waits == pytest.approx([0.25, 0.25, 0.1, 0.1])


def test_a_wait_returns_what_was_seen(clock):
    """Or says what was not."""
    seen = iter([None, "", "here"])
    assert waiting.until(lambda: next(seen), "it", 1) == "here" and clock.at == 0.5
    with pytest.raises(DeadlinePassed, match=r"the end: not within 3 s"):
        waiting.until(lambda: False, "the end", 3)
