"""The alert rules, by promtool: their own tests, and over series that the local stack gives while it is well and while it is not.

KEDA's series are its operator's own. The stack has no kube-state-metrics: its series are made of the same objects, as its
documentation says.
"""

from __future__ import annotations

import calendar
import json
import subprocess
import time
from threading import Event

import pytest
import yaml

from prompt_keda.clients.kube.conditions import has_condition
from prompt_keda.clients.kube.resources import DEPLOYMENTS, JOBS, NAMESPACES, NODES, STATEFUL_SETS
from prompt_keda.components.keda.operator_metrics import SAMPLE, operator_metrics
from prompt_keda.core.errors import ClientError
from prompt_keda.core.event import nobody
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import go_builds
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Stage

from .conftest import INSTRUMENT, ROOT, at_the_stack_only

ALERTS = ROOT / "alerts"
RULES = yaml.safe_load((ALERTS / "prompt-keda.rules.yaml").read_text())
FAULTS = {fault.id: fault for fault in ALL_FAULTS}
EVERY_S, BEFORE, DURING = 5, 4, 10
"""A sample each so many seconds: so many before a fault is injected, and after."""
GOES_ON = 60
"""So many more samples go on as the last two did: an alert wants minutes, and the stack is not held broken for that."""
WATCH_ALONE = {"ScalingStopped", "ScaledJobPausedTooLong", "KedaCertificateWrong", "FanOutSilent", "WatchSilent"}

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]


@pytest.fixture(scope="module")
def promtool():
    """Built on first use."""
    program = go_builds.build(go_builds.PROMTOOL, nobody, niceness=10) / "promtool"

    def run(*arguments):
        return subprocess.run([program, *arguments], cwd=ALERTS, capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture(scope="module")
def stage(deployed, endpoints):
    return Stage(load_environment(ROOT / "environments" / "local.yaml", endpoints))


def test_promtool_takes_the_rules_and_their_tests_hold(promtool):
    """Each alert is quiet first, and fires once its fault has stood for long enough."""
    for arguments in (("check", "rules", "prompt-keda.rules.yaml"), ("test", "rules", "prompt-keda.tests.yaml")):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (None, set()),
        ("keda/operator-gone", {"KedaOperatorDown", "KedaMetricsMissing"}),
        ("redis/stopped", {"PromptRedisDown", "KedaScalerErrors"}),
        ("scaling/jobs-refused", {"LagWithoutJobs"}),
    ],
)
def test_the_stack_s_own_series_fire_the_alert_of_their_fault(promtool, stage, tmp_path, fault, expected):
    """And no other one; nothing fires while the stack is well."""
    samples = sample(stage, BEFORE)
    try:
        if fault:
            FAULTS[fault].inject(stage)
        if fault == "scaling/jobs-refused":
            add_events(stage)
        samples += sample(stage, DURING)
    finally:
        if fault:
            FAULTS[fault].revert(stage)
    assert fired(promtool, tmp_path, samples) == expected


def add_events(stage):
    """Let some events wait, as they do while people observe: workers take them once the fault is reverted."""
    stage.redis.add(stage.environment.instruments[0].stream, [{"visit": "of a test"}] * 5)


def sample(stage, count):
    """Return so many samples, each with its time."""
    taken, clock = [], Event()
    for _ in range(count):
        taken.append((time.time(), {**keda_series(stage), **kube_series(stage)}))
        clock.wait(EVERY_S - (time.time() - taken[-1][0]) % EVERY_S)
    return taken


def keda_series(stage):
    """Return series → value of the operator that leads; none where there is none."""
    try:
        page = operator_metrics(stage.kube, stage.environment.keda.namespace)
    except ClientError:
        return {}
    matches = (SAMPLE.match(line) for line in page.splitlines())
    return {
        f"{hit[1]}{{{hit[2]}}}": float(hit[3]) for hit in matches if hit and hit[1].startswith(("keda_", "leader_"))
    }


def kube_series(stage):
    """Return what kube-state-metrics makes of the same objects."""
    kube, series = stage.kube, {}

    def add(name, value, **labels):
        inner = ",".join(f'{key}="{text}"' for key, text in labels.items())
        series[f"kube_{name}{{{inner}}}"] = float(value or 0)

    for deployment in kube.list(DEPLOYMENTS, "keda"):
        available = deployment.get("status", {}).get("availableReplicas")
        add("deployment_status_replicas_available", available, namespace="keda", deployment=name(deployment))
    for stateful_set in kube.list(STATEFUL_SETS, "prompt-redis"):
        ready = stateful_set.get("status", {}).get("readyReplicas")
        add("statefulset_status_replicas_ready", ready, namespace="prompt-redis", statefulset=name(stateful_set))
    for job in kube.list(JOBS, INSTRUMENT):
        labels = {"namespace": INSTRUMENT, "job_name": name(job)}
        created = time.strptime(job["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ")
        add("job_created", calendar.timegm(created), **labels)
        add("job_status_active", job.get("status", {}).get("active"), **labels)
        add("job_status_failed", has_condition(job, "Failed"), **labels)
    for namespace in kube.list(NAMESPACES):
        is_going = namespace["status"]["phase"] == "Terminating"
        add("namespace_status_phase", is_going, namespace=name(namespace), phase="Terminating")
    for node in kube.list(NODES):
        add("node_status_condition", has_condition(node, "Ready"), node=name(node), condition="Ready", status="true")
    return series


def name(obj):
    return obj["metadata"]["name"]


def fired(promtool, folder, samples):
    """Return the alerts that fire over these samples, and what they go on as."""
    began, inputs = samples[0][0], []
    for series in sorted({series for _, values in samples for series in values}):
        values = [values.get(series) for _, values in samples]
        if series.startswith("kube_job_created"):  # promtool's clock begins at 0
            values = [value and value - began for value in values]
        words = ["stale" if value is None else f"{value:g}" for value in values]  # as a scrape marks what has gone
        inputs.append({"series": series, "values": " ".join([*words, goes_on(series, values)])})
    at = f"{EVERY_S * (len(samples) + GOES_ON - 2)}s"
    alerts = [rule["alert"] for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
    looked_at = sorted(set(alerts) - WATCH_ALONE)
    checks = [
        {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})', "eval_time": at, "exp_samples": []}
        for alert in looked_at
    ]
    test = {"interval": f"{EVERY_S}s", "input_series": inputs, "promql_expr_test": checks}
    file = folder / "stack.tests.yaml"
    rules = [str(ALERTS / "prompt-keda.rules.yaml")]
    file.write_text(json.dumps({"rule_files": rules, "evaluation_interval": f"{EVERY_S}s", "tests": [test]}))
    done = promtool("test", "rules", str(file))
    answer = done.stdout + done.stderr
    firing = {alert for alert in looked_at if f'alertname=\\"{alert}\\"' in answer}
    assert (done.returncode == 0) == (not firing), answer
    return firing


def goes_on(series, values):
    """Return promtool's words for what comes after: counters go on as they did, all else stays."""
    if values[-1] is None:
        return f"stale _x{GOES_ON - 1}"
    rise = values[-1] - values[-2] if "_total" in series and values[-2] is not None else 0
    return f"{values[-1] + rise:g}+{rise:g}x{GOES_ON}"
