"""Every page of runbooks/ can be run: its commands parse, its links resolve, and each check finds its own."""

from __future__ import annotations

import re
import sys

import pytest
from invoke.parser import Parser

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.places import RUNBOOKS
from prompt_keda.lab.drills.drill import runbook_of
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.report.causes import ORDER
from prompt_keda.runbooks.loading import load_runbooks, runbook_names
from prompt_keda.runbooks.page import DIAGNOSIS, VERIFICATION

sys.path.insert(0, str(RUNBOOKS.parent))
from tasks import namespace

PAGES = list(load_runbooks(RUNBOOKS))
LINK = re.compile(r"\]\(([^)]+)\)")
ONLY_READS = ("check-deps", "plan", "history")


def by_name(runbook):
    return runbook.name


def only(step):
    words = list(step.words)
    return tuple(words[words.index("--only") + 1].split(",")) if "--only" in words else ("",)


def test_every_check_names_a_runbook_and_every_runbook_is_named():
    """No red line leaves a person without a page, and no page is dead."""
    named = {entry.runbook for entry in ALL_CHECKS}
    assert named == set(runbook_names(RUNBOOKS)) == set(ORDER)


def looked_at(page, section):
    """Return the starts of the ids that a section's checks look at."""
    steps = [entry for entry in page.steps if entry.section == section and entry.task == "check-deps"]
    return tuple(start for entry in steps for start in only(entry))


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_its_commands_are_tasks_with_flags_that_exist(page):
    """As invoke itself reads them; ``--only`` fits checks."""
    for step in page.steps:
        parsed = Parser(contexts=namespace.to_contexts()).parse_argv([*step.words, "--env", "prod"])
        assert [argument.name for argument in parsed] == [step.task]
        for start in only(step):
            assert any(argument.id.startswith(start) for argument in ALL_CHECKS), f"{step.id}: no check fits {start!r}"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_its_links_resolve(page):
    """Relative to the page."""
    for link in LINK.findall((RUNBOOKS / f"{page.name}.md").read_text()):
        file, _, anchor = link.partition("#")
        assert (RUNBOOKS / file).exists(), link
        assert not anchor or anchor in anchors(RUNBOOKS / file), link


def anchors(path):
    """Return the anchors that a code host makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_its_diagnosis_only_reads_and_its_verification_looks_at_what_led_to_it(page):
    """Otherwise a page could be green while the check that named it is red. Deep checks need rights of their own."""
    assert page.steps[0].section == "Diagnosis"
    assert all(entry.task in ONLY_READS for entry in page.steps if entry.section == "Diagnosis")
    for check in ALL_CHECKS:
        if check.runbook == page.name and not check.deep:
            for section in (DIAGNOSIS, VERIFICATION):
                assert check.id.startswith(looked_at(page, section)), f"{section}: {check.id}"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_it_says_all_that_a_person_needs(page):
    """No section is empty; what is told above a command is one line, and no table."""
    for section, text in page.sections.items():
        assert text, section
    assert not [step.text for step in page.steps if "|" in step.text]


@pytest.mark.parametrize(
    "page", [entry for entry in PAGES if any(step.task == "redeploy" for step in entry.steps)], ids=by_name
)
def test_it_says_what_to_do_where_a_redeploy_is_refused(page):
    """Where Argo CD delivers. A full sync of a ScaledJob's Application deletes its running Jobs (F6): no page asks for it."""
    assert "(README.md#where-argo-cd-delivers)" in page.sections["Mitigation"]
    assert "sync the Applications" not in page.sections["Mitigation"]


def test_what_to_do_where_argo_cd_delivers_is_reported_once():
    """And to whom what is sent: in the index, to which each page leads."""
    index = (RUNBOOKS / "README.md").read_text()
    assert "(../docs/by-hand.md)" in index and "Never a full sync" in index and "invoke bundle" in index
    for page in PAGES:
        text = (RUNBOOKS / f"{page.name}.md").read_text()
        assert "full sync" not in text and "(README.md#escalation)" in page.sections["Escalation"], page.name


def test_every_runbook_is_drilled():
    """By a fault that it answers. That this is another cluster is no fault of a stack: tests/stack/test_enrol.py shows it;
    Argo CD is not on every stack, nor a vCluster: tests/stack/test_argocd.py and test_vcluster.py break them."""
    assert {runbook_of(entry) for entry in ALL_FAULTS} == set(ORDER) - {"wrong-cluster", "argocd-disagrees", "vcluster"}
