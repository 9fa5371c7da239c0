"""Where Helm delivers: after a redeploy the real Helm knows its release, and its plain upgrade changes nothing."""

from __future__ import annotations

import json

import pytest

from prompt_keda.clients.kube.resources import DEPLOYMENTS, SECRETS

from .conftest import at_the_stack_only, changed_environment, run_json, run_task
from .helm import RELEASE, chart, helm

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]
DELIVERED = (("delivery: manifests", "delivery: helm"),)


@pytest.fixture
def delivered(deployed, tmp_path):
    """An environment that Helm delivers, on the stack of local; afterwards nobody but the toolkit does again."""
    yield changed_environment(tmp_path, environment=DELIVERED)
    done = run_task("redeploy", "--env", "local", "--mode", "reinstall")
    assert done.returncode == 0, done.stderr


def forget_the_release(admin):
    for secret in admin.list(SECRETS, "keda", "owner=helm"):
        admin.delete(SECRETS, secret["metadata"]["name"], "keda")


def generations(admin):
    return {
        deployment["metadata"]["name"]: deployment["metadata"]["generation"]
        for deployment in admin.list(DEPLOYMENTS, "keda")
    }


@pytest.mark.parametrize("mode", ["repair", "reinstall"])
def test_helm_goes_on_with_a_release_whose_record_was_lost(delivered, admin, tmp_path, mode):
    """`helm list` and `status` say deployed, and a plain `upgrade` succeeds without touching a Deployment."""
    forget_the_release(admin)
    try:
        code, document = run_json("redeploy", "--env", delivered, "--mode", mode)
        assert code == 0, document.get("error")
        listed = json.loads(helm("list", "--output", "json").stdout)
        assert [(obj["name"], obj["status"]) for obj in listed] == [(RELEASE, "deployed")]
        assert "STATUS: deployed" in helm("status", RELEASE).stdout
        before = generations(admin)
        made = chart(tmp_path)
        upgraded = helm("upgrade", RELEASE, str(made))
        assert upgraded.returncode == 0, upgraded.stderr
        assert generations(admin) == before
        code, again = run_json("redeploy", "--env", delivered)
        assert code == 0 and {step["id"] for step in again["steps"] if step["acted"]} == {
            "guard/hold-lease",
            "verify/smoke",
        }
    finally:
        forget_the_release(admin)
