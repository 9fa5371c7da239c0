"""Registries behind the environment's proxy, for who asks whether images are there (`lab.images`)."""

from __future__ import annotations

import os

import pytest

from prompt_keda.clients.registry import Registry
from prompt_keda.core.errors import BadAnswer, Unreachable
from prompt_keda.lab import image_checks
from tests.contracts.conftest import SECONDS, free_port, recording
from tests.contracts.test_kube_proxy import proxying

DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The machine's own proxies are none of these tests' business."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def ask(authority):
    """Ask a registry for an image's digest."""
    with recording(authority, lambda path, headers: (200, {"Docker-Content-Digest": DIGEST}, b"")) as (port, _):

        def ask(by_proxy=True):
            url = f"https://127.0.0.1:{port}"
            registry = Registry.connect("h", url, authority.ca_file, None, SECONDS, by_proxy=by_proxy)
            return registry.manifest_digest("a/b", "1")

        ask.port = port
        yield ask


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_registry_is_asked_through_the_proxy(variable, ask, monkeypatch):
    """TLS goes through it, and is verified; hosts of NO_PROXY go without, and so does who does not want it."""
    with proxying() as (port, asked):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
        assert ask() == DIGEST
        assert [head[0] for head in asked] == [f"CONNECT 127.0.0.1:{ask.port} HTTP/1.1"]
        assert ask(by_proxy=False) == DIGEST
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert ask() == DIGEST
        assert len(asked) == 1


def test_a_proxy_that_fails_is_named_by_its_variable(ask, monkeypatch):
    """Refused, or an answer of its own; without its address."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://u:ca55@127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable, match="refused, through the proxy of HTTPS_PROXY") as caught:
        ask()
    assert "ca55" not in caught.value.what
    with proxying(407) as (port, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://u:ca55@127.0.0.1:{port}")
        with pytest.raises(Unreachable, match="the proxy of HTTPS_PROXY answers HTTP 407") as caught:
            ask()
    assert "ca55" not in caught.value.what


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("ALL_PROXY", "socks5://u:ca55@h:1", "a SOCKS proxy"),
        ("HTTPS_PROXY", "nonsense://u:ca55@h:1", "makes no sense"),
        ("NO_PROXY", "[::1]", "NO_PROXY makes no sense"),
    ],
)
def test_a_proxy_that_is_not_taken_is_reported(variable, value, message, ask, monkeypatch):
    """Before anything is sent, without its address."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadAnswer, match=message) as caught:
        ask()
    assert "ca55" not in f"{caught.value.what} {caught.value.__cause__}"


def test_lab_images_takes_the_proxy(monkeypatch):
    """Who checks the list may have no other way to public registries."""
    with proxying(503) as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(Unreachable, match="answers HTTP 503"):
            image_checks.connect("registry.invalid").manifest_digest("a/b", "1")
    assert asked[0][0] == "CONNECT registry.invalid:443 HTTP/1.1"
