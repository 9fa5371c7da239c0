"""In a real vCluster: Prompt KEDA is recovered there, what is a stand-in is never green, and its own disasters are told right.

It needs a stack of its own, PROMPT_KEDA_LAB=vc ./run lab.up --with vcluster, and PROMPT_KEDA_TEST_ENV=vcluster. Elsewhere it is
skipped. Every state that KEDA is recovered from, with twenty workers in mid-work: tests/stack/test_recovery.py, likewise.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT

import pytest

from prompt_keda.clients.kube.resources import JOBS, PODS
from prompt_keda.clients.systems import Systems
from prompt_keda.core.errors import ClientError
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import settings, state, vcluster
from prompt_keda.lab.drills.job_watcher import JobWatcher
from prompt_keda.lab.faults import vcluster as faults
from prompt_keda.lab.faults.fault import Stage

from .conftest import IN_VCLUSTER, INSTRUMENT, ROOT, at_the_stack_only, changed_environment, command, run_json, until

pytestmark = [
    pytest.mark.exhaustive,
    at_the_stack_only,
    pytest.mark.skipif(not IN_VCLUSTER, reason="needs a stack with a vCluster, and PROMPT_KEDA_TEST_ENV=vcluster"),
]
VCLUSTER = "vcluster"
COUNT = 20
FIRST_WORKER_S, ON_A_BUSY_MACHINE_S = 20, 60
RESTARTED = ("keda/parts-not-restarting", "warn")
NOT_SEEN = {"images/platforms-fit"}
"""Stand-ins also where the host is looked at: SKIPPED with the reason."""
SEEN_ON_HOST = {"cluster/nodes-ready", "cluster/nodes-report", "capacity/quota-allows"}
"""Stand-ins without a login for the host."""


@pytest.fixture(scope="module")
def stage():
    known = state.endpoints(settings.current_lab())
    made = Stage(load_environment(ROOT / "environments" / "vcluster.yaml", known))
    code, document = run_json("redeploy", "--env", VCLUSTER)
    assert code == 0, document.get("error")
    return made


@pytest.fixture
def systems(stage):
    made = Systems(stage.environment)
    yield made
    made.close()


def results(environment=VCLUSTER):
    _, document = run_json("check-deps", "--env", environment, "--timeout", "60")
    return document, {result["id"]: result for result in document["results"]}


def bad():
    """What is not well. An operator whose API server was away restarts, and is told of for an hour: each test here does that."""
    wrong = {id_: result for id_, result in results()[1].items() if result["verdict"] not in ("ok", "skipped")}
    return {id_: result for id_, result in wrong.items() if (id_, result["verdict"]) != RESTARTED}


def until_green():
    """As a person would: a redeploy, which ends the operator's waiting after an outage, then a look."""
    code, document = run_json("redeploy", "--env", VCLUSTER)
    assert code == 0, document.get("error")
    until(lambda: not bad(), 180, "all checks green")


def skipped(results):
    """Return what is SKIPPED, but for what is about a delivery that is not here."""
    return {id_ for id_, result in results.items() if result["verdict"] == "skipped" and not id_.startswith("argocd/")}


def test_a_stand_in_is_never_green(stage, tmp_path):
    """All else is, and the header says where this is. Without the host more is a stand-in."""
    document, round_results = results()
    assert "in a vCluster" in document["header"]
    assert bad() == {}
    assert skipped(round_results) == NOT_SEEN
    assert "fit on the nodes of the host" in round_results["cluster/nodes-have-room"]["observed"]
    assert "on 1 nodes of the host" in round_results["capacity/burst-absorbed"]["observed"]
    of_host = {id_ for id_ in round_results if id_.startswith("cluster/host-")}
    assert len(of_host) == 4
    text = (ROOT / "environments" / "vcluster.yaml").read_text()
    host = text[text.index("  host: #") : text.index("ldap:")]
    alone = changed_environment(tmp_path, environment=[(host, "")])
    _, found = results(alone)
    assert skipped(found) == NOT_SEEN | SEEN_ON_HOST | of_host
    assert "as the environment states; not seen" in found["cluster/nodes-have-room"]["observed"]


def failed(systems):
    """The Jobs inside of which a pod was lost."""
    jobs = systems.kube.list(JOBS, INSTRUMENT)
    return {job["metadata"]["uid"] for job in jobs if (job.get("status") or {}).get("failed")}


def put_to_work(stage, systems, count):
    """Send events until so many workers run: enough that the first still work when the last begins on a busy machine."""
    systems.redis.add(stage.environment.instruments[0].stream, [{"visit": f"v{n}"} for n in range(8 * COUNT)])
    until(lambda: len(faults.running_on_host(stage.host)) >= count, 240, f"{count} workers")


@pytest.fixture
def twenty(stage, systems):
    """Twenty workers run; when the test ends, no Job has lost its pod, and a watch saw none go before its end."""
    before = failed(systems)
    with JobWatcher.at_work(lambda: stage.kube, [INSTRUMENT]) as job_watcher:
        put_to_work(stage, systems, COUNT)
        yield
        assert job_watcher.lost() == {}
    assert failed(systems) <= before


def test_a_reinstall_loses_no_worker(twenty):
    """KEDA is removed and comes back inside, while twenty of its workers run on the host."""
    code, document = run_json("redeploy", "--env", VCLUSTER, "--mode", "reinstall")
    assert code == 0, document.get("error")


def test_a_syncer_that_is_killed_comes_back_and_no_worker_is_lost(twenty, stage):
    """It is the API server: that is away, and nothing else."""
    faults.kill_syncer(stage)
    faults.wait_until_back(stage)
    until_green()


def bad_as_expected(fault):
    """Return what is not well, if all that the fault should turn so is."""
    red_results = bad()
    is_all = set(fault.expected_checks.items()) <= {(id_, result["verdict"]) for id_, result in red_results.items()}
    return red_results if is_all else None


@pytest.mark.parametrize("fault", faults.FAULTS, ids=[fault.id for fault in faults.FAULTS])
def test_a_fault_is_detected_by_its_checks_with_its_words(fault, stage, systems):
    """And is gone once it is reverted, and what ran lives on meanwhile, or ends well."""
    before = failed(systems)
    try:
        fault.inject(stage)
        ran = faults.running_on_host(stage.host)
        red_results = until(lambda: bad_as_expected(fault), 120, fault.id)
        assert fault.cause in red_results[next(iter(fault.expected_checks))]["observed"]
        assert "owners" in red_results[next(iter(fault.expected_checks))]["fix"]
        if fault.id != "vcluster/host-quota-full":
            there = faults.workers_on_host(stage.host)
            assert {there.get(uid) for uid in ran} <= {"Running", "Succeeded"}
    finally:
        fault.revert(stage)
    until_green()
    assert failed(systems) <= before


def test_a_full_quota_of_the_host_refuses_a_redeploy_before_any_write(stage):
    """Not a smoke test that waits for two minutes."""
    try:
        faults.fill_host_quota(stage)
        code, document = run_json("redeploy", "--env", VCLUSTER)
        assert code == 2, document
        assert f"ResourceQuota {faults.QUOTA} lets no new pod in" in document["error"]["what"], document["error"]
    finally:
        faults.free_host_quota(stage)
    until_green()


def own_environment(folder, known):
    """Return a file of the environment in which this vCluster's identity is written down, as production's is."""
    keys = ("ca_sha256", "kube_system_uid")
    words = [(f"{key}: ${{lab:vcluster_{key}}}", f"{key}: {known[f'vcluster_{key}']}") for key in keys]
    return changed_environment(folder, environment=words)


def enrolled(file):
    """Enrol as a person does who has compared both, and return old and new."""
    _, refused = run_json("enrol", "--env", file)
    code, document = run_json("enrol", "--env", file, "--approve", refused["digest"])
    assert code == 0, document.get("error")
    return document["old"], document["new"]


def test_marked_workers_outlive_a_syncer_that_starts_on_a_store_that_was_lost(stage, systems, tmp_path):
    """All else that it had made goes, and people's rights. Who binds them again enrols; then the store comes back."""
    file, before = own_environment(tmp_path, stage.endpoints), failed(systems)
    put_to_work(stage, systems, COUNT // 2)
    unmarked = {pod["metadata"]["uid"] for pod in stage.host.list(PODS, vcluster.NAMESPACE, "app=keda-operator")}
    assert unmarked
    vcluster.scale(stage.lab, 0)
    ran = faults.running_on_host(stage.host)
    assert ran
    try:
        faults.start_on_lost_store(stage)
        until(lambda: not unmarked & uids_on_host(stage), 120, "what a syncer deletes")
        there = faults.workers_on_host(stage.host)
        assert {there.get(uid) for uid in ran} <= {"Running", "Succeeded"}
        code, document = run_json("enrol", "--env", file)
        assert code == 3 and "bind them again" in document["error"]["fix"], document
        vcluster.bind_people(stage.lab)
        old, new = enrolled(file)
        assert (old["ca_sha256"] == new["ca_sha256"], old["kube_system_uid"] == new["kube_system_uid"]) == (True, False)
    finally:
        faults.restore_store(stage)
    until_green()
    assert failed(systems) <= before


def stale_environment(folder, known, file):
    """Return a file of the environment whose kubeconfig is that of now, whatever comes."""
    kubeconfig, ca = (folder / name for name in ("kubeconfig", "ca.pem"))
    text = Path(known["vcluster_kubeconfig"]).read_text()
    old_ca = json.loads(text)["clusters"][0]["cluster"]["certificate-authority"]
    ca.write_text(Path(old_ca).read_text())
    kubeconfig.write_text(text.replace(old_ca, str(ca)))
    stale = folder / "stale.yaml"
    stale.write_text(Path(file).read_text().replace("${lab:vcluster_kubeconfig}", str(kubeconfig)))
    return str(stale)


@pytest.mark.parametrize("is_store_kept", [True, False], ids=["over its store", "without its store"])
def test_a_release_that_was_deleted_and_installed_again_is_enrolled(stage, systems, tmp_path, is_store_kept):
    """All that it had made ends, and that is said; also of its Jobs, once its store has them again. The old kubeconfig fits no
    more. Without its store it is another cluster altogether."""
    (tmp_path / "own").mkdir()
    file = own_environment(tmp_path / "own", stage.endpoints)
    stale = stale_environment(tmp_path, stage.endpoints, file)
    put_to_work(stage, systems, COUNT)
    try:
        faults.delete_release(stage)
        _, round_results = results()
        assert {id_: round_results[id_]["verdict"] for id_ in faults.AWAY} == faults.AWAY
        assert "nothing of the vCluster runs there" in round_results["cluster/host-runs-the-vcluster"]["observed"]
        assert "all that ran is lost" in round_results["cluster/host-runs-the-vcluster"]["observed"]
        if not is_store_kept:
            faults.forget_store(stage)
    finally:
        faults.install_release(stage)
    _, round_results = results(stale)
    assert "fetch its new kubeconfig" in round_results["cluster/api-answers"]["fix"]
    old, new = enrolled(file)
    assert [old[key] == new[key] for key in ("ca_sha256", "kube_system_uid")] == [False, is_store_kept]
    if is_store_kept:
        until(lambda: "keda/jobs-do-not-fail" in bad(), 90, "the Jobs that have lost their pods")
        systems.kube.request("DELETE", JOBS.path(INSTRUMENT), body={"propagationPolicy": "Background"})
    until_green()


def uids_on_host(stage):
    return {pod["metadata"]["uid"] for pod in stage.host.list(PODS, vcluster.NAMESPACE)}


def jobs_there(systems):
    """Return the UIDs of the Jobs; None while the API server does not answer."""
    with suppress(ClientError):
        return {job["metadata"]["uid"] for job in systems.kube.list(JOBS, INSTRUMENT)}


def test_the_first_worker_comes_soon_after_an_outage_of_two_minutes(stage, systems, record_property):
    """A redeploy ends the waiting of an operator in CrashLoopBackOff, which lasts up to five minutes."""
    before = jobs_there(systems)
    vcluster.scale(stage.lab, 0)
    time.sleep(125)  # the outage itself is what is tried
    vcluster.on_host(stage.lab, "scale", vcluster.DEPLOYMENT, "--replicas=1")
    until(lambda: jobs_there(systems) is not None, vcluster.READY_S, "the API server")
    began, load = time.monotonic(), os.getloadavg()[0]
    with subprocess.Popen(command("redeploy", "--env", VCLUSTER), stdout=PIPE, stderr=STDOUT) as redeploy:
        until(lambda: (jobs_there(systems) or before) - before, 90, "a new Job")
        took = time.monotonic() - began
        record_property("first_job_s", took)
        record_property("load", load)
        output, _ = redeploy.communicate()
    assert redeploy.returncode == 0, output.decode()
    assert took <= (FIRST_WORKER_S if load < 2 * os.cpu_count() else ON_A_BUSY_MACHINE_S), (
        f"{took:.1f} s at load {load:.0f}"
    )
