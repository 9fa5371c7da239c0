"""Runbooks: pages are read strictly, the root cause comes first, and a run keeps what it did. Without a cluster."""

from __future__ import annotations

import os
import signal
import threading
from datetime import UTC, datetime

import pytest

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.errors import EnvironmentFileError, Refusal
from prompt_keda.core.event import nobody
from prompt_keda.core.exit_code import STOPPED
from prompt_keda.core.waiting import until
from prompt_keda.lab.drills.drill import runbook_of
from prompt_keda.lab.faults import ALL_FAULTS, argocd
from prompt_keda.records.incident import Incident
from prompt_keda.records.incident_story import CLOSED, INCIDENT, NOTE
from prompt_keda.records.record import RunFolder
from prompt_keda.report.causes import ORDER, causes
from prompt_keda.runbooks import commands
from prompt_keda.runbooks.commands import Ran, run_command
from prompt_keda.runbooks.loading import find_runbook, load_runbook
from prompt_keda.runbooks.run_runbook import RunbookOptions, code_of_runbook, run_runbook
from tests.runs import cluster_of

PAGE = """# Redis is gone
## Meaning
It does not answer.
## Impact
No event is read.
## Diagnosis
Look first.
```sh
invoke check-deps --env prod --only redis
```
## Mitigation
1. Bring it back.
```sh
invoke redeploy --env prod
```
## Verification
```sh
invoke check-deps --only redis,keda --env prod
invoke smoke --env prod
```
## Escalation
Its owners.
"""
CHECKS = {check.id: check for check in ALL_CHECKS}


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "redis-gone.md"
    path.write_text(PAGE)
    return path


@pytest.fixture
def incident(tmp_path):
    return Incident.open_(tmp_path / "prompt-keda" / "incidents", cluster_of("local"), "a test", "me@here")


def test_a_page_is_read_as_people_read_it(page):
    """Steps in order, each with the text above it; the environment is left to who runs it."""
    runbook = load_runbook(page)
    assert (runbook.name, runbook.title) == ("redis-gone", "Redis is gone")
    assert [(step.id, step.text, step.words) for step in runbook.steps] == [
        ("diagnosis/1", "Look first.", ("check-deps", "--only", "redis")),
        ("mitigation/1", "1. Bring it back.", ("redeploy",)),
        ("verification/1", "", ("check-deps", "--only", "redis,keda")),
        ("verification/2", "", ("smoke",)),
    ]
    assert runbook.sections["Escalation"] == "Its owners."


def test_what_people_copy_is_no_step(page):
    """Its lines are kept apart: no runbook runs them, and they stand in no text above a command."""
    page.write_text(
        PAGE.replace("## Mitigation\n", "By hand:\n```bash\nredis-cli PING\n# and then\n```\n## Mitigation\n")
    )
    runbook = load_runbook(page)
    assert [(block.section, block.text) for block in runbook.blocks] == [("Diagnosis", "redis-cli PING\n# and then")]
    assert len(runbook.steps) == 4 and not any("redis-cli" in step.text for step in runbook.steps)
    assert "redis-cli" not in runbook.sections["Diagnosis"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# Redis is gone\n", "Redis\n", "line 1: it has no title"),
        ("## Verification\n", "", "its sections are Meaning, Impact, Diagnosis, Mitigation, Escalation"),
        ("invoke redeploy --env prod", "kubectl delete pod", "line 14: 'kubectl delete pod' is no `invoke"),
        ("invoke redeploy --env prod", "invoke redeploy --env dev", "line 14"),
        ("invoke redeploy --env prod", "invoke redeploy", "line 14"),
        ("invoke redeploy --env prod", "", "line 14: an empty line among the commands"),
        ("invoke redeploy --env prod", "invoke 'redeploy", "line 14: No closing quotation"),
        ("```sh\ninvoke redeploy", "```\ninvoke redeploy", "line 13: a fence without `sh` or `bash`"),
        ("invoke smoke --env prod\n```\n", "invoke smoke --env prod\n", "is no `invoke"),
    ],
)
def test_a_page_of_another_form_is_refused_with_its_line(page, old, new, message):
    """Nothing is run that the page does not say plainly."""
    assert old in PAGE
    page.write_text(PAGE.replace(old, new, 1))
    with pytest.raises(EnvironmentFileError) as refused:
        load_runbook(page)
    assert message in refused.value.what


@pytest.mark.parametrize("name", ["../redis-gone", "redis", "", "--env"])
def test_a_runbook_that_is_not_there_is_refused_by_the_names_of_those_that_are(page, name):
    """A name is no path."""
    with pytest.raises(Refusal) as refused:
        find_runbook(page.parent, name)
    assert refused.value.fix == "Known: redis-gone."


class Commands:
    """Answers each task with a code, and remembers what was asked."""

    def __init__(self, **codes):
        self.codes, self.asked = codes, []

    def __call__(self, words):
        self.asked.append(" ".join(words))
        return Ran(self.codes.get(words[0].replace("-", "_"), 0), {"results": []}, 0.1)


def test_every_command_is_run_for_the_environment_and_kept(page, incident):
    """A diagnosis that sees what is broken only tells. The journal has a beginning and an end of each."""
    commands, runbook = Commands(check_deps=1), load_runbook(page)
    done = run_runbook(runbook, RunbookOptions("local", {}), incident, commands, nobody)
    assert commands.asked == [
        "check-deps --only redis --env local",
        "redeploy --env local",
        "check-deps --only redis,keda --env local",
        "smoke --env local",
    ]
    assert code_of_runbook(runbook, done) == 1, "the verification has seen that it is broken"
    events = [(command["step"], command["event"]) for command in incident.entries][1:]
    assert events[:4] == [
        (f"redis-gone/{step}", event) for step in ("diagnosis/1", "mitigation/1") for event in ("begin", "done")
    ]
    assert [incident.kept(command.file) for command in done] == [{"results": []}] * 4


@pytest.mark.parametrize(
    ("codes", "asked", "code"),
    [
        ({"redeploy": 1}, 2, 1),
        ({"redeploy": 3}, 2, 3),
        ({"redeploy": 130}, 2, 130),
        ({"check_deps": 2}, 1, 2),
        ({"check_deps": 130}, 1, 130),
        ({"smoke": 3}, 4, 3),
        ({"check_deps": 3, "smoke": 1}, 4, 1),
        ({"check_deps": 4}, 4, 4),
        ({}, 4, 0),
    ],
)
def test_it_stops_where_the_rest_makes_no_sense(page, incident, codes, asked, code):
    """After a mitigation that failed nothing is verified; what was refused or stopped ends it anywhere."""
    commands, runbook = Commands(**codes), load_runbook(page)
    done = run_runbook(runbook, RunbookOptions("local", {}), incident, commands, nobody)
    assert (len(commands.asked), code_of_runbook(runbook, done)) == (asked, code)


def test_an_interrupted_redeploy_is_resumed_and_what_was_approved_is_handed_on(page, incident):
    """And it can begin at a later step."""
    commands, runbook = Commands(), load_runbook(page)
    run_runbook(runbook, RunbookOptions("dev", {"smoke": "abc"}, "mitigation/1", "run-1"), incident, commands, nobody)
    assert commands.asked == [
        "resume --env dev --run run-1",
        "check-deps --only redis,keda --env dev",
        "smoke --env dev --approve abc",
    ]


def test_an_incident_goes_on_until_it_is_closed(tmp_path):
    """Of another environment it is another one."""
    folder = tmp_path / "prompt-keda" / "incidents"
    first = Incident.open_(folder, cluster_of("local"), "why", "me")
    assert Incident.open_(folder, cluster_of("local"), "why", "me").id == first.id
    assert Incident.find_open(folder, cluster_of("prod")) is None
    first.add(INCIDENT, CLOSED, "verified")
    assert Incident.find_open(folder, cluster_of("local")) is None
    assert [entry["event"] for entry in first.entries] == ["opened", "closed"]


def test_another_cluster_under_the_same_name_has_incidents_of_its_own(tmp_path, monkeypatch):
    """Two local stacks, or another clone: the runbook of one went on with the other's incident. A rebuilt cluster keeps its own."""
    here, there, unknown = cluster_of("local", "here"), cluster_of("local", "there"), cluster_of("local")
    first = Incident.open_(tmp_path, here, "why", "me")
    monkeypatch.setattr("prompt_keda.records.record.os.getpid", lambda: 9_999_999)  # an id has its process; sorts last
    second = Incident.open_(tmp_path, there, "why", "me")
    assert second.id != first.id
    assert Incident.find_open(tmp_path, here).id == first.id and Incident.find_open(tmp_path, there).id == second.id
    assert Incident.find_open(tmp_path, unknown).id == second.id, "where nobody has said which, it is the newest"
    second.add(INCIDENT, CLOSED, "verified")
    assert Incident.find_open(tmp_path, there) is None and not Incident.find_open(tmp_path, here).is_closed
    first.goes_on_at("rebuilt")
    assert Incident.find_open(tmp_path, cluster_of("local", "rebuilt")).id == first.id


def result(check_id, verdict):
    check = CHECKS[check_id]
    return CheckResult(
        check_id, check.title, Verdict(verdict), "", "seen", "", "", check.runbook, datetime.now(UTC), 0.0
    )


@pytest.mark.parametrize("fault", ALL_FAULTS, ids=[fault.id for fault in ALL_FAULTS])
def test_the_root_cause_of_every_fault_comes_first(fault):
    """Its runbook is the one that is proposed."""
    results = [result(*expected) for expected in fault.expected_checks.items()]
    assert causes(results)[0].runbook == runbook_of(fault)


@pytest.mark.parametrize("fault", argocd.FAULTS, ids=[fault.id for fault in argocd.FAULTS])
def test_what_argo_cd_disagrees_with_comes_before_that_its_hooks_put_jobs_at_risk(fault):
    """The second stands as long as Jobs run where it delivers: it would hide the first forever."""
    results = [result("keda/rollout-keeps-jobs", "warn"), *(result(*check) for check in fault.expected_checks.items())]
    assert causes(results)[0].runbook == runbook_of(fault)


def test_every_runbook_has_its_place_among_the_causes():
    """One that is not in the order would always come last."""
    assert {check.runbook for check in ALL_CHECKS if check.runbook} <= set(ORDER)


def test_broken_comes_before_what_is_not_seen():
    """What was skipped is a consequence."""
    results = [
        result("redis/answers", "unknown"),
        result("keda/none-paused", "warn"),
        result("keda/parts-ready", "fail"),
    ]
    ranked = causes([*results, result("redis/groups-exist", "skipped")])
    assert [cause.worst.value for cause in ranked][:2] == ["fail", "unknown"]
    assert all(check.verdict is not Verdict.SKIPPED for cause in ranked for check in cause.checks)


def test_that_events_wait_is_the_root_only_where_nothing_explains_it():
    """With a known cause the symptom is its consequence, also of one that is amber; what leaves scaling alone is none."""
    symptom = result("scaling/works", "fail")
    for id_, verdict in (("keda/parts-ready", "fail"), ("keda/none-paused", "warn"), ("capacity/quota-allows", "fail")):
        ranked = causes([symptom, result(id_, verdict)])
        assert [cause.checks[0].id for cause in ranked] == [id_, "scaling/works"]
    for id_ in ("images/pinned", "redis/fan-out-alive"):
        ranked = causes([result(id_, "warn"), symptom])
        assert [cause.checks[0].id for cause in ranked] == ["scaling/works", id_]
    assert causes([symptom])[0].runbook == "keda-does-not-scale"


def test_a_command_is_a_process_whose_document_is_kept():
    """Here one that is refused at once."""
    ran = run_command(["check-deps", "--env", "no-such-environment"])
    assert ran.exit_code == 2 and "no-such-environment" in ran.message


def test_a_command_is_stopped_by_what_stops_us(tmp_path, monkeypatch):
    """By SIGTERM, which is for us alone: its end is waited for, and it counts as stopped though it ended well."""
    program = "import pathlib, signal, time\nsignal.signal(signal.SIGTERM, lambda *_: exit(0))\n"
    (tmp_path / "tasks.py").write_text(f"{program}pathlib.Path('up').touch()\ntime.sleep(60)\n")
    monkeypatch.setattr(commands, "TASKS", tmp_path / "tasks.py")
    monkeypatch.chdir(tmp_path)

    def stop(number, frame):
        raise KeyboardInterrupt(number)

    def end():
        until((tmp_path / "up").exists, "the command", 20)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        threading.Thread(target=end).start()
        ran = run_command(["redeploy"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ran.exit_code == STOPPED and ran.duration_s < 30


def test_an_incident_whose_beginning_was_cut_off_is_begun_again(tmp_path):
    """By a full disk, or SIGKILL: its folder is there, and what is noted in it later has to be told."""
    folder = tmp_path / "prompt-keda" / "incidents"
    RunFolder.create(folder, "local")
    Incident.open_(folder, cluster_of("local"), "why", "me").add(NOTE, "the dome is closed")
    assert Incident.open_(folder, cluster_of("local"), "more", "me").story().id
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("code", "document", "words"),
    [
        (0, {"plan": {"mode": "repair", "digest": "d"}}, "mode repair, digest d: nothing was changed yet"),
        (0, {"smoke": {"events_count": 6, "job_uids": ["a"] * 5}}, "scaling works: 6 events made 5 Jobs"),
        (0, {}, "done"),
        (3, {"smoke": {}}, "exit code 3"),
        (130, {}, "stopped"),
    ],
)
def test_a_step_is_reported_by_what_its_command_gave(code, document, words):
    """A plan verifies nothing, and does not say so."""
    assert Ran(code, document, 1.0).message == words
