"""Where Argo CD delivers and the environment is not the stack's own: production's file, another tracking, people at a desk.

It needs a stack of its own: PROMPT_KEDA_LAB=argo ./run lab.up --with argocd. Elsewhere it is skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager

import pytest
import yaml

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.systems import Systems
from prompt_keda.components.identity.check_rights import rights_to_look
from prompt_keda.components.identity.rights import rights_to_redeploy
from prompt_keda.components.identity.roles import rules_of
from prompt_keda.core.rights import Right
from prompt_keda.delivery.argocd import SUSPENDED_BY, TRACKING_ID
from prompt_keda.delivery.choice import delivery
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab import argocd, desk
from prompt_keda.lab.faults import identity

from .conftest import INSTRUMENT, ROOT, at_desk, at_the_stack_only, run_json, until
from .planted_environment import resolved
from .test_argocd import ARGOCD, marks, until_green

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]
OWN = ROOT / "environments" / "argocd.yaml"
ROLE = "prompt-keda-test:redeploys"
GROUP = kinds.CLUSTER_ROLES.group


@pytest.fixture(scope="module")
def stage(argocd_stage):
    return argocd_stage


def own_environment(endpoints):
    """Return environments/argocd.yaml with the stack's values in it."""
    return yaml.safe_load(resolved(OWN, endpoints))


def test_productions_file_plans_what_the_stacks_own_does(endpoints, tmp_path):
    """prod.yaml, with what is this stack's own in place of production's: a plan without a word that is not filled in."""
    own, made = own_environment(endpoints), yaml.safe_load((ROOT / "environments" / "prod.yaml").read_text())
    for key in ("kubernetes", "ldap", "vault", "registries", "secrets", "smoke", "capacity"):
        made[key] = own[key]
    made["redis"]["password"] = own["redis"]["password"]
    made["keda"]["manifests"] = own["keda"]["manifests"]
    theirs = {key: own["instruments"][0][key] for key in ("manifest", "images", "max_jobs")}
    made["instruments"][0] |= theirs
    file = tmp_path / "prod.yaml"
    file.write_text(yaml.safe_dump(made))
    code, ours = run_json("plan", "--env", ARGOCD)
    assert code == 0, ours
    code, prods = run_json("plan", "--env", str(file))
    assert code == 0, prods
    assert "FILL-IN" not in json.dumps(prods["plan"])
    assert [step["id"] for step in prods["plan"]["steps"]] == [step["id"] for step in ours["plan"]["steps"]]
    states = {
        step["id"]: (step["now"], other["now"])
        for step, other in zip(prods["plan"]["steps"], ours["plan"]["steps"], strict=True)
    }
    differing = {id_: both for id_, both in states.items() if both[0] != both[1] and "running Jobs" not in both[0]}
    assert differing == {}


@pytest.mark.parametrize("method", ["annotation", "annotation+label"])
def test_argo_cd_agrees_where_it_tracks_in_another_way(stage, endpoints, tmp_path, method):
    """Everything is recreated with the marks of that method; it says Synced, and its next sync changes nothing."""
    made = own_environment(endpoints)
    made["argocd"]["tracking"] = method
    file = tmp_path / f"{ARGOCD}.yaml"
    file.write_text(yaml.safe_dump(made))
    argocd.track(stage.lab, method)
    try:
        code, document = run_json("redeploy", "--env", str(file), "--mode", "reinstall")
        assert code == 0, document.get("error")
        steps = {step["id"]: step for step in document["steps"]}
        assert "keda Synced" in steps["verify/delivery-agrees"]["detail"]
        operator = stage.kube.get(kinds.DEPLOYMENTS, "keda-operator", "keda")
        tracking_id = operator["metadata"]["annotations"][TRACKING_ID]
        assert tracking_id == "keda:apps/Deployment:keda/keda-operator"
        before = marks(stage.kube)
        argocd.require(argocd.sync(stage.kube, "keda"))
        argocd.require(argocd.sync(stage.kube, INSTRUMENT, strategy="apply"))
        assert marks(stage.kube) == before
    finally:
        argocd.track(stage.lab, argocd.LABEL)
    code, document = run_json("redeploy", "--env", ARGOCD)
    assert code == 0, document.get("error")
    until_green()


@pytest.fixture
def at_the_desk(stage, endpoints):
    """An environment for the stack's desk, in a folder that its user can read: a digest to approve, the person's own tokens."""
    desk.command(stage.lab, ["true"])  # opens it
    made = yaml.safe_load(OWN.read_text())
    made["approval"], made["vault"]["login"] = "digest", {"method": "token"}
    del made["kubernetes"]["kubeconfig"]
    file = desk.shared_folder(stage.lab) / f"{ARGOCD}.yaml"
    file.write_text(yaml.safe_dump(made))
    file.chmod(0o644)
    yield str(file)
    file.unlink()


def needed(endpoints):
    """Return the rights that looking and redeploying need: each object by its name, Applications among them."""
    systems = Systems(load_environment(OWN, endpoints), endpoints)
    try:
        redeploying = rights_to_redeploy(systems.environment)
        return {*rights_to_look(systems.environment), *redeploying, *delivery(systems).rights()}
    finally:
        systems.close()


@contextmanager
def only(stage, rights):
    """Let the people on call have these rights alone, and those that KEDA's own roles give away."""
    group = {"apiGroup": GROUP, "kind": "Group", "name": "ldap:prompt-keda-operators"}
    given_away = {
        "apiGroups": [GROUP],
        "resources": ["clusterroles", "roles"],
        "verbs": ["bind", "escalate"],
    }
    made = []
    for namespace in sorted({right.namespace for right in rights}):
        kind, where = ("Role", {"namespace": namespace}) if namespace else ("ClusterRole", {})
        rules = rules_of(right for right in rights if right.namespace == namespace)
        head = {"apiVersion": f"{GROUP}/v1", "metadata": {"name": ROLE, **where}}
        made.append({**head, "kind": kind, "rules": [*rules, *([given_away] * (not namespace))]})
        reference = {"apiGroup": GROUP, "kind": kind, "name": ROLE}
        made.append({**head, "kind": f"{kind}Binding", "roleRef": reference, "subjects": [group]})
    there = [namespace["metadata"]["name"] for namespace in stage.kube.list(kinds.NAMESPACES)]
    made = [obj for obj in made if obj["metadata"].get("namespace", "keda") in there]
    for obj in made:
        stage.kube.apply(obj, force=True)
    stage.kube.delete(kinds.CLUSTER_ROLE_BINDINGS, identity.OPERATORS)
    try:
        yield
    finally:
        identity.let_do_all(stage)
        for obj in made:
            stage.kube.delete(stage.kube.resource_of(obj), ROLE, obj["metadata"].get("namespace"))


def desk_json(*arguments):
    done = subprocess.run(
        at_desk(*arguments, "--json"), cwd=ROOT, capture_output=True, text=True, env={**os.environ, "CI": "true"}
    )
    assert done.stdout.strip(), done.stderr
    return done.returncode, json.loads(done.stdout)


def approved(file, *arguments):
    """Return a redeploy with the digest that its plan names, as a person approves it."""
    _, plan = desk_json("plan", "--env", file, *arguments)
    return ("redeploy", "--env", file, *arguments, "--approve", plan["plan"]["digest"])


def test_people_at_a_desk_redeploy_with_these_rights_and_no_others(stage, endpoints, at_the_desk):
    """Not root, short tokens, Applications by their names: plan, approve, killed while suspended, resumed; all as before."""
    argocd_automated(stage, {})
    try:
        with only(stage, needed(endpoints)):
            arguments = approved(at_the_desk, "--mode", "reinstall")
            argv = at_desk(*arguments)
            with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
                until(lambda: run.poll() is not None or suspended(stage), 120, "a run that has suspended Argo CD")
                run.kill()
                output = run.stderr.read()
            assert suspended(stage), output
            code, document = desk_json("resume", "--env", at_the_desk)
            assert code == 0, document.get("error")
        for name in argocd.APPLICATIONS:
            live = stage.kube.get(kinds.APPLICATIONS, name, argocd.NAMESPACE)
            assert live["spec"]["syncPolicy"]["automated"] == {} and not suspended(stage)
    finally:
        argocd_automated(stage, None)


def test_one_right_less_is_reported_before_any_write(stage, endpoints, at_the_desk):
    """The right to patch the workers' Application: exit code 2, with its name, and nothing has changed."""
    less = Right("patch", kinds.APPLICATIONS.group, kinds.APPLICATIONS.plural, argocd.NAMESPACE, INSTRUMENT)
    rights = needed(endpoints)
    assert less in rights
    before = marks(stage.kube)
    with only(stage, rights - {less}):
        code, document = desk_json(*approved(at_the_desk, "--mode", "reinstall"))
    assert code != 0
    assert "patch applications" in document["error"]["what"] and INSTRUMENT in document["error"]["what"]
    assert marks(stage.kube) == before and not suspended(stage)


def argocd_automated(stage, automated):
    for name in argocd.APPLICATIONS:
        body = {"spec": {"syncPolicy": {"automated": automated}}}
        stage.kube.patch(kinds.APPLICATIONS, name, argocd.NAMESPACE, body)


def suspended(stage):
    """Return whether a run has suspended both Applications."""
    live = [stage.kube.get(kinds.APPLICATIONS, name, argocd.NAMESPACE) for name in argocd.APPLICATIONS]
    return all(SUSPENDED_BY in (application["metadata"].get("annotations") or {}) for application in live)
