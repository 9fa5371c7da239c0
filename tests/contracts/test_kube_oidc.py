"""A kubeconfig with `auth-provider: oidc`: an expired id-token is refreshed at its issuer, verified, in time, or not at all."""

from __future__ import annotations

import base64
import http.server
import json
import socket
import time
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
import yaml

from prompt_keda.clients.kube.client import Kube
from prompt_keda.core.errors import BadAnswer, LoggedOut
from prompt_keda.lab.pki import Authority
from tests.contracts.conftest import SECONDS, free_port, recording, serving_https
from tests.contracts.test_kube_login import OK, base64_of, jwt, text_of

EXPIRED = jwt(exp=1_700_000_000)
EXPIRED_AT = "2023-11-14 22:13:20 UTC"
FRESH = jwt(exp=4_000_000_000, sub="fresh")
WELL_KNOWN = "/realm/.well-known/openid-configuration"


@contextmanager
def issuing(authority, answers, name="server"):
    """Serve as an issuer: ``answers`` has what it answers to each token request. Gives its address and all requests."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, None, None))
            address = f"https://127.0.0.1:{self.server.server_port}"
            self.reply(200, {"token_endpoint": f"{address}/token"})

        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            requests.append(
                (self.path, self.headers.get("Authorization"), {key: value[0] for key, value in form.items()})
            )
            self.reply(*answers.pop(0))

        def reply(self, status, body):
            data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if 300 <= status < 400:
                self.send_header("Location", "https://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    with serving_https(authority, Handler, name) as port:
        yield f"https://127.0.0.1:{port}/realm", requests


def user_of(issuer, authority=None, token=EXPIRED, **changes):
    """Return a user with an id-token of an issuer, whose CA stands in the file; what is changed to None is left out."""
    known = {
        "client-id": "kubectl",
        "client-secret": "canary-secret",
        "id-token": token,
        "idp-issuer-url": issuer,
        "refresh-token": "canary-refresh",
    }
    if authority:
        known["idp-certificate-authority-data"] = base64_of(authority.ca_file.read_text())
    config = {key: value for key, value in {**known, **changes}.items() if value is not None}
    return {"auth-provider": {"name": "oidc", "config": config}}


@pytest.fixture
def kubeconfig(tmp_path, authority):
    """Write a kubeconfig for a user and an API server, and return its path."""

    def write(user, port=1):
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority.ca_file)}
        path = tmp_path / "kubeconfig"
        path.write_text(text_of(cluster, user, extensions=[{"name": "kept", "extension": {"since": "2020-01-01"}}]))
        path.chmod(0o600)
        return path

    return write


def connect(path, timeout=SECONDS):
    return Kube.connect(path, None, timeout)


def kept(path):
    """Return what a kubeconfig says of its user's login."""
    return yaml.safe_load(path.read_text())["users"][0]["user"]["auth-provider"]["config"]


def logged_out(path, match, timeout=SECONDS):
    """Connect, which ends in LoggedOut; the message names no secret, and nothing is written."""
    before = path.read_bytes()
    with pytest.raises(LoggedOut, match=match) as caught:
        connect(path, timeout)
    message = caught.value.what + caught.value.fix
    assert "\n" not in message and "canary" not in message and EXPIRED not in message and "Log in again" in message
    assert path.read_bytes() == before and caught.value.exit_code == 3
    return caught.value


def test_a_token_that_lives_is_sent_and_nobody_is_asked(kubeconfig, authority):
    """The issuer is away, and need not be there."""
    with recording(authority, lambda path, headers: OK) as (port, requests):
        connect(kubeconfig(user_of("https://127.0.0.1:1", token=FRESH), port)).version()
    assert requests == [("/version", f"Bearer {FRESH}")]


def test_an_expired_token_is_refreshed_and_kept_as_kubectl_does(kubeconfig, authority):
    """Discovery, refresh-token grant, both new tokens in the file: an issuer may take the old refresh-token back."""
    answer = {"id_token": FRESH, "refresh_token": "canary-next"}
    with (
        issuing(authority, [(200, answer)]) as (issuer, asked),
        recording(authority, lambda path, headers: OK) as (port, requests),
    ):
        path = kubeconfig(user_of(issuer, authority), port)
        before = yaml.safe_load(path.read_text())
        kube = connect(path)
        kube.version()
        kube.version()
    assert requests == [("/version", f"Bearer {FRESH}")] * 2
    basic = f"Basic {base64.b64encode(b'kubectl:canary-secret').decode()}"
    form = {"grant_type": "refresh_token", "refresh_token": "canary-refresh"}
    assert asked == [(WELL_KNOWN, None, None), ("/token", basic, form)]
    assert (kept(path)["id-token"], kept(path)["refresh-token"]) == (FRESH, "canary-next")
    before["users"][0]["user"]["auth-provider"]["config"].update({"id-token": FRESH, "refresh-token": "canary-next"})
    assert yaml.safe_load(path.read_text()) == before and path.stat().st_mode & 0o777 == 0o600
    life = kube.login_life()
    assert life.ends.timestamp() == 4_000_000_000 and life.renews


def test_a_refresh_token_that_stays_is_kept(kubeconfig, authority):
    """The answer need not hold another one (RFC 6749, 6)."""
    with issuing(authority, [(200, {"id_token": FRESH})]) as (issuer, _):
        path = kubeconfig(user_of(issuer, authority))
        connect(path)
    assert (kept(path)["id-token"], kept(path)["refresh-token"]) == (FRESH, "canary-refresh")


def test_a_client_without_a_secret_says_its_name_alone(kubeconfig, authority):
    """A public client (RFC 6749, 2.3.1), as kubectl allows."""
    with issuing(authority, [(200, {"id_token": FRESH})]) as (issuer, asked):
        connect(kubeconfig(user_of(issuer, authority, **{"client-secret": None})))
    form = {"grant_type": "refresh_token", "refresh_token": "canary-refresh", "client_id": "kubectl"}
    assert asked[1:] == [("/token", None, form)]


def test_an_issuer_that_wants_the_secret_in_the_form_gets_it_there(kubeconfig, authority):
    """As kubectl: first by the header, then in the form."""
    answers = [(401, {"error": "invalid_client"}), (200, {"id_token": FRESH})]
    with issuing(authority, answers) as (issuer, asked):
        connect(kubeconfig(user_of(issuer, authority)))
    assert [(token is None, (form or {}).get("client_secret")) for _, token, form in asked[1:]] == [
        (False, None),
        (True, "canary-secret"),
    ]


def test_without_a_ca_in_the_file_the_issuer_is_verified_by_the_systems(kubeconfig, authority, tmp_path, monkeypatch):
    """Never without: one that nobody vouches for gets no refresh-token, and is not even asked."""
    with issuing(authority, [(200, {"id_token": FRESH})]) as (issuer, asked):
        path = kubeconfig(user_of(issuer))
        error = logged_out(path, f"expired at {EXPIRED_AT}.*TLS")
        assert asked == [] and "idp-certificate-authority" in error.fix
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
        connect(path)
    assert len(asked) == 2


def test_another_ca_in_the_file_is_no_less_than_that(kubeconfig, authority, tmp_path):
    """The issuer of another authority is not asked."""
    other = Authority(tmp_path / "other")
    with issuing(authority, []) as (issuer, asked):
        logged_out(kubeconfig(user_of(issuer, other)), "TLS")
    assert asked == []


def test_a_certificate_for_another_name_is_not_trusted(kubeconfig, authority):
    """A name is part of the proof."""
    authority.ensure_server("other", ["other.test"])
    with issuing(authority, [], "other") as (issuer, asked):
        logged_out(kubeconfig(user_of(issuer, authority)), "TLS")
    assert asked == []


@pytest.mark.parametrize("known", [{}, {"client-secret": None}], ids=["all", "no client-secret"])
def test_an_issuer_that_refuses_is_reported(known, kubeconfig, authority):
    """When the token expired, that the issuer does not answer, and why."""
    error = logged_out(kubeconfig(user_of(f"https://127.0.0.1:{free_port()}/realm", authority, **known)), "refused")
    assert f"expired at {EXPIRED_AT}" in error.what and "issuer" in error.what


def test_an_issuer_that_is_silent_is_waited_for_no_longer_than_allowed(kubeconfig, authority):
    """limits.connect, for all of it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = kubeconfig(user_of(f"https://127.0.0.1:{silent.getsockname()[1]}", authority))
        started = time.monotonic()
        logged_out(path, f"expired at {EXPIRED_AT}.*no answer", timedelta(seconds=1))
    assert time.monotonic() - started < 4


def test_an_issuer_that_drips_is_waited_for_no_longer_than_allowed(kubeconfig, authority):
    """A byte now and then is no answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            end = time.monotonic() + 8
            while time.monotonic() < end:
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return
                time.sleep(0.2)

        def log_message(self, *arguments):
            pass

    with serving_https(authority, Handler) as port:
        started = time.monotonic()
        logged_out(kubeconfig(user_of(f"https://127.0.0.1:{port}", authority)), "issuer", timedelta(seconds=1))
        assert time.monotonic() - started < 4


@pytest.mark.parametrize("missing", ["refresh-token", "idp-issuer-url", "client-id"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_a_refresh_needs_is_named(missing, value, kubeconfig, authority):
    """Nobody is asked; logging in again puts it there."""
    with issuing(authority, []) as (issuer, asked):
        error = logged_out(kubeconfig(user_of(issuer, authority, **{missing: value})), f"no {missing}")
    assert asked == [] and f"expired at {EXPIRED_AT}" in error.what


REFUSALS = {
    "the grant is no longer valid": ((400, {"error": "invalid_grant", "error_description": "canary"}), "invalid_grant"),
    "words that are not ours": ((400, {"error": "canary\x1b[31m"}), "HTTP 400"),
    "no JSON": ((200, b"<html>canary</html>"), "no JSON"),
    "a list": ((200, [1]), "no JSON"),
    "no id-token": ((200, {"access_token": "canary"}), "no id-token"),
    "an id-token that is a number": ((200, {"id_token": 5}), "no id-token"),
    "an id-token that is none": ((200, {"id_token": "canary"}), "no id-token"),
    "an id-token that has expired": ((200, {"id_token": EXPIRED}), "no id-token"),
    "a redirect": ((307, {}), "HTTP 307"),
    "its own trouble": ((503, b"canary"), "HTTP 503"),
    "too much": ((200, b" " * 3_000_000), "no JSON"),
}


@pytest.mark.parametrize(("answer", "match"), REFUSALS.values(), ids=REFUSALS)
def test_an_issuer_that_gives_no_token_is_reported(answer, match, kubeconfig, authority):
    """In our words; what it says besides may hold anything."""
    with issuing(authority, [answer] * 2) as (issuer, _):
        logged_out(kubeconfig(user_of(issuer, authority)), f"expired at {EXPIRED_AT}.*{match}")


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ((404, {}, b"canary"), "HTTP 404"),
        ((200, {}, b"canary"), "no JSON"),
        ((200, {}, b"{}"), "no token_endpoint"),
        ((200, {}, b'{"token_endpoint": "http://127.0.0.1/token"}'), "not https"),
        ((200, {}, b'{"token_endpoint": 5}'), "no token_endpoint"),
        ((302, {"Location": "https://127.0.0.1:1/"}, b""), "HTTP 302"),
    ],
)
def test_an_issuer_that_does_not_say_where_tokens_are_is_reported(answer, match, kubeconfig, authority):
    """The refresh-token goes by https alone, and no redirect is followed."""
    with recording(authority, lambda path, headers: answer) as (port, requests):
        logged_out(kubeconfig(user_of(f"https://127.0.0.1:{port}", authority)), match)
    assert len(requests) == 1


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:1", "127.0.0.1", "https://me:canary@127.0.0.1:1"])
def test_an_issuer_without_tls_is_not_asked(issuer, kubeconfig, authority):
    """Nor one whose address holds a login, which is not shown."""
    logged_out(kubeconfig(user_of(issuer, authority)), f"expired at {EXPIRED_AT}.*nothing is sent")


@pytest.mark.parametrize(
    "changes",
    [
        {"idp-certificate-authority-data": "%%%"},
        {"idp-certificate-authority-data": base64_of("hello")},
        {"idp-certificate-authority-data": None, "idp-certificate-authority": "/nowhere/ca.crt"},
        {"idp-certificate-authority-data": None, "idp-certificate-authority": "/dev/null"},
        {"idp-certificate-authority-data": None, "idp-certificate-authority": "/"},
    ],
    ids=["no base64", "no PEM", "no file", "empty", "a folder"],
)
def test_a_ca_of_the_issuer_that_is_none_is_reported(changes, kubeconfig, authority):
    """Nobody is asked then."""
    with issuing(authority, []) as (issuer, asked):
        logged_out(kubeconfig(user_of(issuer, authority, **changes)), "idp-certificate-authority")
    assert asked == []


@pytest.mark.parametrize("token", ["canary-opaque", "a.b.c", "a.b", f"a.{base64_of('[1]')}.c", "=+/"])
def test_an_id_token_that_is_no_jwt_is_reported(token, kubeconfig, authority):
    """kubectl stops there too; nothing is sent without a login."""
    with issuing(authority, []) as (issuer, asked):
        logged_out(kubeconfig(user_of(issuer, authority, token)), "id-token is no JWT")
    assert asked == []


@pytest.mark.parametrize("token", [None, "", jwt(sub="me"), jwt(exp="tomorrow")])
def test_an_id_token_that_is_absent_or_does_not_say_when_it_expires_is_refreshed(token, kubeconfig, authority):
    """As kubectl does."""
    with issuing(authority, [(200, {"id_token": FRESH})]) as (issuer, asked):
        path = kubeconfig(user_of(issuer, authority, token))
        connect(path)
    assert len(asked) == 2 and kept(path)["id-token"] == FRESH


def test_a_kubeconfig_that_cannot_be_written_is_not_refreshed(kubeconfig, authority, monkeypatch):
    """The issuer may take the old refresh-token back: then the file would be worth nothing."""
    with issuing(authority, []) as (issuer, asked):
        path = kubeconfig(user_of(issuer, authority))
        monkeypatch.setattr("os.access", lambda *arguments: False)  # root may write everywhere
        logged_out(path, "cannot be written")
    assert asked == []


def test_a_token_that_expires_in_mid_run_is_refreshed_before_it_is_sent(kubeconfig, authority, monkeypatch):
    """Without a 401, for a port-forward too; one that somebody else has refreshed is taken from the file."""
    soon = jwt(exp=int(time.time()) + 60)
    with recording(authority, lambda path, headers: OK) as (port, requests):
        path = kubeconfig(user_of("https://127.0.0.1:1", authority, soon), port)
        kube = connect(path)
        kube.version()
        path.write_text(path.read_text().replace(soon, FRESH))
        later = time.time() + 55
        monkeypatch.setattr("time.time", lambda: later)
        kube.version()
    assert [token for _, token in requests] == [f"Bearer {soon}", f"Bearer {FRESH}"]


def test_an_issuer_that_failed_is_left_alone_for_a_while(kubeconfig, authority, monkeypatch):
    """Each of many checks would wait for it, one after the other."""
    soon = jwt(exp=int(time.time()) + 60)
    with issuing(authority, [(503, b"")] * 9) as (issuer, asked):
        kube = connect(kubeconfig(user_of(issuer, authority, soon)))
        later = time.time() + 55
        monkeypatch.setattr("time.time", lambda: later)
        for _ in range(5):
            with pytest.raises(LoggedOut):
                kube.version()
    assert len(asked) == 2


@pytest.mark.parametrize(
    "provider", [{"name": "azure"}, {"name": "oidc"}, {"name": "oidc", "config": {"id-token": 5}}, {}]
)
def test_a_provider_that_makes_no_sense_is_reported(provider, kubeconfig):
    """Nothing is sent as nobody."""
    path = kubeconfig({"auth-provider": {**provider}})
    with pytest.raises((LoggedOut, BadAnswer)) as caught:
        connect(path)
    assert caught.value.fix and "\n" not in caught.value.what
