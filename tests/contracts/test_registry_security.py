"""Where a registry's password goes, and where it never goes: two https servers on loopback that write down what comes.

The two are two hosts to the client: the registry is 127.0.0.1, the foreign one is localhost.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket

import pytest

from prompt_keda.clients.registry import TOKEN_SERVICES, ManifestInfo, Registry
from prompt_keda.core.errors import BadAnswer, Refused, Unreachable
from prompt_keda.core.secret import Secret
from tests.contracts.conftest import SECONDS, recording

USER, PASSWORD = "puller", "canary-91ac"
GOOD = (USER, Secret(PASSWORD))
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

    with recording(authority, answer) as (port, requests):
        assert ask(authority, port) == "sha256:1"
    assert [headers for _, headers in requests] == [None, BASIC, "Bearer short"]
    assert "scope=repository%3Aa%2Fb%3Apull" in requests[1][0]


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
    with served as (port, requests), pytest.raises((Refused, BadAnswer)) as caught:
        ask(authority, port)
    assert seen_there == [] and [headers for _, headers in requests] == [None]
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


CONFIG = b'{"os": "linux", "architecture": "arm64"}'
CONFIG_DIGEST = f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"


@pytest.mark.parametrize(("kept", "message"), [(CONFIG, None), (b"{}", "not what its digest says")])
def test_a_config_is_fetched_from_where_it_is_kept_without_the_password(kept, message, authority):
    """One redirect of a blob is followed, bare; what comes has to have the digest that was asked for."""
    info = ManifestInfo("sha256:1", "", blobs=(CONFIG_DIGEST,))
    with recording(authority, lambda path, headers: (200, {}, kept)) as (place, seen_there):
        away = 307, {"Location": f"https://{USER}:{PASSWORD}@localhost:{place}/x"}, b""

        def answer(path, headers):
            return away if headers.get("Authorization") else (401, {"WWW-Authenticate": 'Basic realm="r"'}, b"")

        with recording(authority, answer) as (port, _):
            registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, GOOD, SECONDS)
            if message:
                with pytest.raises(BadAnswer, match=message):
                    registry.platforms("a/b", info)
            else:
                assert registry.platforms("a/b", info) == ("linux/arm64",)
            assert registry.has_blob("a/b", CONFIG_DIGEST)
            registry.close()
    assert seen_there == [("/x", None)]


def test_a_config_is_not_fetched_without_tls(authority):
    """Not even without the password."""
    away = 307, {"Location": "http://127.0.0.1:1/x"}, b""
    with recording(authority, lambda path, headers: away) as (port, _):
        registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, GOOD, SECONDS)
        with pytest.raises(Refused, match="no TLS"):
            registry.platforms("a/b", ManifestInfo("sha256:1", "", blobs=(CONFIG_DIGEST,)))
        registry.close()


def test_a_registry_that_is_asked_too_often_says_when_to_come_again(authority):
    """429 is no answer about the image; what is left of the limit is kept."""
    answers = iter([(200, {"ratelimit-remaining": "3;w=21600", "Docker-Content-Digest": "sha256:1"}, b"{}")])
    refused = 429, {"Retry-After": "17"}, b""
    with recording(authority, lambda path, headers: next(answers, refused)) as (port, _):
        registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, None, SECONDS)
        assert registry.manifest_digest("a/b", "v1") == "sha256:1"
        assert registry.pulls_left == 3
        with pytest.raises(Unreachable, match="answers again in 17 s"):
            registry.manifest_digest("a/b", "v1")
        registry.close()


def test_one_challenge_opens_a_repository(authority):
    """The next requests for it bring the proof along; another repository has its own."""
    digest = {"Docker-Content-Digest": "sha256:1"}

    def answer(path, headers):
        proven = headers.get("Authorization") == BASIC
        return (200, digest, b"{}") if proven else (401, {"WWW-Authenticate": 'Basic realm="r"'}, b"")

    with recording(authority, answer) as (port, requests):
        registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, GOOD, SECONDS)
        for repository in ("a/b", "a/b", "a/c"):
            registry.manifest_digest(repository, "v1")
        registry.close()
    assert [headers for _, headers in requests] == [None, BASIC, BASIC, None, BASIC]


def test_plain_http_is_not_spoken(authority):
    """Not even a request goes there, let alone a password; one that stands in the address is not shown."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        for scheme in ("http", "ftp"):
            with pytest.raises(Refused, match="not https"):
                ask(authority, server.getsockname()[1], scheme)
        with pytest.raises(TimeoutError):
            server.accept()
    with pytest.raises(Refused) as caught:
        Registry.connect("h", f"http://{USER}:{PASSWORD}@h.test", None, None, SECONDS)
    assert PASSWORD not in caught.value.what


PAGE = b"<html>Log in</html>"
NO_MANIFEST = {
    "a page": (200, {"Content-Type": "text/html"}, PAGE),
    "JSON of another kind": (200, {"Content-Type": "application/json"}, b"{}"),
    "nothing": (200, {}, b""),
}


@pytest.mark.parametrize("answer", NO_MANIFEST.values(), ids=NO_MANIFEST)
def test_a_yes_without_a_manifest_is_no_image(answer, authority):
    """The page of a proxy or of a log-in says 200 as well."""
    with recording(authority, lambda path, headers: answer) as (port, _):
        registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, None, SECONDS)
        for ask_for in (registry.manifest_digest, registry.manifest):
            with pytest.raises(BadAnswer, match=r"no manifest|no JSON"):
                ask_for("a/b", "v1")
        registry.close()


def test_another_image_than_the_one_asked_for_is_a_bad_answer(authority):
    """Asked for a digest, a registry gives that digest."""
    given = 200, {"Docker-Content-Digest": "sha256:2"}, b"{}"
    with recording(authority, lambda path, headers: given) as (port, _):
        registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, None, SECONDS)
        with pytest.raises(BadAnswer, match="sha256:2"):
            registry.manifest_digest("a/b", "sha256:1")
        registry.close()


def test_an_address_that_makes_no_sense_shows_no_part_of_a_password():
    """A slash that is not escaped makes the password look like a port."""
    with pytest.raises(BadAnswer) as caught:
        Registry.connect("h", f"https://{USER}:{PASSWORD}/x@h.test", None, None, SECONDS)
    assert PASSWORD not in caught.value.what and caught.value.__cause__ is None and caught.value.__context__ is None


def test_a_token_service_that_speaks_no_json_is_a_bad_answer(authority):
    """And not a traceback."""

    def answer(path, headers):
        return (200, {}, b"<html>") if path == "/token" else challenge(f"https://{headers['Host']}/token")

    with recording(authority, answer) as (port, _), pytest.raises(BadAnswer, match="no JSON"):
        ask(authority, port)


def test_the_foreign_token_services_are_named_one_by_one():
    """No rule by domain: whoever shares a domain with a registry need not be the registry."""
    assert TOKEN_SERVICES == {"registry-1.docker.io": "auth.docker.io"}
