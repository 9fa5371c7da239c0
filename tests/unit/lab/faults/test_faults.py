"""Every check is seen red or amber on the real stack: by a fault, or for a reason that is told here."""

from __future__ import annotations

import os
import signal
import subprocess

from prompt_keda.clients.http.failures import CUT_OFF, REFUSED
from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.check import Verdict
from prompt_keda.core.places import ROOT
from prompt_keda.lab.faults import ALL_FAULTS, fault_of, signals

SEEN_ELSEWHERE = {
    "cluster/version-accepted": "the stack has one version of Kubernetes",
    "cluster/clocks-agree": "the stack has this machine's clock, which is not the project's to set",
    "cluster/keda-namespace-present": "without it there is no KEDA: a redeploy repairs that, and no fault does",
    "identity/expected-cluster": "it tells of the environment's file, not of the cluster",
    "identity/who-am-i": "whoever has no login is refused before: cluster/api-answers",
    "identity/token-lives-on": "the stack's login is renewed by its exec plugin",
    "identity/may-read": "tests/stack/test_rights.py takes each right of the shipped Role away",
    "vault/kv-version-as-configured": "an engine's version cannot be changed without its contents",
    "redis/version-at-least-7": "the stack has one version of Redis",
    "cluster/vcluster-named": "tests/unit/components/cluster/test_vcluster.py; the stack's own environment names its vCluster",
    "cluster/pods-synced-in-time": "tests/stack/test_vcluster.py has a host that is slow",
    "cluster/workers-outlive-the-store": "tests/unit/components/cluster/test_vcluster.py; elsewhere there is no such store",
    **{
        f"cluster/host-{name}": "tests/unit/components/cluster/test_vcluster_host.py; tests/stack/test_vcluster.py has a host"
        for name in ("runs-the-vcluster", "has-the-pods", "keeps-redis", "hides-tokens")
    },
    "deep/dry-run-applies": "tests/stack/test_deep.py",
    "deep/keda-may-work": "tests/stack/test_deep.py",
    "deep/canary-runs": "tests/stack/test_deep.py",
    "deep/dns-inside": "tests/stack/test_deep.py",
    **{check.id: "tests/stack/test_argocd.py" for check in ALL_CHECKS if check.category == "argocd"},
}
"""Check id → why no fault of the stack turns it red. Whoever adds a check adds a fault, and not a line here."""
NAMED = {id_ for fault in ALL_FAULTS for id_ in fault.expected_checks}


def test_every_check_is_turned_red_by_a_fault():
    """A check that nobody has seen red may be one that cannot be."""
    assert sorted({check.id for check in ALL_CHECKS} - NAMED - set(SEEN_ELSEWHERE)) == []


def test_no_exception_is_out_of_date():
    """What a fault turns red by now, or what is no check any more, is no exception."""
    assert sorted(set(SEEN_ELSEWHERE) & NAMED) == []
    assert sorted(set(SEEN_ELSEWHERE) - {check.id for check in ALL_CHECKS}) == []


def test_faults_name_what_is_there():
    """Ids are unique, and each names checks, which are never green then."""
    ids, checks = [fault.id for fault in ALL_FAULTS], {check.id for check in ALL_CHECKS}
    assert len(set(ids)) == len(ids)
    for fault in ALL_FAULTS:
        bad = {Verdict.FAIL.value, Verdict.WARN.value, Verdict.UNKNOWN.value}
        assert (
            fault.expected_checks
            and set(fault.expected_checks) <= checks
            and set(fault.expected_checks.values()) <= bad
        ), fault.id
        assert fault.title and fault.cause, fault.id


def test_a_killed_api_server_is_known_by_either_way_that_it_shows():
    """Its port refuses; or, where an engine's proxy holds that port, the proxy takes the connection and ends it."""
    causes = fault_of("cluster/api-server-killed").causes
    assert all(any(cause in words for cause in causes) for words in (REFUSED, CUT_OFF))


def test_the_page_of_faults_says_what_the_faults_do():
    """But for what the checks said then: docs/faults.md is made by runs on the stack, and a fault may change after its own."""
    page = (ROOT / "docs" / "faults.md").read_text()
    _, _, *rows = (line.split(" | ") for line in page.splitlines() if line.startswith("|"))
    events = {True: "stop", False: "go on"}
    assert [row[:4] for row in rows] == [
        [
            f"| {fault.title}",
            fault.case,
            events[fault.stops_scaling],
            ", ".join(f"{id_} ({verdict})" for id_, verdict in fault.expected_checks.items()),
        ]
        for fault in ALL_FAULTS
    ]


def test_the_first_process_of_pods_is_no_probe_of_theirs(monkeypatch):
    """A probe's process may come first in /proc, once the kernel has begun again with low ids; and ends in a moment."""
    with subprocess.Popen(["sleep", "60"]) as probe:
        monkeypatch.setattr(signals, "processes_in_pods", lambda *_: iter([probe.pid, os.getpid()]))
        assert signals.first_process_in_pods(None, "redis", "app=redis") == os.getpid()
        probe.kill()
    assert signals.first_process_in_pods(None, "redis", "app=redis") == os.getpid()  # the probe has ended meanwhile


def test_pods_without_processes_have_no_first(monkeypatch):
    """Such as those of a Redis that was scaled down."""
    monkeypatch.setattr(signals, "processes_in_pods", lambda *_: iter(()))
    assert signals.first_process_in_pods(None, "redis", "app=redis") is None


def test_a_process_that_stands_still_is_known():
    """Redis is given a new pod only while it hangs: a fault may be reverted twice."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        assert not signals.is_stopped(process.pid)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert signals.is_stopped(process.pid)
    finally:
        process.kill()
        process.wait()
    assert not signals.is_stopped(process.pid)
