"""The search for planted secrets finds each of them, in each form: what it does not find is not there."""

from __future__ import annotations

import base64
import html
import json
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus, urlencode

import pytest

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.report import as_json, as_junit, as_svg, checks_as_text
from prompt_keda.report.parts import Checked
from prompt_keda.report.result import Result
from tests.leaks import SPECIAL, leaks, planted

VALUE = planted()
WRITTEN = {
    "plain": VALUE.encode(),
    "latin-1": VALUE.encode("latin-1"),
    "JSON": json.dumps({"key": VALUE}).encode(),
    "JSON, not ASCII alone": json.dumps({"key": VALUE}, ensure_ascii=False).encode(),
    "JSON in JSON": json.dumps({"config": json.dumps({"password": VALUE})}).encode(),
    "repr": repr([VALUE]).encode(),
    "repr of bytes": repr({"Authorization": VALUE.encode()}).encode(),
    "URL": quote(VALUE, safe="").encode(),
    "URL in small letters": quote(VALUE, safe="").lower().encode(),
    "path": quote(VALUE).encode(),
    "form": urlencode({"password": VALUE}).encode(),
    "form of old": quote_plus(VALUE, safe="").encode(),
    "HTML": html.escape(VALUE).encode(),
    "hex": VALUE.encode().hex().encode(),
    "HEX": VALUE.encode().hex().upper().encode(),
    "base64": base64.b64encode(VALUE.encode()),
    "Basic": base64.b64encode(f"puller:{VALUE}".encode()),
    "Basic, another user": base64.b64encode(f"someone:{VALUE}".encode()),
    "base64 for URLs": base64.urlsafe_b64encode(f"x:{VALUE}".encode()),
    "base64 in lines": base64.encodebytes(b"." * 40 + VALUE.encode()),
    "half of it": VALUE[: len(VALUE) // 2].encode(),
    "the other half": VALUE[len(VALUE) // 2 :].encode(),
    "broken by lines": "\n   ".join(VALUE).encode(),
    "broken by colours": f"{VALUE[:7]}\x1b[0m\r\n\x1b[1;31m{VALUE[7:]}".encode(),
    "broken by tags": f"<text>{html.escape(VALUE[:7])}</text>\n<text x='1'>{html.escape(VALUE[7:])}</text>".encode(),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_planted_value_is_found_however_it_is_written(form):
    """Between other text, and only this one."""
    output = b"observed: " + WRITTEN[form] + b" (end)"
    assert {name for name, _ in leaks(output, {"mine": VALUE, "other": planted()})} == {"mine"}


@pytest.mark.parametrize("offset", range(4))
def test_base64_is_found_at_each_place(offset):
    """What stands before a value shifts its letters."""
    assert leaks(base64.b64encode(b"x" * offset + VALUE.encode() + b"y"), {"mine": VALUE})


def test_the_finder_names_the_form():
    """So that whoever reads the failure knows where to look."""
    assert ("mine", "URL") in leaks(quote(VALUE, safe="").encode(), {"mine": VALUE})


def test_what_is_no_leak_is_none():
    """Names, other values, and the forms of the special characters alone."""
    innocent = json.dumps({"key": SPECIAL * 9}) + quote(SPECIAL * 9) + planted() + "Secret(…)"
    assert leaks(innocent.encode(), {"mine": VALUE}) == []


def test_each_special_character_is_in_a_planted_value():
    """Else a form that writes it otherwise would not be tried."""
    assert set(SPECIAL) <= set(VALUE) and VALUE.isprintable() and not set(VALUE) & set(" \t\n")


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_value_in_a_result_is_found_in_every_report(verdict, capsys):
    """Terminal, JSON, JUnit and picture: a leak could hide in none of them. Of what is well a picture shows no words."""
    texts = {"observed": VALUE, "detail": "", "fix": VALUE, "expected": "", "runbook": ""}
    result = CheckResult(id="a/b", title="t", verdict=verdict, started_at=datetime.now(UTC), duration_s=0.0, **texts)
    checks_as_text.show_checks([result], verbose=True)
    shown = {"text": capsys.readouterr().out, "JSON": Result("t", "e", "", Checked([result])).to_json(as_json.Began())}
    if verdict not in (Verdict.OK, Verdict.SKIPPED):
        shown["SVG"] = as_svg.to_svg([result])
    if verdict is not Verdict.OK:  # there JUnit has no place for words
        shown["JUnit"] = as_junit.to_xml([result])
    assert [name for name, text in shown.items() if not leaks(text.encode(), {"mine": VALUE})] == []
