"""A stack behind a company's proxy: no proxy stands before the stack, whatever NO_PROXY says, and what the user has set stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from urllib.request import proxy_bypass_environment

import httpx
import pytest
from kubernetes.client.rest import should_bypass_proxies
from requests.utils import get_environ_proxies

from prompt_keda.commands import session
from prompt_keda.environment import local_stack
from prompt_keda.lab import place, stack, state
from prompt_keda.lab.settings import Lab

STACK, POD = "10.213.7.2", "10.244.0.9"
DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch, tmp_path):
    """The machine's own proxies and stacks are none of these tests' business, and what a test leaves is taken back."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PROMPT_KEDA_LAB", "probe")


@pytest.fixture
def stands():
    """A stack that has published where it is."""
    lab = Lab("probe")
    lab.state.mkdir(parents=True)
    published = {"address": STACK, local_stack.STANDS_WHILE: "/proc/self"}
    local_stack.endpoints_file(lab.name).write_text(json.dumps(published))
    return lab


def begin(monkeypatch):
    """Bring a stack up as far as its address is known."""
    monkeypatch.setattr(place, "of", lambda lab: SimpleNamespace(make=lambda lab: STACK))
    monkeypatch.setattr(stack, "Authority", lambda folder: 1 / 0)
    bringup = stack._Bringup(Lab("probe"), lambda event: None, True, SimpleNamespace())
    with pytest.raises(ZeroDivisionError):
        bringup._make_infrastructure()


def use(monkeypatch):
    state.endpoints(Lab("probe"))


def look(monkeypatch):
    with session.open_session("prod"):
        pass


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("come", [begin, use, look])
def test_no_proxy_stands_before_the_stack(come, variable, stands, monkeypatch):
    """From where its address is known, and for whoever comes to one that stands; both variables say so, as both are read."""
    monkeypatch.setenv(variable, DEAD)
    come(monkeypatch)
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"]
    assert STACK in os.environ["NO_PROXY"].split(",")


@pytest.mark.parametrize("come", [begin, use])
def test_the_stacks_own_servers_reach_pods_and_services(come, stands, monkeypatch):
    """The API server asks KEDA by its Service's name or its pod's address, and inherits the proxy (k8s.io/apiserver)."""
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    come(monkeypatch)
    assert {".svc", "10.244.0.0/16", "10.96.0.0/16", "127.0.0.1", "localhost"} < set(os.environ["NO_PROXY"].split(","))


def test_a_look_at_a_real_cluster_takes_no_network_from_its_proxy(stands, monkeypatch):
    """Its API server may lie in a network that the stack uses as well; the stack's own address is this machine's alone."""
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    look(monkeypatch)
    assert os.environ["NO_PROXY"] == STACK


def test_without_a_proxy_nothing_is_set(stands, monkeypatch):
    """NO_PROXY alone is no proxy."""
    monkeypatch.setenv("NO_PROXY", "a.example")
    use(monkeypatch)
    assert os.environ["NO_PROXY"] == "a.example" and "no_proxy" not in os.environ


def test_what_the_user_has_set_stays(monkeypatch):
    """In both variables, each entry once, however often a stack is used."""
    monkeypatch.setenv("https_proxy", DEAD)
    monkeypatch.setenv("NO_PROXY", "a.example, fd00::/8")
    monkeypatch.setenv("no_proxy", ".b.example,a.example")
    for _ in range(2):
        local_stack.reach_directly(STACK)
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == f"a.example,fd00::/8,.b.example,{STACK}"


@pytest.mark.parametrize("value", ["*", "a.example,*"])
def test_who_wants_no_proxy_at_all_gets_none(value, monkeypatch):
    """An asterisk counts for urllib and requests only where it stands alone."""
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    monkeypatch.setenv("NO_PROXY", value)
    local_stack.reach_directly(STACK)
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "*"


def by_httpx(url):
    with httpx.Client() as client:
        return client._transport_for_url(httpx.URL(url)) is client._transport


CLIENTS = {
    "requests": lambda url: not get_environ_proxies(url),
    "kubernetes": lambda url: should_bypass_proxies(url, os.environ["NO_PROXY"]),
    "urllib": lambda url: proxy_bypass_environment(httpx.URL(url).host),
    "httpx": by_httpx,
}
KNOW_NETWORKS = {"requests", "kubernetes"}


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_understands_what_is_set(client, stands, monkeypatch):
    """The stack's address goes without, all else by the proxy: a network is known to some, so nothing that they ask is in one."""
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    use(monkeypatch)
    goes_without = CLIENTS[client]
    assert goes_without(f"https://{STACK}:6443/readyz")
    assert not goes_without("https://10.213.7.1:6443") and not goes_without("https://registry.example")
    assert goes_without(f"https://{POD}:6443") == (client in KNOW_NETWORKS)


def test_what_is_started_inherits_it(stands, monkeypatch):
    """Kubectl, Vault's client, kind, the native servers, and what is typed behind lab.exec."""
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    use(monkeypatch)
    program = "import os; print(os.environ['NO_PROXY'] == os.environ['no_proxy'], os.environ['no_proxy'])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"True {STACK},")


def test_a_damaged_stack_is_in_nobodys_way(stands, monkeypatch):
    """Who looks at another cluster needs nothing of it."""
    local_stack.endpoints_file(stands.name).write_text(json.dumps({local_stack.STANDS_WHILE: "/proc/self"}))
    look(monkeypatch)
