"""Every fault of the local stack is detected by the right check, with the right cause, and by no other.

What the checks said is kept in docs/faults.md: `PROMPT_KEDA_WRITE_FAULTS=1 .venv/bin/python -m pytest tests/stack/test_faults.py`.
"""

from __future__ import annotations

import os

import pytest

from prompt_keda.commands.session import open_session
from prompt_keda.components.round import choose, run_round
from prompt_keda.core.errors import DeadlinePassed
from prompt_keda.core.untrusted import neutral
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.report.causes import SYMPTOM

from .conftest import ROOT, at_the_stack_only, dependents, skip_where_lacking, until

pytestmark = at_the_stack_only  # faults are made by the stack's own user; the checks are the same at the desk
PAGE = ROOT / "docs" / "faults.md"
HEAD = """# Faults, and the checks that detect them
Made by tests/stack/test_faults.py: each fault is injected into the local stack, detected by the checks named here and by
no other, and reverted. A check that needs one of these is SKIPPED. Events: "stop" where too few workers start for the events
that come meanwhile (tests/stack/test_scaling_stops.py), so that about one visit is lost every 36 s; "go on" where there is time.

| fault | case | events | detected by | message |
|---|---|---|---|---|
"""


@pytest.fixture(scope="module")
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


@pytest.fixture(scope="module")
def rows():
    """Rows of the page. Written at the end, where that is asked for: those of faults that did not run now stay."""
    rows_ = {}
    yield rows_
    if os.environ.get("PROMPT_KEDA_WRITE_FAULTS"):
        kept = PAGE.read_text().splitlines() if PAGE.exists() else []
        for fault in ALL_FAULTS:
            old = [line for line in kept if line.startswith(row_start(fault))]
            rows_.setdefault(fault.id, old[0] if old else "")
        PAGE.write_text(HEAD + "".join(f"{rows_[fault.id]}\n" for fault in ALL_FAULTS if rows_[fault.id]))


def row_start(fault):
    return f"| {fault.title} | {fault.case} | {'stop' if fault.stops_scaling else 'go on'} |"


def look():
    with open_session("local") as session:
        return {result.id: result for result in run_round(session.systems, choose())}


def not_green(results):
    return {
        id_: result.verdict.value for id_, result in results.items() if result.verdict.value not in ("ok", "skipped")
    }


def skipped_in(results):
    return {id_ for id_, result in results.items() if result.verdict.value == "skipped"}


def until_green(when):
    """Return what is seen once nothing is red or amber; what has nothing to look at on this stack is skipped all the same."""
    last = {}

    def green():
        results = look()
        last.clear()
        last.update(not_green(results))
        return None if last else results

    try:
        return until(green, 90, when)
    except DeadlinePassed as error:
        raise AssertionError(f"{when}: still {last}") from error


@pytest.mark.exhaustive  # about a quarter of a minute each
@pytest.mark.parametrize("fault", ALL_FAULTS, ids=[fault.id for fault in ALL_FAULTS])
def test_a_fault_is_detected_by_its_checks_and_by_no_other(fault, stage, rows):
    """Green before; then exactly the verdicts that the fault names, with its cause; green again once it is reverted."""
    skip_where_lacking(fault)
    idle = skipped_in(until_green(f"before {fault.id}"))
    try:
        fault.inject(stage)
        results = look()
    finally:
        fault.revert(stage)
    verdicts = not_green(results)
    if fault.stops_scaling and SYMPTOM not in fault.expected_checks:
        verdicts.pop(SYMPTOM, None)  # whether it is red yet is a matter of seconds
    assert verdicts == dict(fault.expected_checks), {id_: results[id_].observed for id_ in not_green(results)}
    assert skipped_in(results) <= dependents({*fault.expected_checks, SYMPTOM}) | set(fault.left_out) | idle
    first = results[next(iter(fault.expected_checks))]
    assert any(cause in first.observed for cause in fault.causes), first.observed
    assert first.fix
    until_green(f"after {fault.id}")
    texts = neutral(first.observed).replace("|", "/")[:160]
    names = ", ".join(f"{id_} ({verdict})" for id_, verdict in fault.expected_checks.items())
    rows[fault.id] = f"{row_start(fault)} {names} | {texts} |"
