"""What a person reads of a round of checks at 03:00: the root cause first, one screen, at any width. From recorded rounds."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime

import pytest

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.report.causes import causes, waits_for
from prompt_keda.report.checks_as_text import show_checks, summary
from prompt_keda.report.layout import console_of, cut, hanging
from tests.unit.test_house_rules import ROOT

RECORDED = ROOT / "tests" / "unit" / "recorded"
ROUNDS = {
    "healthy": (25, "", ""),
    "redis-away": (25, "redis/answers", "./run runbook redis-gone --env local"),
    "api-server-away": (20, "cluster/api-answers", "./run runbook cluster-unreachable --env local"),
    "keda-deleted": (30, "cluster/keda-namespace-present", "./run runbook keda-gone --env local"),
}
"""Round → how many lines it may take at 80 columns with its header, its root cause, and the next command."""
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def recorded(name):
    """Return the results of a round that was seen on the local stack under that fault."""
    rows = json.loads((RECORDED / f"{name}.json").read_text())
    empty = {"observed": "", "detail": "", "fix": "", "runbook": "", "expected": ""}
    return [
        CheckResult(**{**empty, **row, "verdict": Verdict(row["verdict"]), "started_at": NOW, "duration_s": 0.1})
        for row in rows
    ]


def shown(capsys, monkeypatch, name, width=80, verbose=False):
    monkeypatch.setenv("COLUMNS", str(width))
    show_checks(recorded(name), "local", verbose)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", list(ROUNDS))
def test_a_round_fits_a_screen_and_begins_with_its_cause(capsys, monkeypatch, name):
    """Root cause and next command stand in the first ten lines; the header takes one of them."""
    most, root, command = ROUNDS[name]
    lines = shown(capsys, monkeypatch, name)
    assert len(lines) + 1 <= most, "\n".join(lines)
    begin = "\n".join(lines[:9])
    assert root in begin and command in begin


@pytest.mark.parametrize("name", list(ROUNDS))
def test_the_last_lines_can_be_pasted_into_a_chat(capsys, monkeypatch, name):
    """At most eight, after an empty one: the counts, what is broken or unknown, and what to type."""
    lines = shown(capsys, monkeypatch, name)
    pasted = lines[max(number for number, line in enumerate(lines) if line.startswith("local: ")) :]
    assert len(pasted) <= 8 and pasted[0].startswith("local: 83 checks: ")
    _, root, command = ROUNDS[name]
    assert root in "\n".join(pasted) and command in pasted[-1]


def test_however_much_is_broken_the_paste_stays_short():
    """Eighty things, eight lines; a word that goes on for long is cut, with an ellipsis."""
    broken = [
        CheckResult(f"a/{number}", "t", Verdict.FAIL, "", "x" * 900, "", "", "", NOW, 0.1) for number in range(80)
    ]
    lines = summary(broken, "local").splitlines()
    assert len(lines) == 7 and "… and 76 more" in lines and max(map(len, lines)) <= 300
    assert lines[1].endswith("…")


@pytest.mark.parametrize("width", [60, 61, 80, 120])
@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("name", list(ROUNDS))
def test_no_line_is_longer_than_the_terminal_and_no_word_is_torn(capsys, monkeypatch, name, verbose, width):
    """What goes on below itself is indented; what is cut ends with an ellipsis."""
    lines = shown(capsys, monkeypatch, name, width, verbose)
    assert max(map(len, lines)) <= width
    whole = set(re.findall(r"\w+", "\n".join(shown(capsys, monkeypatch, name, "", verbose))))
    torn = [line for line in lines if line[-1:] not in "…/:.-,@_" and line.split() and not whole >= {words(line)[-1]}]
    assert torn == []


def words(line):
    return re.findall(r"\w+", line)


@pytest.mark.parametrize("name", list(ROUNDS))
def test_every_verdict_has_a_symbol_and_a_word(capsys, monkeypatch, name):
    """Colour is never the only sign, and here is none."""
    for line in shown(capsys, monkeypatch, name):
        if line[:1] in "✗?!" and line[1:2] == " ":
            assert re.search(r"FAIL|UNKNOWN|WARN", line), line
        if line.startswith("✓ "):
            assert re.search(r"\d+ OK", line), line


@pytest.mark.parametrize("name", list(ROUNDS))
def test_where_the_encoding_can_do_no_more_it_is_ascii(name):
    """Words and symbols; an ellipsis is three dots."""
    for verbose in (False, True):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")
        show_checks(recorded(name), "local", verbose, console_of(stream))
        stream.flush()
        text = raw.getvalue().decode("ascii")
        assert "83 checks" in text and ("x FAIL" in text) == (name in ("redis-away", "keda-deleted"))
        assert "+ vault     10 OK" in text or verbose or name in ("api-server-away", "keda-deleted")


def test_what_is_well_is_a_line_a_category(capsys, monkeypatch):
    """Seven categories, a line each, and the counts."""
    lines = shown(capsys, monkeypatch, "healthy")
    assert "✓ redis     14 OK" in lines and lines[-1] == "local: 83 checks: 83 ok"
    assert len([line for line in lines if line]) == 8


def test_a_need_that_failed_is_reported_once_with_what_it_blocks(capsys, monkeypatch):
    """Not 72 lines of what was skipped; those are shown with --verbose."""
    lines = shown(capsys, monkeypatch, "api-server-away")
    assert "          blocks 72 checks wait for cluster/api-answers" in lines
    assert not any("SKIPPED" in line for line in lines)
    verbose = shown(capsys, monkeypatch, "api-server-away", 200, verbose=True)
    assert sum("· SKIPPED" in line for line in verbose) == 72
    assert all(any(row.title in line for line in verbose) for row in recorded("api-server-away"))


def test_what_waits_counts_for_the_root_and_not_for_what_stands_between():
    """A check that needs one that was skipped waits for what that one waits for; a circle ends."""
    roots = waits_for(recorded("api-server-away"))
    assert set(roots.values()) == {"cluster/api-answers"} and len(roots) == 72
    (cause, *_) = causes(recorded("api-server-away"))
    assert cause.blocked == {"cluster/api-answers": 72}
    circle = [
        CheckResult(f"a/{a}", "t", Verdict.SKIPPED, "", f"needs a/{b}", "", "", "", NOW, 0.0) for a, b in ("12", "21")
    ]
    assert set(waits_for(circle)) == {"a/1", "a/2"}


def test_a_check_that_does_not_apply_waits_for_nothing(capsys, monkeypatch):
    """It was skipped on purpose: its category is well."""
    monkeypatch.setenv("COLUMNS", "80")
    rows = [
        CheckResult("a/1", "t", Verdict.OK, "", "seen", "", "", "", NOW, 0.0),
        CheckResult("a/2", "t", Verdict.SKIPPED, "", "there is no such thing here", "", "", "", NOW, 0.0),
    ]
    show_checks(rows, "local")
    assert "✓ a         1 OK, 1 not needed here" in capsys.readouterr().out


def test_a_name_with_blanks_can_be_pasted_into_a_shell():
    """--env takes a path."""
    (*_, last) = summary(recorded("redis-away"), "my envs/x.yaml").splitlines()
    assert last == "next: ./run runbook redis-gone --env 'my envs/x.yaml'"


@pytest.mark.parametrize("named", ["0", "", "-5", "abc", "99999999999999999999"])
def test_a_width_that_is_none_is_not_taken(capsys, monkeypatch, named):
    """COLUMNS=0 is what some programs leave behind: without a terminal lines stay whole."""
    monkeypatch.setenv("COLUMNS", named)
    show_checks(recorded("redis-away"), "local")
    assert "the cluster says that no ready pod is behind this Service\n" in capsys.readouterr().out


def test_lines_are_wrapped_below_their_text_and_cut_at_words():
    """A long name is broken behind a slash or its like; wide characters count twice."""
    assert hanging("- ", "a bb ccc", 7) == ["- a bb", "  ccc"] or hanging("- ", "a bb ccc", 7)[0].startswith("- ")
    long = "registry.example.org:5000/one/two@sha256:" + "0" * 30
    assert all(len(line) <= 30 for line in hanging("see ", long, 30))
    assert hanging("see ", long, 30)[0].endswith(("/", ":", "@", "."))
    assert "".join(line.strip() for line in hanging("", long, 30)) == long
    assert cut("one two three", 9) == "one two…" and cut("日本語日本語", 7) == "日本語…"


@pytest.mark.parametrize("width", ["60", "80"])
def test_a_wrapped_text_never_begins_where_a_verdict_stands(capsys, monkeypatch, width):
    """Whoever can write into what a check sees could place a blank so that the next line looks like one of ours."""
    monkeypatch.setenv("COLUMNS", width)
    for pad in range(60):
        text = f"{'x' * pad} ✓ OK redis/answers ✓ redis 14 OK local: 83 checks: 83 ok " * 3
        row = CheckResult("a/b", "t", Verdict.WARN, "", text, text, text, "", NOW, 0.0)
        for verbose in (False, True):
            show_checks([row], "local", verbose)
    ours = ("! ", "local: 1 checks: 1 warn", "a")
    lines = capsys.readouterr().out.splitlines()
    assert {line for line in lines if line[:1].strip() and not line.startswith(ours)} == set()
