"""A runbook is run as its page reads: approved where that is asked for, kept in the incident's record, run again after a kill.

And what its page offers to somebody without the toolkit runs as well, where it only reads.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess

import pytest

from prompt_keda.environment.loading import load_environment
from prompt_keda.lab.drills.drill import runbook_of
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.runbooks.page import DIAGNOSIS
from tests import shell_blocks

from .conftest import AT_DESK, ENV, ROOT, at_the_stack_only, command, run_json, run_task, runs_folder, until

FAULTS = {entry.id: entry for entry in ALL_FAULTS}
EXHAUSTIVE = pytest.mark.exhaustive
SAMPLE = ("redis/group-gone",)
"""Of every test run; that KEDA's own parts are repaired unattended is shown by the drill of test_drills.py."""
MORE = (
    *("keda/operator-gone", "keda/another-ca", "keda/crd-of-another-version", "keda/part-of-another-version"),
    *("keda/certificates-gone", "keda/operator-crash-loops", "keda/webhooks-crash-loop", "keda/paused"),
    *("keda/scaled-job-deleted", "keda/deletion-stuck", "keda/crd-gone", "keda/jobs-without-generation"),
    *("keda/watches-elsewhere", "keda/operator-frozen", "redis/streams-gone", "cluster/metrics-service-gone"),
)
"""Those that a runbook's own commands repair, about a minute each."""


@pytest.fixture(scope="module")
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


@pytest.fixture
def operator_gone(stage):
    fault = FAULTS["keda/operator-gone"]
    fault.inject(stage)
    yield
    fault.revert(stage)


def approved(name):
    """Return --approve with the digest that --plan printed, where the environment asks for it."""
    code, plan = run_json("runbook", name, "--env", ENV, "--plan")
    assert code == 0, plan
    return ("--approve", plan["digest"]) if AT_DESK else ()


def record(incident):
    folder = runs_folder().parent / "incidents" / incident
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


@pytest.mark.desk_first
def test_a_runbook_brings_keda_back_and_its_record_is_whole(operator_gone):
    """Each step has its beginning and its end; its verification closes the incident; the page tells it."""
    code, document = run_json("runbook", "keda-gone", "--env", ENV, *approved("keda-gone"))
    assert code == 0, document
    assert [entry["id"] for entry in document["steps"]][-3:] == ["mitigation/1", "verification/1", "verification/2"]
    entries = record(document["incident"])
    assert [entry["event"] for entry in entries if entry["step"] == "incident"] == ["cluster", "opened", "closed"]
    steps = [entry for entry in entries if entry["step"].startswith("keda-gone/")]
    assert [entry["event"] for entry in steps] == ["begin", "done"] * len(document["steps"])
    code, report = run_json("report", "--env", ENV, "--incident", document["incident"])
    assert code == 0 and "KEDA recovered in" in report["chat"] and "<h2>Timeline</h2>" in report["html"]


@pytest.mark.desk_only
def test_without_a_terminal_nothing_is_run_that_was_not_approved(deployed):
    """Exit 2, and the digest is named. The local stack needs no approval."""
    done = run_task("runbook", "keda-gone", "--env", ENV)
    assert done.returncode == 2 and "--approve" in done.stderr
    done = run_task("runbook", "keda-gone", "--env", ENV, "--approve", "0" * 16)
    assert done.returncode == 2 and "another digest" in done.stderr


@at_the_stack_only
@pytest.mark.exhaustive  # the lock of the killed run has to expire
def test_a_runbook_that_is_killed_in_its_mitigation_goes_on_with_the_same_run(operator_gone):
    """SIGKILL of everything; then the same command again: the redeploy is resumed, and the record tells both."""
    before = {entry.name for entry in runs_folder().glob("*")}
    process = subprocess.Popen(
        command("runbook", "keda-gone", "--env", ENV), cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )

    def at_work():
        new = [entry for entry in runs_folder().glob("*") if entry.name not in before]
        return any(
            '"install/' in (entry / "journal.jsonl").read_text() for entry in new if (entry / "journal.jsonl").exists()
        )

    until(at_work, 90, "a redeploy that installs")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, document = run_json("runbook", "keda-gone", "--env", ENV)
    assert code == 0, document
    assert "invoke resume" in next(entry["command"] for entry in document["steps"] if entry["id"] == "mitigation/1")
    events = [entry["event"] for entry in record(document["incident"]) if entry["step"] == "keda-gone/mitigation/1"]
    assert events == ["begin", "begin", "done"]


@at_the_stack_only
@pytest.mark.parametrize(
    "id_", [*map(pytest.param, SAMPLE), *(pytest.param(entry, marks=EXHAUSTIVE) for entry in MORE)]
)
def test_respond_finds_the_root_cause_and_its_runbook_brings_scaling_back(stage, id_):
    """Unattended on the local stack."""
    fault = FAULTS[id_]
    try:
        fault.inject(stage)
        code, document = run_json("respond", "--env", ENV, timeout=900)  # of five runbooks at most
    finally:
        fault.revert(stage)
    assert code == 0, document
    assert document["ran"][0]["runbook"] == runbook_of(fault)
    left = [entry for entry in document["causes"] if entry["worst"] != "warn"]
    assert left == [], "amber may stay: workers that failed while the group was gone are told until new ones end well"


@pytest.mark.desk_only
def test_respond_proposes_and_does_nothing_where_nobody_is_asked(operator_gone):
    """At the desk, without a terminal; the stack's own environment needs no approval."""
    code, document = run_json("respond", "--env", ENV)
    assert code == 1 and document["proposed"]["runbook"] == "keda-gone" and document["ran"] == []


def test_a_note_is_kept(deployed):
    """In the open incident, or a new one."""
    code, document = run_json("note", "asked the owners", "--env", ENV)
    assert code == 0
    assert [entry["detail"] for entry in record(document["incident"]) if entry["step"] == "note"][
        -1
    ] == "asked the owners"


NOT_HERE = ("--previous", "vaultsecrets", "vault ", ":?}")
"""Lines that fail on a healthy stack: no operator has restarted, it has no vault-secrets-operator and no vault on its PATH, and
nobody has set the names that a person sets."""


def marks(page):
    """Return the marks of a page's test: a few pages in each run, about ten seconds each, the others in an exhaustive one."""
    return [] if page.name in ("keda-gone", "redis-lag-wrong") else [EXHAUSTIVE]


@at_the_stack_only
@pytest.mark.parametrize("page", [pytest.param(page, id=page.name, marks=marks(page)) for page in shell_blocks.PAGES])
def test_the_lines_of_a_diagnosis_run_as_they_stand(deployed, page):
    """With the names of the first block, and what a pipe begins with has to end well too."""
    reading = [line.text for line in shell_blocks.lines(page) if line.section == DIAGNOSIS]
    reading = [text for text in reading if not any(sign in text for sign in NOT_HERE)]
    script = ["set -o pipefail", shell_blocks.first_block()]
    script += [f"{{ {text}; }} >/dev/null || echo {shlex.quote(text)}" for text in reading]
    done = run_task("lab.exec", "--", "bash", "-c", "\n".join(script))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@at_the_stack_only
@pytest.mark.exhaustive  # some twenty starts of the stack's kubectl
def test_kubectl_has_the_flags_that_pages_use(endpoints):
    """As its own help lists them, for each subcommand."""
    options = run_task("lab.exec", "--", "kubectl", "options").stdout
    for name, flags in {**shell_blocks.KUBECTL_READS, **shell_blocks.KUBECTL_WRITES}.items():
        children = {"auth": "can-i", "config": "view", "rollout": "status"}
        help_ = run_task("lab.exec", "--", "kubectl", name, *filter(None, [children.get(name)]), "--help")
        assert help_.returncode == 0
        missing = [
            flag for flag in flags if not re.search(rf"^ +.*(?<![\w-]){flag}[=,]", help_.stdout + options, re.MULTILINE)
        ]
        assert missing == [], name
