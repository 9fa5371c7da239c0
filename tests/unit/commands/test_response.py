"""A response goes from what is seen to the runbook that fits, asks where it has to, and ends. Without a cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from prompt_keda.commands import bundle, incidents, runbooks
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.components.round import unobserved
from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.errors import Refusal
from prompt_keda.core.event import nobody
from prompt_keda.core.places import RUNBOOKS, incidents_folder
from prompt_keda.core.run_checks import INTERRUPTED
from prompt_keda.records.incident import Incident
from prompt_keda.runbooks.commands import Ran
from prompt_keda.runbooks.loading import find_runbook
from tests.runs import cluster_of
from tests.unit.world import World, WorldSession

CHECKS = {check.id: check for check in ALL_CHECKS}
RUNBOOK = find_runbook(RUNBOOKS, "keda-gone")


def result(check_id, verdict):
    check = CHECKS[check_id]
    return CheckResult(
        check_id, check.title, Verdict(verdict), "", "seen", "", "", check.runbook, datetime.now(UTC), 0.0
    )


class Toolkits:
    def __init__(self):
        self.world = World()
        self.looks, self.codes, self.commands, self.runs = [], {}, [], []

    @property
    def session(self):
        return self.world.session

    def needs_approval(self):
        environment = self.world.systems.environment
        self.world.systems.environment = environment.model_copy(update={"approval": "digest"})


@pytest.fixture
def toolkits(monkeypatch, tmp_path):
    """What the toolkit would say: looks one after the other, codes of commands, approval and digests."""
    scripted = Toolkits()

    def look(systems, checks, observe=None):
        results = scripted.looks.pop(0) if len(scripted.looks) > 1 else scripted.looks[0]
        return [result(*verdict) for verdict in results.items()]

    def command(words):
        scripted.commands.append(" ".join(words))
        return Ran(scripted.codes.get(words[0], 0), {}, 0.1)

    for module in (runbooks, bundle):
        monkeypatch.setattr(module, "run_round", look)
    monkeypatch.setattr(runbooks, "runs_here_and_in_cluster", lambda systems, folder, **_: (scripted.runs, [], ""))
    monkeypatch.setattr(WorldSession, "for_writing", lambda session: None)
    monkeypatch.setattr(runbooks.planner, "make_plan", lambda context, options: SimpleNamespace(digest="d1"))
    monkeypatch.setattr(runbooks, "smoke_digest", lambda environment: "d2")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(runbooks, "run_command", command)
    return scripted


GONE, GREEN = {"keda/parts-ready": "fail"}, {"keda/parts-ready": "ok"}


def respond(toolkits, ask=None):
    return runbooks.respond(toolkits.session, unobserved, nobody, ask)


def test_what_is_green_needs_nothing(toolkits):
    """No incident is opened."""
    toolkits.looks = [GREEN]
    assert respond(toolkits).parts.message == "nothing is broken"
    assert toolkits.commands == [] and not incidents_folder().exists()


def test_a_cause_is_answered_and_then_looked_at_again(toolkits):
    """Green afterwards: exit code 0."""
    toolkits.looks = [GONE, GREEN]
    done = respond(toolkits)
    assert done.exit_code == 0 and [run.runbook for run in done.parts.ran] == ["keda-gone"]
    assert "redeploy --env local" in toolkits.commands
    assert Incident.find_open(incidents_folder(), cluster_of("local")) is None, "its verification has closed it"


def test_a_runbook_that_does_not_help_is_not_run_again(toolkits):
    """What is left stays red; it does not go round in circles."""
    toolkits.looks, toolkits.codes = [GONE], {"redeploy": 1}
    done = respond(toolkits)
    assert done.exit_code == 1 and len(done.parts.ran) == 1
    assert done.parts.message == "1 cause left"


def test_the_next_cause_follows(toolkits):
    """Redis first, then what is left of KEDA."""
    both = {"redis/answers": "fail", "keda/parts-ready": "fail"}
    toolkits.looks = [both, GONE, GREEN]
    assert [run.runbook for run in respond(toolkits).parts.ran] == ["redis-gone", "keda-gone"]


@pytest.mark.parametrize("code", [2, 130])
def test_what_was_refused_or_stopped_ends_the_response(toolkits, code):
    """A person has to look."""
    toolkits.looks, toolkits.codes = [GONE], {"redeploy": code}
    assert respond(toolkits).exit_code == code


@pytest.mark.parametrize(("ask", "ran"), [(None, 0), (lambda question: "no\n", 0), (lambda question: "yes\n", 1)])
def test_where_an_approval_is_wanted_a_person_is_asked(toolkits, ask, ran):
    """Without a terminal, or with a no, it is proposed and not run."""
    toolkits.looks = [GONE, GREEN]
    toolkits.needs_approval()
    done = respond(toolkits, ask)
    assert len(done.parts.ran) == ran
    assert (done.parts.proposed is not None) == (not ran) and bool(toolkits.commands) == bool(ran)


def test_one_digest_covers_the_page_and_all_that_it_would_write(toolkits):
    """Another page, or another plan, is another digest; what was approved is handed on."""
    toolkits.needs_approval()
    digest = runbooks.plan_runbook(toolkits.session, "keda-gone").parts.digest
    done = runbooks.run(toolkits.session, "keda-gone", "", digest, nobody, None)
    assert done.exit_code == 0
    assert "redeploy --env local --approve d1" in toolkits.commands
    assert "smoke --env local --approve d2" in toolkits.commands
    assert runbooks._digest(RUNBOOK, {"redeploy": "d1"}) != runbooks._digest(RUNBOOK, {"redeploy": "other"})


@pytest.mark.parametrize("approve", ["", "0" * 16])
def test_without_the_right_digest_and_a_terminal_nothing_is_run(toolkits, approve):
    """It is refused before the first command, and the digest is named."""
    toolkits.needs_approval()
    with pytest.raises(Refusal) as refused:
        runbooks.run(toolkits.session, "keda-gone", "", approve, nobody, None)
    assert runbooks.plan_runbook(toolkits.session, "keda-gone").parts.digest in refused.value.fix
    assert toolkits.commands == [] and not incidents_folder().exists()


def test_a_step_that_is_not_there_is_refused(toolkits):
    """With those that are."""
    with pytest.raises(Refusal, match="has no step 'mitigation/9'") as refused:
        runbooks.run(toolkits.session, "keda-gone", "mitigation/9", "", nobody, None)
    assert "mitigation/1" in refused.value.fix


@pytest.mark.parametrize(
    ("run_id", "state", "resumed"),
    [
        ("29991231t000000z-local-7", "interrupted", True),
        ("29991231t000000z-local-7", "failed", True),
        ("29991231t000000z-local-7", "green", False),
        ("19991231t000000z-local-7", "interrupted", False),
    ],
)
def test_a_redeploy_of_this_incident_that_has_not_ended_is_resumed(toolkits, run_id, state, resumed):
    """One of long ago, or one that ended, is not."""
    toolkits.runs = [SimpleNamespace(run_id=run_id, state=state)]
    runbooks.run(toolkits.session, "keda-gone", "", "", nobody, None)
    assert (f"resume --env local --run {run_id}" in toolkits.commands) == resumed
    assert ("redeploy --env local" in toolkits.commands) != resumed


def test_a_note_opens_an_incident_and_the_report_reports_it(toolkits):
    """And one without a word is refused."""
    with pytest.raises(Refusal):
        incidents.note(toolkits.session, "  ", nobody)
    incidents.note(toolkits.session, "asked the owners", nobody)
    report = incidents.report(toolkits.session, "")
    assert "asked the owners" in report.parts.markdown and "open, not verified yet" in report.parts.chat


def test_a_person_closes_an_incident_and_that_is_no_verification(toolkits):
    """By hand, or by nothing: the toolkit has not seen it well again."""
    with pytest.raises(Refusal, match="no incident of environment local is open"):
        incidents.note(toolkits.session, "done", nobody, close=True)
    incidents.note(toolkits.session, "asked the owners", nobody)
    incidents.note(toolkits.session, "they have *repaired* it", nobody, close=True)
    assert Incident.find_open(incidents_folder(), cluster_of("local")) is None
    report = incidents.report(toolkits.session, "").parts
    assert "closed after" in report.chat and "they have *repaired* it" in report.chat
    assert "- state: closed" in report.markdown and "- closed by " in report.markdown
    assert all("verified" not in text and "after verification" not in text for text in (report.chat, report.markdown))
    assert '<b class="interrupted">closed</b>' in report.html


@pytest.mark.parametrize("incident_id", ["29991231t000000z-local-7", "29991231t000000z-prod-7", "../../etc"])
def test_an_incident_that_is_not_there_is_refused(toolkits, incident_id):
    """An id is no path."""
    with pytest.raises(Refusal):
        incidents.report(toolkits.session, incident_id)


def test_a_damaged_record_is_refused(toolkits):
    """It names the folder."""
    incidents.note(toolkits.session, "x", nobody)
    incident = Incident.find_newest(incidents_folder(), cluster_of("local"))
    (incident.path / "journal.jsonl").write_text("torn")
    with pytest.raises(Refusal, match="is damaged"):
        incidents.report(toolkits.session, "")


def test_an_incident_is_closed_by_who_knows_that_it_is_over(toolkits):
    """The next runbook begins one of its own, and does not go on with this one's run. Without one nothing is done."""
    toolkits.looks = [GONE, GREEN]
    toolkits.codes = {"redeploy": 1}
    runbooks.run(toolkits.session, "keda-gone", "", "", nobody, None)
    assert Incident.find_open(incidents_folder(), cluster_of("local"))
    for _ in range(2):
        incidents.close_incident(cluster_of("local"), "the drill is over")
    assert Incident.find_open(incidents_folder(), cluster_of("local")) is None


@pytest.mark.parametrize("asks", [respond, lambda toolkits: bundle.bundle(toolkits.session, "", nobody)])
def test_a_look_that_a_person_has_stopped_begins_nothing(toolkits, monkeypatch, asks):
    """What was not looked at any more is unknown, and would be a cause."""
    stopped = [replace(result("keda/parts-ready", "unknown"), observed=INTERRUPTED)]
    for module in (runbooks, bundle):
        monkeypatch.setattr(module, "run_round", lambda *_: stopped)
    with pytest.raises(KeyboardInterrupt):
        asks(toolkits)
    assert toolkits.commands == [] and not incidents_folder().exists()
