"""Read-only, proven by the API server's own audit log: what check-deps asked for, as the person oncall."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from prompt_keda.clients.kube.resources import CONFIG_MAPS
from prompt_keda.commands.session import open_session
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.components.round import choose, run_round
from prompt_keda.core.check import Check
from prompt_keda.core.outcomes import ok
from prompt_keda.lab import settings
from tests.in_process import run_in_process

from .conftest import ENV, ROOT, at_the_stack_only, changed_environment, run_json

pytestmark = at_the_stack_only  # the log is the stack's own
PERSON = "ldap:oncall"
PATIENT = "60"
"""Seconds for a round: this is about what it asks, on a machine that may be busy."""
SELF_REVIEWS = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}
REDIS, KEDA, SMOKE = "prompt-redis", "keda", "prompt-keda-smoke"


def asked_since(start):
    """Return what the person asked the API server for since then: one entry a request, refused ones too."""
    entries = [json.loads(line) for line in whole_lines(settings.current_lab().audit_log)]
    mine = [entry for entry in entries if entry["user"]["username"] == PERSON]
    return [entry for entry in mine if datetime.fromisoformat(entry["requestReceivedTimestamp"]) >= start]


def whole_lines(log):
    """Return the lines of a log and of the one before it: the API server begins a new one at 20 MiB."""
    texts, number = [], None
    while number != log.stat().st_ino:  # it was begun again while we read
        number, texts = log.stat().st_ino, []
        for file in sorted(log.parent.glob(f"{log.stem}*{log.suffix}")):  # "-" is before ".": the older one first
            with suppress(FileNotFoundError):
                texts.append(file.read_text())
    return [line for text in texts for line in text.split("\n")[:-1]]  # the last may not be whole yet


def about(entry):
    """Return group, resource with subresource, namespace and name."""
    what = entry.get("objectRef", {})
    kind = "/".join(filter(None, (what.get("resource"), what.get("subresource"))))
    return what.get("apiGroup", ""), kind, what.get("namespace", ""), what.get("name", "")


def is_reading(entry):
    """Get, list, watch, a review of oneself, or a port-forward to Redis or KEDA; a Secret by its name alone."""
    verb, (_, kind, namespace, name) = entry["verb"], about(entry)
    if kind in SELF_REVIEWS:
        return verb == "create"
    if kind == "pods/portforward":
        return namespace in (REDIS, KEDA) and bool(name)
    if kind == "secrets":
        return verb == "get" and bool(name)
    return verb in ("get", "list", "watch") and kind.partition("/")[2] in ("", "log", "status", "scale")


def is_deep(entry):
    """A dry run, a review of KEDA's accounts, or the canary in the smoke test's namespace."""
    verb, (group, kind, namespace, _) = entry["verb"], about(entry)
    if "All" in parse_qs(urlsplit(entry["requestURI"]).query).get("dryRun", []):
        return verb == "patch"
    if kind == "subjectaccessreviews":
        return verb == "create"
    return (group, kind, namespace) == ("batch", "jobs", SMOKE) and verb in ("create", "delete")


def requests(entries):
    return [(entry["verb"], entry["requestURI"]) for entry in entries]


def test_check_deps_reads_and_nothing_else(deployed):
    """Every request of the whole round, as the API server saw it."""
    start = datetime.now(UTC)
    code, document = run_json("check-deps", "--env", ENV, "--timeout", PATIENT)
    entries = asked_since(start)
    red = [result for result in document["results"] if result["verdict"] in ("fail", "unknown")]
    assert (code, red) == (0, []) and len(entries) > 20
    assert requests(entry for entry in entries if not is_reading(entry)) == []
    assert {about(entry)[1] for entry in entries} >= {"selfsubjectreviews", "pods/portforward", "scaledjobs"}


def test_a_check_that_writes_is_seen(deployed, admin, monkeypatch):
    """Otherwise the test above would prove nothing."""
    name = f"written-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}

    def write(systems):
        systems.kube.create(CONFIG_MAPS, body, "default")
        return ok("written")

    defective = Check("cluster/writes", "it writes", write, ("cluster/api-answers",))
    monkeypatch.setattr("prompt_keda.components.catalogue.ALL_CHECKS", (*ALL_CHECKS, defective))
    start = datetime.now(UTC)
    try:
        with open_session("local") as session:
            run_round(session.systems, choose("cluster"))
    finally:
        admin.delete(CONFIG_MAPS, name, "default")
    writes = [entry for entry in asked_since(start) if not is_reading(entry)]
    assert [(entry["verb"], *about(entry)[1:3]) for entry in writes] == [("create", "configmaps", "default")]


def test_a_deep_round_writes_its_canary_alone(deployed, admin):
    """Beside reading: dry runs, reviews of KEDA's accounts, one Job made and deleted. Nothing of it is left."""
    start = datetime.now(UTC)
    code, document = run_json("check-deps", "--env", ENV, "--deep")
    assert code == 0, [result for result in document["results"] if result["verdict"] != "ok"]
    entries = asked_since(start)
    assert requests(entry for entry in entries if not is_reading(entry) and not is_deep(entry)) == []
    deep = [(entry["verb"], about(entry)[1]) for entry in entries if is_deep(entry)]
    assert deep.count(("create", "jobs")) == deep.count(("delete", "jobs")) == 1
    assert {("create", "subjectaccessreviews"), ("patch", "deployments")} <= set(deep)


def is_writing(entry):
    """Anything but reading and dry runs; a review of oneself writes nothing."""
    dry = "All" in parse_qs(urlsplit(entry["requestURI"]).query).get("dryRun", [])
    return not (dry or is_reading(entry) or (about(entry)[1] == "secrets" and entry["verb"] in ("get", "list")))


WRONG_CLUSTER = [("${lab:kube_system_uid}", "00000000-0000-0000-0000-000000000000")]
WRONG_CA = [("${lab:ca_sha256}", "ab" * 32)]
DIGEST = [("approval: none", "approval: digest")]
CONFIRM = [("approval: none", "approval: confirm")]


@pytest.mark.parametrize("task", ["redeploy", "smoke"])
@pytest.mark.parametrize(
    ("replaced", "arguments", "message"),
    [
        (WRONG_CLUSTER, (), "is another cluster than environment local means"),
        (WRONG_CA, (), "is another cluster than environment local means"),
        (DIGEST, (), "there is no terminal to ask"),
        (CONFIRM, (), "there is no terminal to ask"),
        (DIGEST, ("--approve", "0123456789abcdef"), "is not the digest"),
    ],
)
def test_what_is_refused_writes_nothing(deployed, tmp_path, monkeypatch, capsys, task, replaced, arguments, message):
    """Exit code 2, one message, and not one write in the audit log."""
    monkeypatch.setenv("CI", "true")
    start = datetime.now(UTC)
    argv = [task, "--env", changed_environment(tmp_path, environment=replaced), *arguments, "--json"]
    code, out, _ = run_in_process(monkeypatch, capsys, ROOT, *argv)
    assert code == 2 and message in json.loads(out)["error"]["what"]
    entries = asked_since(start)
    assert entries and requests(entry for entry in entries if is_writing(entry)) == []


def test_a_write_of_a_redeploy_is_seen(deployed):
    """Otherwise the test above would prove nothing."""
    kinds = {about(entry)[1] for entry in asked_since(deployed.began) if is_writing(entry)}
    assert {"configmaps", "scaledjobs"} <= kinds  # the stack's log leaves Leases out
