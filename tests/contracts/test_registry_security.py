"""Where a registry's password goes, and where it never goes: two https servers on loopback that write down what comes.

The two are two hosts to the client: the registry is 127.0.0.1, the foreign one is localhost.
"""

from __future__ import annotations

import base64
import json

import pytest

from prompt_keda.clients.registry import TOKEN_SERVICES, Registry
from prompt_keda.errors import BadAnswer, Refused
from prompt_keda.model.secret import Secret
from tests.contracts.conftest import SECONDS, recording

USER, PASSWORD = "puller", "canary-91ac"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
MANIFEST = "/v2/a/b/manifests/v1"


@pytest.fixture
def foreign(authority):
    """A host that must never see the password: it says yes to everything."""
    with recording(authority, lambda path, headers: (200, {}, b'{"token": "t"}')) as served:
        yield served


def challenge(realm):
    return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s",scope="x"'}, b""


def ask(authority, port, scheme="https"):
    registry = Registry.connect(
        "h", f"{scheme}://127.0.0.1:{port}", authority.ca_file, (USER, Secret(PASSWORD)), SECONDS
    )
    try:
        return registry.manifest_digest("a/b", "v1")
    finally:
        registry.close()


def test_the_token_flow_on_its_own_host_works(authority):
    """The password goes to the token service alone; the registry gets the token."""

    def answer(path, headers):
        if path == "/token":
            return 200, {}, json.dumps({"token": "short"}).encode()
        if headers.get("Authorization") == "Bearer short":
            return 200, {"Docker-Content-Digest": "sha256:1"}, b"{}"
        return challenge(f"https://{headers['Host']}/token")

    with recording(authority, answer) as (port, seen):
        assert ask(authority, port) == "sha256:1"
    assert [one for _, one in seen] == [None, BASIC, "Bearer short"]
    assert "scope=repository%3Aa%2Fb%3Apull" in seen[1][0]


@pytest.mark.parametrize(
    "realm",
    [
        "https://localhost:{port}/token",
        "https://127.0.0.1@localhost:{port}/token",
        "https://127.0.0.1.localhost:{port}/token",
        "http://127.0.0.1:{port}/token",
        "//localhost:{port}/token",
        "",
    ],
)
def test_a_foreign_or_plain_token_service_gets_nothing(realm, authority, foreign):
    """Another host, a host that only looks like it, or no TLS: not even a request."""
    place, seen_there = foreign
    served = recording(authority, lambda path, headers: challenge(realm.format(port=place)))
    with served as (port, seen), pytest.raises((Refused, BadAnswer)) as caught:
        ask(authority, port)
    assert seen_there == [] and [one for _, one in seen] == [None]
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("stage", ["manifest", "manifest with a password", "token"])
def test_no_redirect_is_followed(stage, authority, foreign):
    """Neither with the password nor with a token, and not from the token service either."""
    place, seen_there = foreign
    away = 307, {"Location": f"https://localhost:{place}/x"}, b""

    def answer(path, headers):
        if stage == "manifest" or path == "/token":
            return away
        if stage == "token":
            return challenge(f"https://{headers['Host']}/token")
        return away if headers.get("Authorization") else (401, {"WWW-Authenticate": 'Basic realm="r"'}, b"")

    with recording(authority, answer) as (port, _), pytest.raises(BadAnswer, match="307"):
        ask(authority, port)
    assert seen_there == []


def test_no_password_goes_over_plain_http(authority):
    """The registry asks for it, and does not get it."""
    basic = 401, {"WWW-Authenticate": 'Basic realm="r"'}, b""
    with recording(None, lambda path, headers: basic) as (port, seen), pytest.raises(Refused, match="not https"):
        ask(authority, port, scheme="http")
    assert [one for _, one in seen] == [None]


def test_a_token_service_that_speaks_no_json_is_a_bad_answer(authority):
    """And not a traceback."""

    def answer(path, headers):
        return (200, {}, b"<html>") if path == "/token" else challenge(f"https://{headers['Host']}/token")

    with recording(authority, answer) as (port, _), pytest.raises(BadAnswer, match="no JSON"):
        ask(authority, port)


def test_the_foreign_token_services_are_named_one_by_one():
    """No rule by domain: whoever shares a domain with a registry need not be the registry."""
    assert TOKEN_SERVICES == {"registry-1.docker.io": "auth.docker.io"}
