"""An incident is told as it was: steps, times, what is open; and what the record says can forge nothing on a page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.records.incident_story import story_of
from prompt_keda.records.run_summary import RunSummary
from prompt_keda.report import history_page
from prompt_keda.report.history_page import History
from prompt_keda.report.incident_page import to_chat, to_html, to_markdown

START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
REDEPLOY = {
    "run": "20261124t030010z-local-7",
    "mode": "repair",
    "timings": {"recovery": 21.5, "install/a": 1.5, "install/b": 2.0, "verify/smoke": 9.0, "first_scaled_job": 4.0},
    "ledger": {"before": [{}] * 40, "after": [{}] * 38},
}
RED = {"results": [{"id": "redis/answers", "verdict": "fail", "observed": "no answer"}]}
GREEN = {"results": [{"id": "redis/answers", "verdict": "ok", "observed": "PONG"}]}


def entry(seconds, step, event, detail=""):
    return {"at": (START + timedelta(seconds=seconds)).isoformat(), "step": step, "event": event, "detail": detail}


ENTRIES = [
    entry(0, "incident", "opened", "respond: keda-gone, by me@here"),
    entry(1, "keda-gone/diagnosis/1", "begin", "invoke check-deps --env local"),
    entry(3, "keda-gone/diagnosis/1", "done", "80 of 81 checks are green"),
    entry(4, "note", "me@here", "asked the owners of Redis"),
    entry(5, "keda-gone/mitigation/1", "begin", "invoke redeploy --env local"),
    entry(9, "keda-gone/mitigation/1", "begin", "invoke resume --env local"),
    entry(69, "keda-gone/mitigation/1", "done", "recovered"),
]
CLOSED = entry(75, "incident", "closed", "verified")


def test_steps_are_reported_with_their_times_and_one_that_was_never_seen_to_end_as_interrupted():
    """A kill leaves a beginning alone; the same step then begins again."""
    story = story_of("i", "local", [*ENTRIES, CLOSED], [RED, REDEPLOY, GREEN])
    assert [(step.id, step.state, step.began_s, step.duration_s) for step in story.steps] == [
        ("keda-gone/diagnosis/1", "done", 1, 2),
        ("keda-gone/mitigation/1", "interrupted", 5, None),
        ("keda-gone/mitigation/1", "done", 9, 60),
    ]
    assert story.duration_s == 75 and [line[2] for line in story.notes] == ["asked the owners of Redis"]
    (recovery,) = story.recoveries
    assert recovery.stages_s == {"install": 3.5, "verify": 9.0} and recovery.before_count == 40
    assert story.open_checks == [], "the newest look counts"


def test_what_is_not_verified_is_open():
    """With what the last look saw."""
    story = story_of("i", "local", ENTRIES, [RED])
    assert story.duration_s is None and story.open_checks == [("redis/answers", "fail", "no answer")]
    assert "open, not verified yet" in to_chat(story) and "still open: fail redis/answers" in to_chat(story)


def test_a_redeploy_that_failed_is_no_recovery():
    """Its document has timings, and an error."""
    assert story_of("i", "local", ENTRIES, [{**REDEPLOY, "error": {"what": "no"}}]).recoveries == []


def test_a_record_without_a_beginning_is_damaged():
    """It is refused, not guessed."""
    with pytest.raises(ValueError, match="no beginning"):
        story_of("i", "local", ENTRIES[1:], [])


HOSTILE = "<script>alert(1)</script> | `x` [a](http://evil.test) \x1b[31mred"


def test_what_the_record_says_makes_no_markup():
    """Text of a cluster is untrusted on every page."""
    entries = [
        entry(0, "incident", "opened", HOSTILE),
        entry(1, "note", HOSTILE, HOSTILE),
        entry(1, "r/verification/1", "begin", HOSTILE),
        entry(2, "r/verification/1", "failed", HOSTILE),
    ]
    looked = {"results": [{"id": HOSTILE, "verdict": "fail", "observed": HOSTILE}]}
    bad = {**REDEPLOY, "mode": HOSTILE, "run": HOSTILE, "timings": {"recovery": 1.0, f"{HOSTILE}/a": 1.0}}
    story = story_of("i", "local", entries, [looked, bad])
    page = to_html(story)
    assert "<script" not in page and "\x1b" not in page and "<a " not in page
    markdown = to_markdown(story)
    assert "\x1b" not in markdown and not re.search(r"(?<!\\)[<`\[]", markdown)
    for row in [line for line in markdown.splitlines() if line.startswith("|")]:
        assert row.replace("\\|", "").count("|") == 6
    assert "\x1b" not in to_chat(story)


def test_the_page_loads_nothing():
    """It is one file that forbids itself to ask a server."""
    page = to_html(story_of("i", "local", [*ENTRIES, CLOSED], [REDEPLOY]))
    assert "default-src 'none'" in page
    assert not any(word in page for word in ("src=", "href=", "url(", "@import", "http://", "https://"))
    assert "21.5 s" in page and "1 min 15 s" in page


def run(state="green", recovery_s=21.5, mode="repair"):
    parts = {"install": 3.5, "verify": 9.0} if recovery_s else {}
    began = "2026-11-24T03:00:00+00:00"
    return RunSummary("r", "local", began, mode, state, recovery_s, parts)


def test_recovery_times_are_a_page_that_loads_nothing():
    """Green runs have their bar, the longest the whole width; what others may have written makes no markup."""
    page = history_page.to_html("local", History([run(), run(recovery_s=43.0), run("failed", None, HOSTILE)], []))
    assert "3 runs, 2 of them green; median 32.2 s, longest 43.0 s" in page
    assert "width: 50.0%" in page and "width: 100.0%" in page
    assert "<script" not in page and "\x1b" not in page
    assert not any(word in page for word in ("src=", "href=", "url(", "@import"))


def test_no_run_is_a_page_as_well():
    """A new machine."""
    assert "0 runs, 0 of them green" in history_page.to_html("", History([], []))
