"""Proxies as people have them, in the environment and in the kubeconfig, before a loopback server that plays an API server."""

from __future__ import annotations

import base64
import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest

from prompt_keda.clients.kube.client import Kube
from prompt_keda.core.errors import BadAnswer, LoggedOut, Missing, Unreachable
from tests.contracts.conftest import SECONDS, free_port, recording
from tests.contracts.test_kube_login import text_of
from tests.contracts.test_kube_oidc import EXPIRED_AT, user_of

OK = 200, {}, b'{"gitVersion": "v1.35.4"}'
NO_POD = 404, {}, b"{}"


@contextmanager
def proxying(status=200):
    """Run a proxy that connects where it is asked to, or answers another status; gives its port, and what it was asked."""
    asked, connections = [], []

    def serve(server):
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection):
        file = connection.makefile("rb")
        head = [file.readline().decode().strip()]
        while line := file.readline().decode().strip():
            head.append(line)
        asked.append(head)
        connection.sendall(f"HTTP/1.1 {status} canary\r\n\r\n".encode())
        if status != 200:
            connection.close()
            return
        host, _, port = head[0].split()[1].rpartition(":")
        there = socket.create_connection((host, int(port)))
        connections.append(there)
        threading.Thread(target=pipe, args=(there, connection), daemon=True).start()
        pipe(connection, there)

    def pipe(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
    for connection in connections:
        with suppress(OSError):  # it has ended already
            connection.shutdown(socket.SHUT_RDWR)  # wakes up who reads, and ends a handshake that nobody goes on with
        connection.close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """The machine's own proxies are none of these tests' business."""
    for name in (
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
        "HTTP_PROXY",
        "http_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def connect(authority, tmp_path):
    """Serve as an API server, and return a function that connects by a proxy-url of the kubeconfig."""
    with recording(authority, lambda path, headers: NO_POD if "portforward" in path else OK) as (port, requests):

        def connect(proxy_url=None, user=None, timeout=SECONDS, **changes):
            cluster = {
                "server": f"https://127.0.0.1:{port}",
                "certificate-authority": str(authority.ca_file),
                **changes,
            }
            if proxy_url is not None:
                cluster["proxy-url"] = proxy_url
            (tmp_path / "kubeconfig").write_text(text_of(cluster, user or {"token": "t"}))
            return Kube.connect(tmp_path / "kubeconfig", None, timeout)

        connect.requests = requests
        yield connect


def version(kube):
    return kube.version()


def port_forward(kube):
    """Open a port of a pod that is missing: Missing is the server's own answer."""
    with pytest.raises(Missing):
        kube.port_forward("n", "p", 1)


def opened(kube):
    return kube.port_forward("n", "p", 1)


PLACES = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "proxy-url"]
"""Where a proxy may be set."""
FAILING = pytest.mark.parametrize("ask", [version, opened])


def by(place, address, monkeypatch, connect, **known):
    """Connect with a proxy that is set in a place."""
    if place == "proxy-url":
        return connect(address, **known)
    monkeypatch.setenv(place, address)
    return connect(**known)


@FAILING
@pytest.mark.parametrize("place", PLACES)
def test_a_dead_proxy_is_named_with_its_place(place, ask, monkeypatch, connect):
    """And without its login: it was not the API server that refused."""
    port = free_port()
    kube = by(place, f"http://me:canary@127.0.0.1:{port}", monkeypatch, connect)
    with pytest.raises(Unreachable, match=f"its proxy http://127.0.0.1:{port} .*{place}.*refused") as caught:
        ask(kube)
    assert "canary" not in caught.value.what + caught.value.fix and place in caught.value.fix


@FAILING
def test_a_proxy_without_an_address_is_named(ask, monkeypatch, connect):
    """DNS, of the proxy's name."""
    kube = by("HTTPS_PROXY", "http://proxy.invalid:3128", monkeypatch, connect)
    with pytest.raises(Unreachable, match=r"its proxy http://proxy.invalid:3128 .*cannot be resolved"):
        ask(kube)


@FAILING
def test_a_silent_proxy_is_named_in_time(ask, monkeypatch, connect):
    """limits.connect holds for it too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        kube = by("proxy-url", f"http://127.0.0.1:{port}", monkeypatch, connect, timeout=timedelta(seconds=1))
        started = time.monotonic()
        with pytest.raises(Unreachable, match=f"proxy http://127.0.0.1:{port} ") as caught:
            ask(kube)
    assert "no answer within 1 s" in caught.value.what
    assert time.monotonic() - started < 4


@FAILING
@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_does_not_connect_is_named_with_its_answer(status, ask, monkeypatch, connect):
    """407: it wants a login; 502: it does not reach the API server."""
    with proxying(status) as (port, _):
        kube = by("HTTPS_PROXY", f"http://127.0.0.1:{port}", monkeypatch, connect)
        with pytest.raises(
            Unreachable, match=f"its proxy http://127.0.0.1:{port} .*HTTPS_PROXY.*HTTP {status}"
        ) as caught:
            ask(kube)
    assert connect.requests == [] and "canary" not in caught.value.what


@pytest.mark.parametrize("ask", [version, port_forward])
@pytest.mark.parametrize("place", PLACES)
def test_a_proxy_gets_the_login_that_stands_in_its_address(place, ask, monkeypatch, connect):
    """As kubectl does: percent-encoding is decoded, and the API server is reached through the proxy."""
    with proxying() as (port, asked):
        ask(by(place, f"http://me:c%40n%C3%A4ry@127.0.0.1:{port}", monkeypatch, connect))
    assert len(connect.requests) == 1 and len(asked) == 1
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in asked[0][1:])}
    assert base64.b64decode(sent["proxy-authorization"].removeprefix("Basic ")).decode() == "me:c@näry"
    assert "authorization" not in sent


@pytest.mark.parametrize("ask", [version, port_forward])
def test_a_proxy_without_a_scheme_speaks_http(ask, monkeypatch, connect):
    """As kubectl takes it, from the environment."""
    with proxying() as (port, asked):
        ask(by("HTTPS_PROXY", f"127.0.0.1:{port}", monkeypatch, connect))
    assert len(asked) == len(connect.requests) == 1 and "roxy-" not in str(asked)


@pytest.mark.parametrize("ask", [version, port_forward])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5://127.0.0.1:1", "nonsense://"])
def test_a_host_that_needs_no_proxy_goes_without(proxy, ask, monkeypatch, connect):
    """NO_PROXY; whatever the proxy is then."""
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8, 127.0.0.0/8")
    ask(by("HTTPS_PROXY", proxy, monkeypatch, connect))
    assert len(connect.requests) == 1


@pytest.mark.parametrize("ask", [version, port_forward])
def test_the_kubeconfigs_proxy_comes_before_the_environments(ask, monkeypatch, connect):
    """As with kubectl: NO_PROXY does not hold for it."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with proxying() as (port, asked):
        ask(connect(f"http://127.0.0.1:{port}"))
        assert len(asked) == 1
        monkeypatch.delenv("NO_PROXY")
        ask(connect(f"http://127.0.0.1:{port}"))
    assert len(asked) == 2


@pytest.mark.parametrize("ask", [version, port_forward])
def test_an_empty_proxy_is_none(ask, monkeypatch, connect):
    """Then the environment's counts, as with kubectl."""
    with proxying() as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        ask(connect(""))
    assert len(asked) == 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "socks4a", "SOCKS5", "socks"])
def test_a_socks_proxy_is_reported_at_once(scheme, place, monkeypatch, connect):
    """One message: what is not supported, where it is set, and what to do."""
    with pytest.raises(BadAnswer, match=f"SOCKS.*{place}") as caught:
        by(place, f"{scheme}://me:canary@127.0.0.1:1080", monkeypatch, connect)
    assert "canary" not in caught.value.what + caught.value.fix and caught.value.fix


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "proxy", ["ftp://me:canary@host", "http://me:canary@", "http://me:canary@host:port", "http://[::1"]
)
def test_a_proxy_that_makes_no_sense_is_reported_by_its_place(proxy, place, monkeypatch, connect):
    """Its address is not shown: a login may stand in it."""
    with pytest.raises(BadAnswer, match=f"{place}.*makes no sense") as caught:
        by(place, proxy, monkeypatch, connect)
    assert "canary" not in caught.value.what + caught.value.fix and caught.value.fix


def test_a_port_forward_through_a_proxy_by_https_is_reported(monkeypatch, connect):
    """Its library would speak plain HTTP to it, with the proxy's login."""
    kube = by("HTTPS_PROXY", "https://me:canary@127.0.0.1:1", monkeypatch, connect)
    with pytest.raises(BadAnswer, match=r"proxy https://127.0.0.1:1 .*HTTPS_PROXY.*http://") as caught:
        opened(kube)
    assert "canary" not in caught.value.what + caught.value.fix


@FAILING
def test_what_fails_behind_a_proxy_names_the_way(ask, authority, monkeypatch, connect):
    """TLS, here: it may be the proxy that shows another certificate."""
    with proxying() as (port, _):
        kube = by("HTTPS_PROXY", f"http://127.0.0.1:{port}", monkeypatch, connect, **{"tls-server-name": "other.test"})
        with pytest.raises(Unreachable, match=f"TLS.*through the proxy http://127.0.0.1:{port} .*HTTPS_PROXY"):
            ask(kube)


def test_the_issuers_dead_proxy_is_named(authority, monkeypatch, connect):
    """The environment's proxy is the issuer's way too."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:canary@127.0.0.1:1")
    with pytest.raises(
        LoggedOut, match=f"expired at {EXPIRED_AT}.*its proxy http://127.0.0.1:1 .*HTTPS_PROXY"
    ) as caught:
        connect(user=user_of("https://127.0.0.1:2", authority))
    assert "canary" not in caught.value.what + caught.value.fix


def test_the_issuers_socks_proxy_is_reported(authority, monkeypatch, connect):
    """With the reason, and what to do."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:canary@127.0.0.1:1")
    with pytest.raises(LoggedOut, match=r"SOCKS.*HTTPS_PROXY") as caught:
        connect(user=user_of("https://127.0.0.1:2", authority))
    assert "canary" not in caught.value.what + caught.value.fix
