"""watch: it reports what changes alone, goes on whatever happens, and shows each round as metrics."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
import urllib.request
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest
import yaml
from invoke.parser import Parser
from prometheus_client.parser import text_string_to_metric_families

from prompt_keda.commands.watch import CHAT_LINES, interval, watch
from prompt_keda.core.check import Check, Outcome, Verdict
from prompt_keda.core.errors import EnvironmentFileError, Refusal, Unreachable
from prompt_keda.core.places import ENVIRONMENTS, TASKS
from prompt_keda.environment.model import Limits
from prompt_keda.report.as_metrics import Metrics
from tests.unit.runbooks.test_runbooks import namespace
from tests.unit.test_alerts import WATCH

OK, WARN, FAIL, UNKNOWN = Verdict.OK, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN
MINUTE = timedelta(seconds=60)


class Stand:
    """A session whose checks answer as the rounds say: a dict of id → verdict each, or an error that opening it raises."""

    def __init__(self, *rounds, chat=True):
        self.rounds, self.index = rounds, -1
        self.posted, self.pauses, self.reported, self.events = [], [], [], []
        self.name = "local"
        webhook = "chat" if chat else None
        self.environment = SimpleNamespace(
            name="local", incidents=SimpleNamespace(webhook=webhook), limits=Limits(checks=timedelta(seconds=5))
        )
        self.systems = SimpleNamespace(environment=self.environment)
        self.metrics = Metrics("local", {check.id: check.runbook for check in self.checks()})

    @contextmanager
    def reopened(self):
        self.index += 1
        if isinstance(self.rounds[self.index], BaseException):
            raise self.rounds[self.index]
        yield self

    def post_to_chat(self, text):
        self.posted.append(text)

    def checks(self):
        ids = sorted({id_ for verdicts in self.rounds if isinstance(verdicts, dict) for id_ in verdicts})

        def looks(id_):
            return lambda systems: Outcome(self.rounds[self.index].get(id_, OK), f"round {self.index}")

        return [Check(id_, f"{id_} holds", looks(id_), runbook="redis-gone") for id_ in ids]

    def pause(self, seconds):
        """End after the last round, as a signal does."""
        self.pauses.append(seconds)
        if self.index + 1 == len(self.rounds):
            raise KeyboardInterrupt(signal.SIGTERM)

    def watch(self):
        report, observer = self.reported.append, self.events.append
        code = watch(self, self.checks(), MINUTE, self.metrics, report, observer, self.pause)
        return code, [(change.result.id, change.before, change.result.verdict) for change in self.reported]


def test_it_reports_transitions_alone():
    """At the first look what is not well; then only what is another verdict than before."""
    stand = Stand({"redis/a": OK, "redis/b": FAIL}, {"redis/a": OK, "redis/b": FAIL}, {"redis/a": WARN, "redis/b": OK})
    code, changes = stand.watch()
    assert code == 0
    assert changes == [("redis/b", None, FAIL), ("redis/a", OK, WARN), ("redis/b", FAIL, OK)]


def test_what_was_skipped_is_no_change():
    """It is a consequence: only what it becomes after counts."""
    stand = Stand({"a/root": OK, "b/leaf": OK}, {"a/root": FAIL}, {"a/root": OK, "b/leaf": FAIL})
    root, leaf = stand.checks()
    stand.checks = lambda: [root, Check(leaf.id, leaf.title, leaf.run, needs=("a/root",))]
    _, changes = stand.watch()
    assert changes == [("a/root", OK, FAIL), ("a/root", FAIL, OK), ("b/leaf", OK, FAIL)]


@pytest.mark.parametrize("error", [EnvironmentFileError("no such file", "write it"), Refusal("no"), KeyError("x")])
def test_a_round_that_cannot_run_is_unknown_and_not_the_end(error):
    """A file that is being written, an error that nobody expected: the next round runs."""
    stand = Stand({"redis/a": OK}, error, {"redis/a": OK})
    code, changes = stand.watch()
    assert code == 0 and changes == [("redis/a", OK, UNKNOWN), ("redis/a", UNKNOWN, OK)]
    assert "KeyError" in stand.reported[0].to_line() or "no" in stand.reported[0].to_line()


def test_a_round_begins_a_minute_after_the_last_one_began():
    """What the round took is taken off."""
    stand = Stand({"redis/a": OK}, {"redis/a": OK})
    stand.watch()
    assert all(50 < seconds <= 60 for seconds in stand.pauses)


def test_the_chat_is_reported_once_a_round_in_at_most_eight_lines():
    """And not where nothing has changed, or the environment names no chat."""
    many = {f"redis/{number:02}": FAIL for number in range(20)}
    stand = Stand({"redis/00": OK}, many, many)
    stand.watch()
    assert len(stand.posted) == 1 and len(stand.posted[0].splitlines()) == CHAT_LINES
    assert "20 checks have changed" in stand.posted[0] and "… and 14 more" in stand.posted[0]
    without = Stand({"redis/00": FAIL}, chat=False)
    without.watch()
    assert without.posted == []


@pytest.mark.parametrize("error", [Unreachable("chat", "https://chat", "no answer"), RuntimeError("https://secret")])
def test_a_chat_that_takes_nothing_ends_nothing(error):
    """It is noted without the address."""
    stand = Stand({"redis/a": FAIL}, {"redis/a": OK})

    def post(text):
        raise error

    stand.post_to_chat = post
    assert stand.watch()[0] == 0 and len(stand.reported) == 2
    notes = [event.detail for event in stand.events if "not posted" in event.detail]
    assert len(notes) == 2 and "secret" not in "".join(notes)


def test_a_signal_within_a_round_ends_it():
    """What was not looked at is no change: nothing is reported of that round."""
    stand = Stand({"redis/a": OK}, {"redis/a": OK})
    (check,) = stand.checks()

    def look(systems):
        if stand.index == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(5)  # its thread hangs, as one that asks a server that is away
        return Outcome(OK if stand.index == 0 else FAIL, "")

    def stop(number, frame):
        raise KeyboardInterrupt(number)

    stand.checks = lambda: [Check(check.id, check.title, look)]
    before = signal.signal(signal.SIGTERM, stop)
    try:
        assert stand.watch() == (0, [])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_metrics_show_the_last_round():
    """A gauge a check, whether scaling works, when the round ended, and how long it took; as Prometheus reads them."""
    stand = Stand({"redis/a": FAIL, "scaling/works": OK}, {"redis/a": OK, "scaling/works": FAIL})
    with stand.metrics.serve("127.0.0.1:0") as port:
        stand.watch()
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    families = text_string_to_metric_families(page)
    samples = {(sample.name, sample.labels.get("check")): sample for family in families for sample in family.samples}
    assert samples["prompt_keda_check_verdict", "redis/a"].value == 0
    assert samples["prompt_keda_check_verdict", "scaling/works"].value == 2
    assert samples["prompt_keda_check_verdict", "redis/a"].labels["runbook"] == "redis-gone"
    assert samples["prompt_keda_scaling_works", None].value == 0
    assert {name for name, _ in samples} >= WATCH | {"prompt_keda_round_seconds"}


def test_whether_scaling_works_is_not_known_where_nobody_could_look():
    """NaN: no alert that compares it fires, and none is silenced by a 1."""
    stand = Stand({"scaling/works": UNKNOWN})
    stand.watch()
    assert math.isnan(stand.metrics.registry.get_sample_value("prompt_keda_scaling_works", {"environment": "local"}))


@pytest.mark.parametrize("listen", ["9847", "localhost", "127.0.0.1:http", "127.0.0.1:70000", ":1"])
def test_a_place_to_listen_that_is_none_is_refused(listen):
    """Before the first round."""
    with pytest.raises(Refusal, match="--listen"), Metrics("local", {}).serve(listen):
        pass


def test_a_port_that_is_taken_is_refused():
    """With the system's own word."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Refusal, match="in use"), Metrics("local", {}).serve(listen):
            pass


@pytest.mark.parametrize("text", ["", "60", "0s", "4s", "25h", "a minute"])
def test_an_interval_that_is_none_or_too_short_is_refused(text):
    """Each round asks every system."""
    with pytest.raises(Refusal, match="--every"):
        interval(text)


def test_a_line_names_the_change_what_was_seen_and_the_page():
    """For people and for programs."""
    stand = Stand({"redis/a": OK}, {"redis/a": FAIL})
    stand.watch()
    (change,) = stand.reported
    assert change.to_line().endswith("redis/a  OK → FAIL: round 1  runbooks/redis-gone.md")
    assert json.loads(change.to_json()).items() >= {
        ("check", "redis/a"),
        ("before", "ok"),
        ("now", "fail"),
        ("environment", "local"),
        ("runbook", "redis-gone"),
    }


def test_a_process_of_its_own_reports_json_lines_and_ends_at_sigterm_with_0():
    """Here of an environment whose values are still to be filled in: nothing is known, and that is no end."""
    argv = [sys.executable, str(TASKS), "watch", "--env", "prod", "--only", "identity,vault/unsealed", "--every", "5s"]
    with subprocess.Popen([*argv, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        first = json.loads(running.stdout.readline())
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=30)
    assert first["environment"] == "prod" and first["before"] is None and first["now"] == "unknown"
    assert running.returncode == 0 and "Traceback" not in errors, errors


def test_its_memory_is_steady():
    """Three hundred rounds of twenty checks, some of which change each time, leave nothing behind."""
    verdicts = [
        {f"redis/{number:02}": FAIL if number % 3 == round_ % 3 else OK for number in range(20)}
        for round_ in range(300)
    ]
    stand = Stand(*verdicts)
    stand.reported = SimpleNamespace(append=lambda transition: None)
    sizes = []

    def pause(seconds):
        if stand.index in (100, 299):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        if stand.index == 299:
            raise KeyboardInterrupt

    stand.posted = SimpleNamespace(append=lambda text: None)
    tracemalloc.start()
    try:
        watch(stand, stand.checks(), MINUTE, stand.metrics, stand.reported.append, stand.events.append, pause)
    finally:
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 100_000, sizes


OBJECTS = list(yaml.safe_load_all((ENVIRONMENTS / "watch.yaml").read_text()))
ROLES = list(yaml.safe_load_all((ENVIRONMENTS / "rbac" / "check-deps.yaml").read_text()))


def of_kind(objects, *wanted):
    return [obj for obj in objects if obj["kind"] in wanted]


def test_in_the_cluster_it_has_the_shipped_roles_and_nothing_else():
    """Each Role of check-deps.yaml is bound to its ServiceAccount, where it stands; none is made here."""
    account = {"kind": "ServiceAccount", "name": "prompt-keda-watch", "namespace": "prompt-keda-watch"}
    bindings = of_kind(OBJECTS, "RoleBinding", "ClusterRoleBinding")
    assert all(binding["subjects"] == [account] for binding in bindings)
    bound = {
        (binding["roleRef"]["kind"], binding["roleRef"]["name"], binding["metadata"].get("namespace"))
        for binding in bindings
    }
    shipped = of_kind(ROLES, "Role", "ClusterRole")
    assert bound == {(role["kind"], role["metadata"]["name"], role["metadata"].get("namespace")) for role in shipped}
    assert not of_kind(OBJECTS, "Role", "ClusterRole")


def test_its_pod_is_restricted():
    """As Pod Security asks for it, and its own files cannot be written."""
    (namespace,) = of_kind(OBJECTS, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (deployment,) = of_kind(OBJECTS, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (
        pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    )
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_its_arguments_are_flags_of_the_task():
    """As invoke itself reads them."""
    (deployment,) = of_kind(OBJECTS, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (parsed,) = Parser(contexts=namespace.to_contexts()).parse_argv(container["args"])
    assert parsed.name == "watch" and parsed.args.json.value
    assert interval(parsed.args.every.value) == MINUTE
