"""In a vCluster every command says what an API server that is away, rebuilt or without rights means there: on real sockets."""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import contextmanager
from datetime import timedelta

import pytest

from prompt_keda.clients.kube import in_vcluster
from prompt_keda.clients.kube.client import Kube, as_it_is
from prompt_keda.clients.systems import Systems
from prompt_keda.commands.enrol import enrol
from prompt_keda.commands.redeploy import plan, redeploy
from prompt_keda.commands.session import Session
from prompt_keda.commands.status import status
from prompt_keda.core.errors import ClientError, Missing, Refused, Unreachable
from prompt_keda.core.event import nobody
from prompt_keda.core.places import ENVIRONMENTS
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab.pki import Authority
from prompt_keda.redeploy.modes import RedeployOptions
from prompt_keda.report.status_as_text import show_status
from tests.contracts.conftest import free_port, recording

from .test_broken_connections import KUBECONFIG

JSON = {"Content-Type": "application/json"}
FORBIDDEN = 403, JSON, b'{"message": "namespaces \\"kube-system\\" is forbidden: User \\"u\\" cannot get it"}'


@pytest.fixture
def session(tmp_path, authority, monkeypatch):
    """Return a maker of sessions of the vCluster's environment, whose API server listens at a port."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    @contextmanager
    def at(port):
        kubeconfig, file, keda = (tmp_path / name for name in ("kubeconfig", "vcluster.yaml", "keda.json"))
        keda.write_text('[{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keda"}}]')
        kubeconfig.write_text(KUBECONFIG.format(port=port, ca_file=authority.ca_file))
        lab = {"vcluster_kubeconfig": str(kubeconfig), "vcluster_context": "c", "vcluster_ca_sha256": "a" * 64}
        lab |= {"ldap_url": "ldaps://127.0.0.1:1", "keda_manifests": str(keda)}
        lab |= {"keda_manifests_sha256": hashlib.sha256(keda.read_bytes()).hexdigest()}
        lab |= {"worker_image": f"h.test/w@sha256:{'a' * 64}", "redis_password": ""}
        text = (ENVIRONMENTS / "vcluster.yaml").read_text()
        shutil.copytree(ENVIRONMENTS / "local", tmp_path / "local")
        file.write_text(re.sub(r"\$\{lab:(\w+)\}", lambda address: lab.get(address[1], "https://127.0.0.1:1"), text))
        systems = Systems(load_environment(file, None), lab)
        yield Session("vcluster", file, systems)
        systems.close()

    return at


COMMANDS = {
    "plan": lambda opened: plan(opened, RedeployOptions()),
    "redeploy": lambda opened: redeploy(opened, RedeployOptions(), "", nobody, None),
    "enrol": lambda opened: enrol(opened, "", nobody, None),
}
each_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@each_command
def test_an_api_server_that_is_away_is_the_syncer_or_its_host(session, command):
    """The workers may well run on."""
    with session(free_port()) as opened, pytest.raises(Unreachable, match="no connection: refused") as caught:
        command(opened)
    assert caught.value.fix == in_vcluster.AWAY


@each_command
def test_a_right_that_lacks_may_have_gone_with_the_store(session, command, authority):
    """Who has the vCluster's own kubeconfig can bind it again."""
    with (
        recording(authority, lambda path, headers: FORBIDDEN) as (port, _),
        session(port) as opened,
        pytest.raises(Refused, match="403 on GET") as caught,
    ):
        command(opened)
    assert caught.value.fix == in_vcluster.NO_RIGHT


@each_command
def test_a_ca_that_is_another_one_is_a_vcluster_that_was_rebuilt(session, command, tmp_path):
    """Fetch its kubeconfig again, then enrol."""
    other = Authority(tmp_path / "other")
    other.ensure_server("server", ["127.0.0.1"])
    with (
        recording(other, lambda path, headers: FORBIDDEN) as (port, _),
        session(port) as opened,
        pytest.raises(Unreachable, match="TLS: the authority") as caught,
    ):
        command(opened)
    assert caught.value.fix == in_vcluster.REBUILT


def test_status_says_it_once_for_all_that_it_could_not_see(session, capsys):
    """And the header says where this is."""
    with session(free_port()) as opened:
        result = status(opened)
    show_status(result.parts)
    output = " ".join(capsys.readouterr().out.split())
    assert output.count("the workers may well run on") == 1
    assert "in a vCluster" in result.header


def test_elsewhere_it_means_what_it_says(session, tmp_path):
    """VPN, kubeconfig and login are all that can be wrong."""
    with session(free_port()), pytest.raises(Unreachable) as caught:
        Kube.connect(tmp_path / "kubeconfig", None, timedelta(seconds=1)).version()
    assert caught.value.fix == ""


@pytest.mark.parametrize(
    "error",
    [
        Unreachable("Kubernetes", "https://x", "its proxy http://p: refused", "Correct HTTPS_PROXY."),
        Refused("Kubernetes", "https://x", 'users "a" is forbidden: cannot impersonate resource "users"', "Ask."),
        Missing("Kubernetes", "https://x", "404 on GET /x", ""),
    ],
)
def test_what_is_no_trouble_of_a_vclusters_keeps_its_fix(error):
    """A proxy, impersonation, and what is not there."""
    before = error.fix
    in_vcluster.explain(error)
    as_it_is(error)
    assert error.fix == before and isinstance(error, ClientError)


def test_a_port_forward_that_is_refused_says_it_too(session):
    """It goes through the syncer as well."""
    with session(free_port()) as opened, pytest.raises(Unreachable) as caught:
        opened.systems.kube.port_forward("a", "b", 1)
    assert caught.value.fix == in_vcluster.AWAY
