"""Reports for other programs."""

from __future__ import annotations

import io
import os
import pty
from xml.etree import ElementTree

import pytest

from prompt_keda.model.event import Event, EventKind
from prompt_keda.report import as_junit
from prompt_keda.report.progress import Progress
from tests.terminal import until_closed


def test_junit_of_several_runs_becomes_one_document(tmp_path):
    """Every suite with its cases, as pytest wrote them."""
    for name, case in (("a", "<testcase name='1'/>"), ("b", "<testcase name='2'><failure/></testcase>")):
        (tmp_path / f"{name}.xml").write_text(f"<testsuites><testsuite name='{name}'>{case}</testsuite></testsuites>")
    merged = ElementTree.fromstring(as_junit.merge(sorted(tmp_path.glob("*.xml"))))
    assert [one.get("name") for one in merged] == ["a", "b"] and len(merged.findall(".//failure")) == 1


EVENTS = (
    Event(EventKind.STARTED, "install/parts", "working", "wait for it"),
    Event(EventKind.PROGRESS, "install/parts", "working", "2/3 ready"),
    Event(EventKind.FINISHED, "install/parts", "done", "3/3 ready", 1.5),
)


def test_without_a_terminal_each_event_is_a_line(monkeypatch):
    """With its reason, for a log."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stream = io.StringIO()
    progress = Progress(stream)
    for one in EVENTS:
        progress(one)
    progress.close()
    lines = stream.getvalue().splitlines()
    assert [line.split(maxsplit=4)[4] for line in lines] == ["wait for it", "2/3 ready", "3/3 ready (1.5 s)"]
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(("term", "live"), [("xterm", True), ("dumb", False)])
def test_on_a_terminal_what_is_at_work_goes_away_when_it_is_done(monkeypatch, term, live):
    """The live lines are drawn over; the end stays. A dumb terminal gets lines."""
    monkeypatch.setenv("TERM", term)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        progress = Progress(stream)
        for one in EVENTS:
            progress(one)
        progress.close()
        progress.close()
    said = b"".join(until_closed(ours)).decode()
    os.close(ours)
    assert ("\x1b[1A" in said or "\x1b[2K" in said) == live
    assert "3/3 ready (1.5 s)" in said
