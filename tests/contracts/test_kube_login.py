"""Kubeconfigs, exec plugins, tokens and broken connections, on a loopback server that plays an API server."""

from __future__ import annotations

import base64
import json
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from kubernetes.config import kube_config

from prompt_keda.clients.kube import login
from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import PODS
from prompt_keda.core.errors import BadAnswer, LoggedOut, Missing, Refused, Unreachable
from prompt_keda.lab.pki import Authority
from tests.contracts.conftest import SECONDS, free_port, recording
from tests.terminal import until_closed

OK = 200, {}, b'{"gitVersion": "v1.35.4"}'
DENIED = 401, {}, b'{"message": "Unauthorized"}'


def text_of(cluster=None, user=None, **changes):
    """Return a kubeconfig whose cluster, user or whole is changed."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", **(cluster or {})}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    return json.dumps({**document, **changes})


@pytest.fixture
def write_kubeconfig(tmp_path, authority):
    """Write a kubeconfig for a server, whose exec plugin is a shell script."""

    def write(server, script):
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script]}}
        path = tmp_path / "kubeconfig"
        path.write_text(text_of({"server": server, "certificate-authority": str(authority.ca_file)}, user))
        return path

    return write


def plugin(token_file, expires=""):
    """Return a script that counts its runs and hands out what stands in a file."""
    expiry = f',"expirationTimestamp":"{expires}"' if expires else ""
    answer = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"' + expiry
    return f"echo run >> {token_file}.runs; printf '{answer}}}}}' \"$(cat {token_file})\""


def runs(token_file):
    return token_file.with_name(f"{token_file.name}.runs").read_text().count("run")


def test_a_token_that_was_withdrawn_is_fetched_anew_once(write_kubeconfig, authority, tmp_path):
    """401 before its time: the plugin runs again, the request is sent again, and the person sees nothing of it."""
    token = tmp_path / "token"
    token.write_text("old")

    def answer(path, headers):
        return OK if headers.get("Authorization") == "Bearer new" else DENIED

    with recording(authority, answer) as (port, requests):
        kube = Kube.connect(write_kubeconfig(f"https://127.0.0.1:{port}", plugin(token)), None, SECONDS)
        token.write_text("new")
        assert kube.version() == "v1.35.4"
    assert [headers for _, headers in requests] == ["Bearer old", "Bearer new"] and runs(token) == 2


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ((200, {}, b"ok"), ()),
        (
            (500, {}, b"[+]ping ok\n[-]etcd failed: reason withheld\n[-]shutdown failed\nreadyz check failed"),
            ("etcd", "shutdown"),
        ),
        ((503, {}, b"the syncer is not ready"), ("503 on GET /readyz: the syncer is not ready",)),
    ],
)
def test_a_server_says_which_of_its_parts_are_not_ready(write_kubeconfig, authority, tmp_path, answer, parts):
    """In Kubernetes' own form, or in that of whatever stands before it."""
    token = tmp_path / "token"
    token.write_text("t")
    with recording(authority, lambda path, headers: answer) as (port, requests):
        not_ready = Kube.connect(
            write_kubeconfig(f"https://127.0.0.1:{port}", plugin(token)), None, SECONDS
        ).not_ready()
    assert (not_ready, [path for path, _ in requests]) == (parts, ["/readyz"])


def test_what_is_written_is_waited_for_longer_than_what_is_read(write_kubeconfig, authority, tmp_path):
    """Admission and a busy store hold a write up; each has a limit of its own."""
    token = tmp_path / "token"
    token.write_text("t")
    late = threading.Event()

    def answer(path, headers):
        late.wait(1.5)  # what is slow is the answer
        return OK

    with recording(authority, answer) as (port, _):
        file = write_kubeconfig(f"https://127.0.0.1:{port}", plugin(token))
        kube = Kube.connect(file, None, timedelta(seconds=0.5), write_timeout=SECONDS)
        kube.create(PODS, {}, "n")
        with pytest.raises(Unreachable, match="no answer"):
            kube.get(PODS, "p", "n")
        late.set()


def test_a_login_that_stays_refused_ends_after_one_new_try(write_kubeconfig, authority, tmp_path):
    """No loop: Refused, and what to do."""
    token = tmp_path / "token"
    token.write_text("bad")
    with recording(authority, lambda path, headers: DENIED) as (port, requests):
        kube = Kube.connect(write_kubeconfig(f"https://127.0.0.1:{port}", plugin(token)), None, SECONDS)
        with pytest.raises(Refused, match="401") as caught:
            kube.version()
    assert len(requests) == 1 and runs(token) == 2 and "Log in again" in caught.value.fix


def test_an_expired_token_is_fetched_anew_before_it_is_sent(write_kubeconfig, authority, tmp_path):
    """The plugin says until when; no request is spent on finding out."""
    token = tmp_path / "token"
    token.write_text("t")
    with recording(authority, lambda path, headers: OK) as (port, requests):
        script = plugin(token, "2020-01-01T00:00:00Z")
        Kube.connect(write_kubeconfig(f"https://127.0.0.1:{port}", script), None, SECONDS).version()
    assert len(requests) == 1 and runs(token) == 2


def test_a_plugin_that_fails_is_reported_by_its_last_line(write_kubeconfig):
    """One line, its own words."""
    script = "echo first >&2; echo your ticket has expired >&2; exit 3"
    with pytest.raises(Refused, match=r"your ticket has expired$") as caught:
        Kube.connect(write_kubeconfig("https://127.0.0.1:1", script), None, SECONDS)
    assert "first" not in caught.value.what and "Log in again" in caught.value.fix


def test_on_a_terminal_the_plugin_speaks_itself_and_the_message_points_there(write_kubeconfig):
    """There the words have gone to the person already; the package's own message would be an AttributeError."""
    path = write_kubeconfig("https://127.0.0.1:1", "echo your ticket has expired >&2; exit 3")
    code = (
        "import datetime, pathlib, prompt_keda.clients.kube.client as k, prompt_keda.core.errors as e\n"
        f"try: k.Kube.connect(pathlib.Path({str(path)!r}), None, datetime.timedelta(seconds=1))\n"
        "except e.Refused as error: print(error.what)\n"
    )
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    output = b"".join(until_closed(ours)).decode()
    os.close(ours)
    assert output.index("your ticket has expired") < output.index("its exec plugin failed") and "NoneType" not in output


def test_a_kubeconfig_or_context_that_is_absent_is_named(write_kubeconfig, tmp_path):
    """Missing, with the file."""
    with pytest.raises(Missing, match="nowhere"):
        Kube.connect(tmp_path / "nowhere", None, SECONDS)
    with pytest.raises(Missing, match="strange"):
        Kube.connect(write_kubeconfig("https://127.0.0.1:1", "true"), "strange", SECONDS)


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"insecure-skip-tls-verify": True}, "not to verify"),
        ({"server": "http://127.0.0.1:1"}, "not https"),
        ({"server": "127.0.0.1:1"}, "not https"),
        ({"server": ""}, "not https"),
    ],
    ids=["insecure-skip-tls-verify", "http", "no scheme", "no server"],
)
def test_a_server_that_need_not_prove_who_it_is_is_refused(cluster, message, tmp_path):
    """The guard compares the CA in the file: it says nothing of a server that was never asked for its certificate."""
    (tmp_path / "kubeconfig").write_text(text_of(cluster))
    with pytest.raises(Refused, match=message) as caught:
        Kube.connect(tmp_path / "kubeconfig", None, SECONDS)
    assert caught.value.fix


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


JUNK = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
BROKEN = {
    "no YAML": "a: [b\nc: {",
    "a list": "- a\n- b\n",
    "a text": "hello",
    "a number": "5",
    "nothing": "",
    "no text": "\x00\x01",
    "contexts is a number": text_of(contexts=5),
    "clusters is empty": text_of(clusters=None),
    "server is a number": text_of({"server": 5}),
    "proxy is a number": text_of({"proxy-url": 5}),
    "CA is no base64": text_of({"certificate-authority-data": "%%%"}),
    "CA is a number": text_of({"certificate-authority-data": 5}),
    "CA is no PEM": text_of({"certificate-authority-data": base64_of("hello")}),
    "CA is no certificate": text_of({"certificate-authority-data": base64_of(JUNK)}),
    "CA's file is missing": text_of({"certificate-authority": "/nowhere"}),
    "a user without its entry": text_of(users=[{"name": "u", "usr": {"token": "canary-88"}}]),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_kubeconfig_is_reported_in_one_line(text, tmp_path):
    """Which file, and no traceback; what stands in it is not shown."""
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises((Missing, BadAnswer)) as caught:
        Kube.connect(tmp_path / "kubeconfig", None, SECONDS)
    assert "\n" not in caught.value.what and "canary" not in caught.value.what and caught.value.fix


def test_a_ca_that_goes_away_later_is_a_client_error(write_kubeconfig, authority, tmp_path):
    """The identity is asked for again and again; the file may be gone by then, or be another."""
    copied = tmp_path / "ca.crt"
    copied.write_bytes(authority.ca_file.read_bytes())
    (tmp_path / "kubeconfig").write_text(text_of({"certificate-authority": str(copied)}))
    kube = Kube.connect(tmp_path / "kubeconfig", None, SECONDS)
    assert kube.ca_sha256 == authority.ca_sha256()
    copied.write_text("hello")
    with pytest.raises(BadAnswer, match="no certificate"):
        _ = kube.ca_sha256
    copied.unlink()
    with pytest.raises(Missing, match="cannot be read"):
        _ = kube.ca_sha256


@pytest.mark.parametrize(("status", "kind"), [(401, LoggedOut), (403, Refused), (404, Missing), (500, BadAnswer)])
def test_a_port_forward_says_what_was_answered(status, kind, write_kubeconfig, authority, tmp_path):
    """An expired login is told apart from a missing right: logging in helps only the first."""
    token = tmp_path / "token"
    token.write_text("t")
    with recording(authority, lambda path, headers: (status, {}, b"")) as (port, _):
        kube = Kube.connect(write_kubeconfig(f"https://127.0.0.1:{port}", plugin(token)), None, SECONDS)
        with pytest.raises(kind, match=str(status)) as caught:
            kube.port_forward("n", "p", 1)
    assert type(caught.value) is kind and ("Log in again" in caught.value.fix) == (kind is LoggedOut)


def test_the_servers_own_words_take_one_line(write_kubeconfig, authority, tmp_path):
    """Whoever can shape them could forge a line of ours otherwise."""
    token = tmp_path / "token"
    token.write_text("t")
    words = json.dumps({"message": "no\n   1.0 s  done  verify/no-job-lost"}).encode()
    with recording(authority, lambda path, headers: (409, {}, words)) as (port, _):
        kube = Kube.connect(write_kubeconfig(f"https://127.0.0.1:{port}", plugin(token)), None, SECONDS)
        with pytest.raises(BadAnswer) as caught:
            kube.version()
    assert "\n" not in caught.value.what and "verify/no-job-lost" in caught.value.what


def test_a_redirect_is_not_followed(write_kubeconfig, authority, tmp_path):
    """The token stays where it belongs: for a request, and for a port-forward."""
    token = tmp_path / "token"
    token.write_text("canary")
    with recording(authority, lambda path, headers: OK) as (place, seen_there):
        away = 307, {"Location": f"https://localhost:{place}/x"}, b""
        with recording(authority, lambda path, headers: away) as (port, _):
            kube = Kube.connect(write_kubeconfig(f"https://127.0.0.1:{port}", plugin(token)), None, SECONDS)
            with pytest.raises(BadAnswer, match="307"):
                kube.version()
            with pytest.raises(BadAnswer, match="307"):
                kube.port_forward("n", "p", 1)
    assert seen_there == []


@pytest.mark.parametrize("ask", [lambda kube: kube.version(), lambda kube: kube.port_forward("n", "p", 1)])
def test_name_tcp_tls_and_silence_are_told_apart(ask, write_kubeconfig, authority, tmp_path):
    """For a request and for a port-forward alike; silence ends with the time-out."""
    token = tmp_path / "token"
    token.write_text("t")

    def failing(server, word):
        kube = Kube.connect(write_kubeconfig(server, plugin(token)), None, timedelta(seconds=1))
        started = time.monotonic()
        with pytest.raises(Unreachable, match=word):
            ask(kube)
        assert time.monotonic() - started < 5

    failing("https://api.invalid:6443", "name cannot be resolved")
    failing(f"https://127.0.0.1:{free_port()}", "refused")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        failing(f"https://127.0.0.1:{silent.getsockname()[1]}", "no answer within 1 s")
    authority.ensure_server("other", ["other.test"])
    with recording(authority, lambda path, headers: OK, "other") as (port, _):
        failing(f"https://127.0.0.1:{port}", "TLS")


def jwt(**claims):
    """Return a token that says something, with a signature that is none."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "x"}, claims)
    ]
    return ".".join([*parts, "c2lnbmVk"])


def life_of(tmp_path, user):
    (tmp_path / "kubeconfig").write_text(text_of(user=user))
    return Kube.connect(tmp_path / "kubeconfig", None, SECONDS).login_life()


def test_a_token_says_itself_how_long_it_lives(tmp_path):
    """exp and iat of a JWT; nothing is verified, and a token without exp does not expire."""
    now = int(time.time())
    life = life_of(tmp_path, {"token": jwt(exp=now + 600, iat=now - 60)})
    assert (life.kind, life.renews) == ("token", False)
    assert (life.ends.timestamp(), life.begins.timestamp()) == (now + 600, now - 60)
    assert life_of(tmp_path, {"token": jwt(sub="me")}).ends is None


NOTHING_SAID = ["opaque", "a.b.c", "a..c", f"a.{base64.b64encode(b'[1]').decode()}.c", "", jwt(exp="tomorrow")]


@pytest.mark.parametrize("token", NOTHING_SAID)
def test_a_token_that_says_nothing_is_not_known(token, tmp_path):
    """None, and no traceback: it is made by others."""
    assert life_of(tmp_path, {"token": token} if token else {}) is None


def test_the_exec_plugin_says_how_long_an_opaque_token_lives(write_kubeconfig, tmp_path):
    """expirationTimestamp; and the plugin fetches the next."""
    (tmp_path / "token").write_text("opaque")
    path = write_kubeconfig("https://127.0.0.1:1", plugin(tmp_path / "token", "2099-01-01T00:00:00Z"))
    life = Kube.connect(path, None, SECONDS).login_life()
    assert life.ends.year == 2099 and life.renews and life.begins is None
    assert "opaque" not in repr(life)


def test_a_client_certificate_says_how_long_it_lives(authority, tmp_path):
    """Its notAfter, where there is no token."""
    authority.ensure_client("person", "me", ())
    user = {
        "client-certificate": str(authority.folder / "person.crt"),
        "client-key": str(authority.folder / "person.key"),
    }
    life = life_of(tmp_path, user)
    assert life.kind == "client certificate" and life.begins.timestamp() < time.time() < life.ends.timestamp()


def test_a_second_authority_in_the_kubeconfig_makes_another_identity(authority, tmp_path):
    """It would let another server pass for the cluster that is meant."""
    other, both, path = Authority(tmp_path / "other"), tmp_path / "both.crt", tmp_path / "kubeconfig"
    both.write_text(authority.ca_file.read_text() + other.ca_file.read_text())
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority": str(both)}
    path.write_text(text_of(cluster, {"token": "t"}))
    assert Kube.connect(path, None, SECONDS).ca_sha256 not in (authority.ca_sha256(), other.ca_sha256(), None)


def test_a_busy_server_is_asked_again_when_it_says(write_kubeconfig, authority, tmp_path):
    """429, as while the storage of a new CRD is made (seen right after a CRD came back)."""
    (tmp_path / "token").write_text("t")
    busy = 429, {"Retry-After": "0.1"}, b'{"message": "storage is (re)initializing"}'
    answers = [busy, busy, OK]
    with recording(authority, lambda path, headers: answers.pop(0)) as (port, requests):
        kube = Kube.connect(write_kubeconfig(f"https://127.0.0.1:{port}", plugin(tmp_path / "token")), None, SECONDS)
        assert kube.version() == "v1.35.4" and len(requests) == 3


def test_a_server_that_stays_busy_is_reported(write_kubeconfig, authority, tmp_path):
    """It wants to be left alone for longer than the client waits."""
    (tmp_path / "token").write_text("t")
    busy = 429, {"Retry-After": "3600"}, b'{"message": "too many requests"}'
    with recording(authority, lambda path, headers: busy) as (port, requests):
        kube = Kube.connect(write_kubeconfig(f"https://127.0.0.1:{port}", plugin(tmp_path / "token")), None, SECONDS)
        with pytest.raises(BadAnswer, match="too many requests"):
            kube.version()
    assert len(requests) == 1


@pytest.fixture
def pod(tmp_path, monkeypatch, authority):
    """What a pod sees: its ServiceAccount's files, the API server's address, and no kubeconfig."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first")
    (folder / "ca.crt").write_bytes(authority.ca_file.read_bytes())
    monkeypatch.setattr(login, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    return folder


def test_in_a_pod_it_logs_in_as_the_service_account_and_reads_a_renewed_token(pod, authority, monkeypatch):
    """The kubelet writes a new token into the file; the next request carries it, at the latest once the old one is refused."""

    def answer(path, headers):
        return OK if headers.get("Authorization") == f"bearer {(pod / 'token').read_text()}" else DENIED

    with recording(authority, answer) as (port, requests):
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        kube = Kube.connect(None, "whatever the environment names", SECONDS)
        assert kube.version() == "v1.35.4"
        (pod / "token").write_text("second")
        assert kube.version() == "v1.35.4"
    assert [headers for _, headers in requests] == ["bearer first", "bearer first", "bearer second"]


def test_a_kubeconfig_counts_before_the_service_account(pod, write_kubeconfig, authority, tmp_path, monkeypatch):
    """As with kubectl: who puts one into a pod means it."""
    token = tmp_path / "token"
    token.write_text("own")
    with recording(authority, lambda path, headers: OK) as (port, requests):
        kubeconfig = write_kubeconfig(f"https://127.0.0.1:{port}", plugin(token))
        Kube.connect(kubeconfig, None, SECONDS).version()
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        Kube.connect(None, None, SECONDS).version()
    assert [headers for _, headers in requests] == ["Bearer own", "Bearer own"]


def test_a_pod_without_a_certificate_authority_is_reported(pod, monkeypatch):
    """It would not know whose API server it is."""
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    (pod / "ca.crt").unlink()
    with pytest.raises(Missing, match="certification file"):
        Kube.connect(None, None, SECONDS)
