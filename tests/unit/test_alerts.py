"""The alert rules: each leads to a page that exists, and asks for metrics that somebody exposes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.places import ENVIRONMENTS, ROOT

RULES = ROOT / "alerts" / "prompt-keda.rules.yaml"
GROUPS = {group["name"]: group["rules"] for group in yaml.safe_load(RULES.read_text())["groups"]}
ALERTS = [rule for rules in GROUPS.values() for rule in rules if "alert" in rule]
RECORDED = [rule["record"] for rules in GROUPS.values() for rule in rules if "record" in rule]
OPERATOR = (Path(__file__).parent / "recorded" / "keda-operator-2.16.1.prom").read_text()
"""What the operator of the local stack exposes at /metrics: KEDA's own metrics, and of controller-runtime's those used here."""
KUBE_STATE_METRICS = {
    *("kube_deployment_status_replicas_available", "kube_statefulset_status_replicas_ready"),
    *("kube_pod_container_status_restarts_total", "kube_pod_container_status_waiting_reason"),
    *("kube_pod_status_unschedulable", "kube_job_created", "kube_job_status_active", "kube_job_status_failed"),
    *("kube_namespace_status_phase", "kube_node_status_condition"),
}
"""Of kube-state-metrics 2, all stable (its docs/metrics/workload and docs/metrics/cluster)."""
WATCH = {"prompt_keda_check_verdict", "prompt_keda_scaling_works", "prompt_keda_round_timestamp_seconds"}
NAME = re.compile(r"\b(?:kube|keda|prompt_keda|leader_election|controller_runtime)_[a-z_:]+|\bprompt_keda:\w+")
BY_LABEL = "runbooks/{{ $labels.runbook }}.md"


def by_name(alert):
    return alert["alert"]


def metrics(rule):
    """Return the names of the metrics that a rule asks for; what stands in quotes is a value."""
    return set(NAME.findall(re.sub(r'"[^"]*"', '""', rule["expr"])))


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_it_says_what_is_wrong_and_leads_to_its_page(alert):
    """A whole sentence each, and a page of runbooks/; a check's own page comes with its label."""
    notes = alert["annotations"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert not notes["summary"].endswith(".") and notes["description"].endswith((".", "first."))
    if notes["runbook_url"] == BY_LABEL:
        assert metrics(alert) == {"prompt_keda_check_verdict"}
    else:
        assert re.fullmatch(r"runbooks/[a-z-]+\.md", notes["runbook_url"]) and (ROOT / notes["runbook_url"]).is_file()


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_each_metric_is_one_that_is_exposed(alert):
    """By KEDA 2.16.1 on the local stack, by kube-state-metrics, by watch, or recorded above it."""
    keda = set(re.findall(r"^(\w+)", OPERATOR, re.MULTILINE))
    assert metrics(alert) and metrics(alert) <= keda | KUBE_STATE_METRICS | WATCH | set(RECORDED)
    for check in re.findall(r'check="([^"]+)"', alert["expr"]):
        assert check in {known.id for known in ALL_CHECKS}


def test_the_maximum_is_that_of_production():
    """Of each instrument, in its namespace."""
    rules = [rule["expr"] for rule in GROUPS["prompt-keda-limits"]]
    wanted = yaml.safe_load((ENVIRONMENTS / "prod.yaml").read_text())["instruments"]
    assert rules == [
        f'label_replace(vector({instrument["max_jobs"]}), "namespace", "{instrument["namespace"]}", "", "")'
        for instrument in wanted
    ]


def test_names_are_unique_and_each_alert_has_a_test_for_promtool():
    """In alerts/prompt-keda.tests.yaml, which an exhaustive run gives to promtool."""
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    tests = yaml.safe_load((ROOT / "alerts" / "prompt-keda.tests.yaml").read_text())["tests"]
    assert {test["name"] for test in tests} == {*names, "nothing fires while all is well"}
