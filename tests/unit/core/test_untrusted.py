"""Text from outside can neither steer a terminal nor forge a line of ours."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.decisions import Change, Decisions, Deletion, JobRecord, Plan
from prompt_keda.core.event import Event, EventKind
from prompt_keda.core.plan import Step
from prompt_keda.core.untrusted import neutral, one_line
from prompt_keda.records.run_summary import RunSummary
from prompt_keda.report import as_junit, as_text, checks_as_text, redeploy_as_text
from prompt_keda.report.history_page import History
from prompt_keda.report.parts import PlanReport, SeenNow
from prompt_keda.report.preparation import EnvironmentFile, Preparation, Prepared, Rendered
from prompt_keda.report.progress import ProgressPrinter

FORGED = "OK redis/answers"
EVIL = f"no\n{FORGED}\u2028{FORGED}\x85{FORGED}\r{FORGED}"


def result(verdict):
    return CheckResult("a/b", "title", verdict, "", EVIL, EVIL, EVIL, "", datetime.now(UTC), 0.0)


def forged(text):
    return [line for line in text.splitlines() if line.strip().startswith(FORGED)]


@pytest.mark.parametrize("broken", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_one_line_stays_one_line(broken):
    """Whatever anything takes for the end of a line is shown as a mark."""
    assert one_line(f"a{broken}b") == "a\ufffdb"
    assert neutral(f"a{broken}b") == ("a\nb" if broken == "\n" else "a\ufffdb")


def test_what_cannot_be_written_is_replaced():
    """Half a character of JSON would break output, and a code point that is none the XML."""
    made = neutral("a\ud800b\uffffc")
    assert made == "a\ufffdb\ufffdc" and made.encode()


def test_no_message_forges_a_line_of_the_checks(capsys):
    """Neither among the results, nor in the summary that is pasted into a chat."""
    as_text.show_header(EVIL)
    for verbose in (False, True):
        checks_as_text.show_checks([result(Verdict.FAIL), result(Verdict.WARN)], "e", verbose)
    as_text.show_lines([EVIL])
    output = capsys.readouterr().out
    assert output.count(FORGED) > 4 and forged(output) == []


def test_no_message_forges_a_line_of_a_plan(capsys):
    """What a plan shows comes from the cluster: names, reasons, what is seen now."""
    change = Change("created", EVIL, EVIL, EVIL, EVIL, EVIL)
    plan = Plan(
        "m",
        EVIL,
        (Step("a/b", EVIL, None, None),),
        Decisions((Deletion(EVIL, EVIL, EVIL, EVIL, EVIL),), (EVIL,), (EVIL,), (EVIL,), given_up=(EVIL,)),
        jobs_at_risk=(JobRecord("Job", EVIL, EVIL, EVIL, EVIL, EVIL),),
        changes=(change,),
    )
    for verbose in (False, True):
        for made in (plan, replace(plan, changes=())):
            redeploy_as_text.show_plan(PlanReport(made, [SeenNow("todo", EVIL)], [EVIL]), verbose)
    row = Prepared(EVIL, EVIL, "0", 1, fetched=True)
    rendered = Rendered(EVIL, EVIL, EVIL, (), (), (), (), "0", False, ())
    as_text.show_prepared(Preparation([row, replace(row, rendered=rendered)], None, EnvironmentFile(EVIL, False, EVIL)))
    assert forged(capsys.readouterr().out) == []


def test_no_message_forges_a_line_of_the_history(capsys):
    """Modes and stages may be those of a copy in the cluster."""
    known = {"run_id": "id", "environment": "e", "began_at": "2026-11-24", "state": "green", "places": ("cluster",)}
    run = RunSummary(**known, mode=EVIL, parts_s={EVIL: 1.0}, spans_s={EVIL: 1.0})
    as_text.show_history(History([run], [], [EVIL], EVIL))
    output = capsys.readouterr().out
    assert output.count(FORGED) > 4 and forged(output) == []


def test_no_message_forges_a_line_of_the_progress():
    """An event is a line."""
    stream = io.StringIO()
    for kind in EventKind:
        ProgressPrinter(stream, verbose=True)(Event(kind, "s", "done", EVIL))
    assert len(stream.getvalue().splitlines()) == len(EventKind) and forged(stream.getvalue()) == []


def test_no_message_forges_a_line_of_junit():
    """Nor does it make the document unreadable."""
    made = ElementTree.fromstring(as_junit.to_xml([result(Verdict.FAIL), result(Verdict.WARN)]))
    texts = [text for element in made.iter() for text in (element.text or "", element.get("message", ""))]
    assert forged("\n".join(texts)) == []
