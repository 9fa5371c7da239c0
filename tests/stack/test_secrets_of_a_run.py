"""No secret is shown by a redeploy: not by its plan, nor in its run's folder, however it ends."""

from __future__ import annotations

import json
import shutil
import tarfile

from .conftest import at_the_stack_only
from .planted_stack import docker_config

pytestmark = at_the_stack_only  # Vault, Redis and registry are filled, which needs their administrator


def run_folder(planted):
    """Return the newest run's folder."""
    return max((planted.state / "prompt-keda/runs").iterdir(), key=lambda path: path.stat().st_mtime)


def has_left_a_report(planted, completed, function):
    """Return whether an unexpected error has left a report with its places; it stays among what is searched."""
    assert b"ValueError, an unexpected error" in completed.stderr and completed.code == 3, completed.stderr
    (report,) = (planted.folder / "tmp").glob("prompt-keda-*.txt")
    shutil.move(report, planted.out / f"{function}.txt")
    return function in (planted.out / f"{function}.txt").read_text()


def test_a_plan_shows_no_value(planted):
    """As text and as JSON: the Secrets that differ from Vault are named."""
    planted.write_environment()
    plain, document = planted.run("plan"), planted.run("plan", "--json")
    assert plain.code == document.code == 0 and b"missing or drifted from Vault" in plain.stdout
    assert planted.leaks(plain.stdout, plain.stderr, document.stdout, document.stderr) == []


def test_a_plan_with_a_defect_shows_no_value(planted):
    """Its report has the places in the code, and not the words."""
    planted.write_environment()
    completed = planted.run("plan", "--json", defect="unexpected")
    assert has_left_a_report(planted, completed, "read_and_raise")
    assert planted.leaks(completed.stdout, completed.stderr) == []


def test_a_redeploy_shows_no_value_however_it_ends(planted):
    """Refused because the API server would not take a Secret, broken by a defect in its middle, and resumed to its end."""
    planted.write_environment()
    torn = docker_config("registry-1", planted.values["registry-1"])[:-2]
    redeploy = ("redeploy", "--mode", "reinstall")
    with planted.vault_holds("pull-secret", {".dockerconfigjson": torn}):
        refused = planted.run(*redeploy)
    assert refused.code == 2 and b"<secret contents redacted>" in refused.stderr, refused.stderr
    broken = planted.run(*redeploy, defect="writing")
    assert has_left_a_report(planted, broken, "write_and_raise")
    resumed = planted.run("resume", "--json")
    assert resumed.code == 0, resumed.stderr
    files = {completed.name for completed in run_folder(planted).iterdir()}
    assert files >= {"journal.jsonl", "snapshot.json", "plan.json", "report.json"}
    assert any(name.endswith("snapshot.json.gz") for name in planted.copied())
    outputs = [text for completed in (refused, broken, resumed) for text in (completed.stdout, completed.stderr)]
    assert planted.leaks(*outputs) == []
    assert json.loads(resumed.stdout)["smoke"]["acknowledged_count"]  # KEDA and the workers log in with planted values


def test_a_runbook_and_its_incident_show_no_value(planted):
    """Each command's document is kept, and the page is made of them."""
    planted.write_environment()
    ran = planted.run("runbook", "keda-gone")
    kept = list((planted.state / "prompt-keda/incidents").glob("*/*.json"))
    assert len(kept) >= 3 and b"mitigation/1" in ran.stdout, ran.stderr
    report = planted.run("report", "--html", str(planted.out / "incident.html"))
    assert report.code == 0, report.stderr
    assert planted.leaks(ran.stdout, ran.stderr, report.stdout, report.stderr) == []


def test_a_bundle_holds_no_value(planted):
    """Unpacked as well: objects, events and logs. That something was taken out shows that it is looked for."""
    planted.write_environment()
    archive = planted.out / "bundle.tar.gz"
    made = planted.run("bundle", "--file", str(archive))
    assert made.code == 0, made.stderr
    with tarfile.open(archive) as packed:
        texts = [packed.extractfile(file).read() for file in packed.getmembers()]
    assert len(texts) > 10 and archive.stat().st_mode & 0o077 == 0
    assert planted.leaks(made.stdout, made.stderr, *texts) == []


def test_no_child_is_given_a_value(planted):
    """The login's plugin is the one program that the toolkit starts: neither its arguments nor its environment."""
    children = (planted.out / "children.jsonl").read_text().splitlines()
    assert children and all("--config" in json.loads(child)[0] for child in children)
    assert planted.leaks() == []  # that file is among what is searched


def test_a_run_that_reports_a_value_is_caught(planted):
    """Otherwise the tests above would prove nothing: in its journal as well."""
    planted.write_environment()
    completed = planted.run("redeploy", defect="told")
    places = {place for place, _, _ in planted.leaks(completed.stdout, completed.stderr)}
    folder = run_folder(planted)
    shutil.rmtree(folder)  # it is among what is searched
    assert completed.code and {"output 1", str(folder / "journal.jsonl")} <= places
