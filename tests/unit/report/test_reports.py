"""Reports for other programs."""

from __future__ import annotations

import io
import os
import pty
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from rich.console import Console

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.event import Event, EventKind
from prompt_keda.core.waiting import until
from prompt_keda.report import as_junit, as_svg
from prompt_keda.report.live_checks import LiveChecks
from prompt_keda.report.progress import ProgressPrinter
from tests.terminal import until_closed

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_junit_of_several_runs_becomes_one_document(tmp_path):
    """Every suite with its cases, as pytest wrote them."""
    for name, case in (("a", "<testcase name='1'/>"), ("b", "<testcase name='2'><failure/></testcase>")):
        (tmp_path / f"{name}.xml").write_text(f"<testsuites><testsuite name='{name}'>{case}</testsuite></testsuites>")
    merged = ElementTree.fromstring(as_junit.merge(sorted(tmp_path.glob("*.xml"))))
    assert [run.get("name") for run in merged] == ["a", "b"] and len(merged.findall(".//failure")) == 1


EVENTS = (
    Event(EventKind.STARTED, "install/parts", "working", "wait for it"),
    Event(EventKind.PROGRESS, "install/parts", "working", "2/3 ready"),
    Event(EventKind.FINISHED, "install/parts", "done", "3/3 ready", 1.5),
    Event(EventKind.STARTED, "install/secrets", "working", "write them"),
    Event(EventKind.FINISHED, "install/secrets", "already done", "4 as in Vault"),
)


@pytest.mark.parametrize(
    ("verbose", "news"),
    [
        (False, ["3/3 ready (1.5 s)"]),
        (True, ["wait for it", "2/3 ready", "3/3 ready (1.5 s)", "write them", "4 as in Vault"]),
    ],
)
def test_without_a_terminal_each_event_is_a_line(monkeypatch, verbose, news):
    """For a log. What had nothing to do, or is overtaken within seconds, is no news, unless all is asked for."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stream = io.StringIO()
    progress = ProgressPrinter(stream, verbose)
    for event in EVENTS:
        progress(event)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert [line[line.index("install/") :].split(maxsplit=1)[1] for line in lines] == news
    assert "\x1b" not in stream.getvalue()


def test_a_step_that_takes_long_is_reported_before_it_ends(monkeypatch):
    """In CI, where nothing is live, it would seem to hang."""
    monkeypatch.setattr("prompt_keda.report.progress.HOLD_S", 0.0)
    stream = io.StringIO()
    progress = ProgressPrinter(stream)
    for event in EVENTS[:2]:
        progress(event)
        until(lambda: not progress._held, "the end of the patience", 10)
    assert [line.split("  ")[-1].strip() for line in stream.getvalue().splitlines()] == ["wait for it", "2/3 ready"]


def test_news_waits_its_own_time_after_news_that_was_overtaken():
    """The patience of what was overtaken ends with it: else the next news would come at once."""
    progress = ProgressPrinter(io.StringIO())
    progress(EVENTS[1])
    old = progress._timers["install/parts"]
    progress(Event(EventKind.NOTE, "install/parts", "", "meanwhile"))
    progress(EVENTS[1])
    assert old.finished.is_set() and not progress._timers["install/parts"].finished.is_set()
    progress.close()
    assert not progress._timers


@pytest.mark.parametrize(("width", "lines"), [("80", 1), ("120", 1), ("60", 2)])
def test_a_narrow_terminal_has_no_column_of_subjects(monkeypatch, width, lines):
    """It would take a third of each line."""
    monkeypatch.setenv("COLUMNS", width)
    stream = io.StringIO()
    ProgressPrinter(stream)(Event(EventKind.FINISHED, "verify/smoke", "done", "5 Jobs, 6 acknowledged, lag 0", 8.1))
    assert len(stream.getvalue().splitlines()) == lines


@pytest.mark.parametrize(("term", "live"), [("xterm", True), ("dumb", False)])
def test_on_a_terminal_what_is_at_work_goes_away_when_it_is_done(monkeypatch, term, live):
    """The live lines are drawn over; the end stays. A dumb terminal gets lines."""
    monkeypatch.setenv("TERM", term)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        progress = ProgressPrinter(stream)
        for event in EVENTS:
            progress(event)
        progress.close()
        progress.close()
    output = b"".join(until_closed(ours)).decode()
    os.close(ours)
    assert ("\x1b[1A" in output or "\x1b[2K" in output) == live
    assert "3/3 ready (1.5 s)" in output


IDS = ("redis/answers", "redis/lag-matches-backlog", "keda/parts-ready")
ROUND = (
    Event(EventKind.STARTED, "redis/answers"),
    Event(EventKind.FINISHED, "redis/answers", "ok", "evil\x1b]0;title\x07"),
    Event(EventKind.STARTED, "keda/parts-ready"),
    Event(EventKind.FINISHED, "keda/parts-ready", "fail"),
)


def test_a_round_of_checks_is_live_on_a_terminal_and_silent_elsewhere(monkeypatch):
    """A line a category with a mark a check and what is at work; nothing stays of it, and nothing goes into a log."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stream = io.StringIO()
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        for watcher in (LiveChecks(IDS, terminal), LiveChecks(IDS, stream)):
            for check in ROUND[:3]:
                watcher(check)
            table = watcher._table()
            watcher(ROUND[3])
            watcher.close()
            watcher.close()
    output = b"".join(until_closed(ours)).decode()
    os.close(ours)
    assert stream.getvalue() == "" and "redis" in output and "title" not in output
    drawn = Console(width=60, file=io.StringIO(), record=True)
    drawn.print(table)
    assert [line.split() for line in drawn.export_text().splitlines()] == [["redis", "✓"], ["keda", "parts-ready"]]


def result(verdict, observed):
    return CheckResult("redis/answers", "Redis answers", verdict, "", observed, "", "start it", "redis-gone", NOW, 0.1)


def test_the_picture_shows_what_the_terminal_shows_and_loads_nothing():
    """Verdicts, titles, what was seen; no font and no escape from elsewhere."""
    picture = as_svg.to_svg([result(Verdict.OK, "v1\x1b[31m"), result(Verdict.FAIL, "refused")])
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    text = "".join(ElementTree.fromstring(picture).itertext()).replace("\xa0", " ")
    assert "OK" in text and "FAIL" in text and "refused" in text and "start it" in text
    assert "url(http" not in picture and "@font-face" not in picture and "\x1b" not in picture
