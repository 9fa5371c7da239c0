"""What is said of the environment's proxy. That proxies are used: tests/unit/lab/test_pulling.py."""

from __future__ import annotations

import os

import httpx
import pytest

from prompt_keda.clients.http import proxied


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The machine's own proxies are none of a test's business."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variable", "words"),
    [("HTTPS_PROXY", "the proxy of HTTPS_PROXY answers HTTP 407"), (None, "the proxy of the system answers HTTP 407")],
)
def test_a_proxy_that_refuses_is_named_by_where_it_is_set(monkeypatch, variable, words):
    """On a Mac no variable may name it: httpx takes the proxy of the system's settings then. Its own words are not shown."""
    if variable:
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert proxied.find_refusal(httpx.ProxyError("407 \x1b[31mLog in"), "https://registry.invalid") == words
