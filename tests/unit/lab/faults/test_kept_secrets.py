"""A Secret that a fault takes is put back by whoever reverts it, also by another process. Without a stack."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube.resources import SECRETS
from prompt_keda.core.errors import LabError
from prompt_keda.lab import state
from prompt_keda.lab.faults import kept_secrets
from tests.unit.world import World

PLACE = ("taken", "keda")


@pytest.fixture
def stage(tmp_path):
    made = SimpleNamespace(kube=World().kube, lab=SimpleNamespace(state=tmp_path / "prompt-keda" / "lab"))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken", "namespace": "keda"}}
    made.kube.create(SECRETS, {**secret, "type": "Opaque", "data": {"key": "dmFsdWU="}}, "keda")
    return made


def test_it_comes_back_from_the_stacks_state(stage):
    """For this user alone as long as it is kept there, and not at all afterwards."""
    for _ in range(2):
        kept_secrets.take(stage, *PLACE)
    (file,) = (stage.lab.state / "secrets").iterdir()
    assert stage.kube.find(SECRETS, *PLACE) is None and file.stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        kept_secrets.put_back(stage, *PLACE)
    assert stage.kube.get(SECRETS, *PLACE)["data"] == {"key": "dmFsdWU="} and not file.exists()


def test_one_that_somebody_else_has_written_stays(stage):
    """A redeploy: what was kept is older, and goes."""
    kept_secrets.take(stage, *PLACE)
    new = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken", "namespace": "keda"}, "type": "Opaque"}
    stage.kube.create(SECRETS, {**new, "data": {"key": "bmV3"}}, "keda")
    kept_secrets.put_back(stage, *PLACE)
    assert stage.kube.get(SECRETS, *PLACE)["data"] == {"key": "bmV3"}
    assert not state.secret_file(stage.lab, "taken-keda-taken").exists()


def test_one_that_is_neither_there_nor_kept_is_reported(stage):
    """It is not reverted then."""
    stage.kube.delete(SECRETS, *PLACE)
    with pytest.raises(LabError, match="was not kept"):
        kept_secrets.put_back(stage, *PLACE)
