"""check-deps on the real stack: seen green, and red with the right cause."""

from __future__ import annotations

import json

import pytest

from prompt_keda.clients.kube.resources import PODS, SCALED_JOBS, STATEFUL_SETS
from prompt_keda.lab import processes, settings, state

from .conftest import (
    AT_DESK,
    ENV,
    INSTRUMENT,
    NOT_HERE,
    at_the_stack_only,
    dependents,
    run_json,
    run_task,
    runs_folder,
    sealed,
    until,
)

NOT_SEEN = {"identity/ldap-answers"} if AT_DESK else set()
"""The directory cannot be reached from the desk, so it is never green there."""


def by_verdict(document):
    ids = {}
    for result in document["results"]:
        ids.setdefault(result["verdict"], set()).add(result["id"])
    return ids


@pytest.mark.viewpoint
def test_all_is_green_after_a_redeploy(deployed):
    """Exit code 0, every check OK, and the document has what is promised. What cannot be seen is UNKNOWN, and 3."""
    code, document = run_json("check-deps", "--env", ENV, "--timeout", "60")  # a busy machine is no UNKNOWN
    verdicts = by_verdict(document)
    red = [
        (result["id"], result["observed"])
        for result in document["results"]
        if result["verdict"] not in ("ok", "skipped")
    ]
    assert set(verdicts) == {"ok", "skipped", *(["unknown"] if NOT_SEEN else [])}, red
    assert verdicts["skipped"] == NOT_HERE
    assert verdicts.get("unknown", set()) == NOT_SEEN and code == (3 if NOT_SEEN else 0)
    wanted = {"schema", "task", "environment", "exit_code", "started_at", "duration_s", "results"}
    assert wanted <= set(document) and document["schema"] == "prompt-keda/2"
    assert len(document["results"]) >= 25


def test_without_redis_it_is_red_and_names_redis(deployed, admin, systems):
    """The cluster says that no pod is there: FAIL. All that needs Redis is SKIPPED, never OK."""
    scale(admin, 0)
    try:
        code, document = run_json("check-deps", "--env", ENV)
    finally:
        scale(admin, 1)
        systems.redis.count_read("instrument:lsstcam", "lsstcam_consumer_group")  # the restart has lost it
    verdicts = by_verdict(document)
    assert code == 1 and verdicts["fail"] == {"redis/answers"}
    assert verdicts["skipped"] == dependents({"redis/answers"}) - {"redis/answers"} | NOT_HERE
    result = next(result for result in document["results"] if result["id"] == "redis/answers")
    assert "prompt-redis" in result["observed"] and result["fix"] and result["runbook"] == "redis-gone"


def scale(admin, replicas):
    admin.patch(STATEFUL_SETS, "prompt-redis", "prompt-redis", {"spec": {"replicas": replicas}})

    def reached():
        pods = admin.list(PODS, "prompt-redis")
        ready = [p for p in pods if any(c.get("ready") for c in p["status"].get("containerStatuses", []))]
        return len(ready) == len(pods) == replicas

    until(reached, 60, f"{replicas} Redis pods")


@pytest.mark.viewpoint
def test_production_that_cannot_be_reached_is_unknown_within_15_seconds():
    """Exit code 3; each system that was tried is named with its address; nothing is green."""
    offline = () if AT_DESK else ("unshare", "--net")  # this machine may reach the internet, and then ghcr.io answers
    code, document = run_json("check-deps", "--env", "environments/prod.yaml", before=offline)
    assert document["duration_s"] < 16
    verdicts = by_verdict(document)
    assert code == 3 and set(verdicts) == {"unknown", "skipped"}
    observed = " ".join(result["observed"] for result in document["results"])
    assert (
        "https://vault.slac.stanford.edu" in observed
        and "https://ghcr.io" in observed
        and "kubernetes.context" in observed
    )


def test_a_sealed_vault_is_red(deployed, endpoints):
    """Sealed is an answer, not an unreachable system; what needs Vault is SKIPPED."""
    with sealed(endpoints):
        code, document = run_json("check-deps", "--env", ENV, "--only", "vault")
    verdicts = by_verdict(document)
    assert code == 1 and verdicts["fail"] == {"vault/unsealed"}
    assert {"vault/login-works", "vault/secrets-have-their-keys"} <= verdicts["skipped"]


@at_the_stack_only
def test_without_the_directory_nobody_logs_in(deployed, endpoints):
    """slapd stopped: the login says so in one line, the directory's check is not green, and the address is named."""
    from prompt_keda.lab import ldap_server

    lab = settings.current_lab()
    processes.stop(lab, "slapd")
    try:
        code, document = run_json("check-deps", "--env", ENV, "--only", "identity,cluster/api-answers")
    finally:
        ldap_server.start(lab, endpoints["address"])
    results = {result["id"]: result for result in document["results"]}
    assert code == 1
    assert results["identity/ldap-answers"]["verdict"] == "unknown"
    assert endpoints["ldap_url"] in results["identity/ldap-answers"]["observed"]
    assert "directory" in results["cluster/api-answers"]["observed"]


def test_a_paused_scaled_job_is_a_warning(deployed, admin):
    """Amber with the fix; with --strict the exit code is 4."""
    mark = "autoscaling.keda.sh/paused"
    admin.patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"metadata": {"annotations": {mark: "true"}}})
    try:
        code, document = run_json("check-deps", "--env", ENV, "--only", "keda/none-paused", "--strict")
    finally:
        admin.patch(SCALED_JOBS, INSTRUMENT, INSTRUMENT, {"metadata": {"annotations": {mark: None}}})
    assert code == 4 and by_verdict(document) == {"warn": {"keda/none-paused"}}


@pytest.mark.viewpoint
def test_no_secret_is_shown(deployed, shared):
    """None of the stack's secrets stands in text, JSON, JUnit, or in any file of a run."""
    junit = shared / "junit.xml"
    text = run_task("check-deps", "--env", ENV, "--junit", str(junit))
    document = run_task("check-deps", "--env", ENV, "--json")
    shown = [
        text.stdout,
        text.stderr,
        document.stdout,
        document.stderr,
        junit.read_text(),
        deployed.stdout,
        deployed.stderr,
    ]
    shown += [path.read_text() for path in runs_folder().rglob("*.json*")]
    lab = settings.current_lab()
    for path in (lab.state / "secrets").iterdir():
        for secret in shown:
            assert path.read_text() not in secret, path.name
    assert json.loads(document.stdout)["exit_code"] == (3 if NOT_SEEN else 0)
    assert state.endpoints()["vault_url"] in text.stdout + document.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["redeploy"], "say which environment"),
        (["redeploy", "--env", "prd"], "Did you mean prod"),
        (["redeploy", "--env", "prod"], "does not say keda.manifests.source"),
        (["redeploy", "--env", ENV, "--mode", "hope"], "no mode 'hope'"),
        (["redeploy", "--env", ENV, "--mode", "cold"], "Take mode repair"),
        (["check-deps", "--env", ENV, "--only", "no-such"], "no check fits"),
        (["resume", "--env", ENV, "--run", "never"], "no run never"),
    ],
)
def test_a_wrong_command_is_refused_before_any_write(deployed, arguments, message):
    """Exit code 2 and one clear message."""
    done = run_task(*arguments)
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr
