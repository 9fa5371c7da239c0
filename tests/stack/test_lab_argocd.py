"""Argo CD on the local stack: what it delivers, how it is spoken to, and that it does what the toolkit is built around.

It needs a stack of its own: PROMPT_KEDA_LAB=argo ./run lab.up --with argocd. Elsewhere it is skipped.
"""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from prompt_keda.clients.kube.resources import CONFIG_MAPS, DEPLOYMENTS, JOBS, SCALED_JOBS
from prompt_keda.lab import argocd, helm, phalanx, processes, settings, state

from .conftest import INSTRUMENT, at_the_stack_only, until

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]


@pytest.fixture(scope="module")
def lab():
    lab = settings.current_lab()
    if state.endpoints(lab).get("delivery") != "argocd":
        pytest.skip("this stack has no Argo CD: PROMPT_KEDA_LAB=argo ./run lab.up --with argocd")
    return lab


@pytest.fixture
def kube(lab):
    """The API server, with Argo CD up and all delivered, as it is left again."""
    kube = argocd.client(lab)
    for name in argocd.APPLICATIONS:
        argocd.wait_until_healthy(kube, name)
    return kube


@pytest.fixture
def repository(lab):
    """The git repository, which is put back as it was, with what came of it."""
    folder = Path(state.endpoints(lab)["phalanx"])
    before = git(folder, "rev-parse", "HEAD")
    yield folder
    git(folder, "reset", "--hard", before)
    kube = argocd.client(lab)
    if argocd.verdict(argocd.refresh(kube, "keda"))[0] != "Synced":
        argocd.require(argocd.sync(kube, "keda"))


def git(folder, *arguments):
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def running_jobs(kube):
    jobs = kube.list(JOBS, INSTRUMENT, label_selector="scaledjob.keda.sh/name")
    return {job["metadata"]["uid"] for job in jobs if not (job.get("status") or {}).get("completionTime")}


@pytest.fixture
def jobs(kube, argocd_stage):
    """Jobs that run, because events wait."""
    argocd_stage.redis.add(argocd_stage.environment.instruments[0].stream, [{"visit": f"sync {n}"} for n in range(60)])
    return until(lambda: running_jobs(kube), what="running Jobs")


def test_argo_cd_delivers_keda_and_the_workers(lab, kube):
    """All three Applications are Synced and Healthy, its servers run, and a second lab.up changes nothing."""
    for name in (argocd.PARENT, *argocd.APPLICATIONS):
        assert argocd.verdict(argocd.refresh(kube, name)) == ("Synced", "Healthy")
    assert all(processes.pid_of(lab, name) for name in argocd.SERVERS)
    before = kube.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"]
    argocd.up(lab, lambda event: None)
    after = kube.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])


def test_it_tracks_by_the_label_that_production_has(lab, kube):
    """What it delivers bears the label with the key from argocd-cm, and no annotation; the environment says the same."""
    data = kube.get(CONFIG_MAPS, "argocd-cm", argocd.NAMESPACE)["data"]
    assert data["application.resourceTrackingMethod"] == argocd.LABEL
    metadata = kube.get(DEPLOYMENTS, "keda-operator", "keda")["metadata"]
    assert metadata["labels"][data["application.instanceLabelKey"]] == "keda"
    assert "argocd.argoproj.io/tracking-id" not in (metadata.get("annotations") or {})
    environment = yaml.safe_load((Path(__file__).parents[2] / "environments" / "argocd.yaml").read_text())["argocd"]
    assert environment["label_key"] == data["application.instanceLabelKey"]


def test_the_scaled_job_is_what_the_environment_local_wants(lab, kube):
    """The chart renders to the ScaledJob and the TriggerAuthentication of environments/local, field by field."""
    known = state.endpoints(lab)
    text = (Path(__file__).parents[2] / "environments" / "local" / f"{INSTRUMENT}.yaml").read_text()
    wanted = list(yaml.safe_load_all(text.replace("${lab:worker_image}", known["worker_image"])))
    rendered = helm.render(lab, Path(known["phalanx"]), INSTRUMENT)
    for item in wanted:
        alike = [other for other in rendered if other["kind"] == item["kind"]]
        assert [other["spec"] for other in alike] == [item["spec"]]
        assert alike[0]["metadata"]["name"] == item["metadata"]["name"]


def test_a_value_changed_in_git_is_seen_and_delivered(kube, repository):
    """A commit makes the Application OutOfSync at its next look; a sync brings it, and it is Synced again."""
    values = repository / "applications" / "keda" / "values-local.yaml"
    values.write_text("keda:\n  logging: {operator: {level: debug}}\n")
    newest = phalanx.commit(repository, "Let the operator say more")
    application = argocd.refresh(kube, "keda")
    assert argocd.verdict(application)[0] == "OutOfSync"
    operation = argocd.require(argocd.sync(kube, "keda"))
    assert operation["syncResult"]["revision"] == newest
    arguments = kube.get(DEPLOYMENTS, "keda-operator", "keda")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--zap-log-level=debug" in arguments
    argocd.wait_until_healthy(kube, "keda")


def test_a_selective_sync_leaves_running_jobs_alone(kube, jobs):
    """No hook runs in it: the ScaledJob and its Jobs stay as they are."""
    before = kube.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"]
    vault_secret = {"group": "ricoberger.de", "kind": "VaultSecret", "name": "pull-secret", "namespace": INSTRUMENT}
    argocd.require(argocd.sync(kube, INSTRUMENT, [vault_secret]))
    after = kube.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])
    assert jobs & running_jobs(kube)


def test_a_full_sync_deletes_running_jobs(kube, jobs):
    """The disaster that the toolkit is built around is real here: the hook ScaledJob goes with its Jobs, and comes again."""
    before = kube.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"]
    argocd.require(argocd.sync(kube, INSTRUMENT))
    after = kube.get(SCALED_JOBS, INSTRUMENT, INSTRUMENT)["metadata"]
    assert after["uid"] != before["uid"]
    assert not jobs & running_jobs(kube)


def test_without_its_repo_server_it_says_that_it_cannot_compare(lab, kube):
    """A stopped repo-server makes a sync an Error, and nothing is changed; started again all is as it was."""
    processes.stop(lab, "argocd-repo-server")
    try:
        operation = argocd.sync(kube, "keda")
        assert operation["phase"] == "Error"
        assert "Failed to load target state" in json.dumps(operation)
    finally:
        processes.start_again(lab, "argocd-repo-server")
    argocd.refresh(kube, "keda", "hard")
    argocd.wait_until_healthy(kube, "keda")


@pytest.mark.parametrize(
    ("method", "key"),
    [("annotation", argocd.LABEL_KEY), ("annotation+label", argocd.LABEL_KEY), ("label", "app.kubernetes.io/instance")],
)
def test_the_way_it_tracks_can_be_changed(lab, kube, method, key):
    """After a sync by the other way it is Synced, and so it is when it is set back."""
    argocd.track(lab, method, key)
    try:
        argocd.refresh(kube, "keda", "hard")
        argocd.require(argocd.sync(kube, "keda"))
        argocd.wait_until_healthy(kube, "keda")
    finally:
        argocd.track(lab, argocd.LABEL, argocd.LABEL_KEY)
        argocd.refresh(kube, "keda", "hard")
        argocd.require(argocd.sync(kube, "keda"))
        argocd.wait_until_healthy(kube, "keda")
