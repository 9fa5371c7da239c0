"""What `prepare` puts on this machine: the file that is pinned, whole, or nothing."""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from contextlib import suppress
from datetime import timedelta

import pytest

from prompt_keda.clients.http import download as module
from prompt_keda.clients.http.download import download
from prompt_keda.core.errors import BadAnswer, ClientError, Missing, Unreachable
from tests.contracts.conftest import SECONDS, free_port, recording, serving_https

FILE = b"kind: Namespace\n"
SHA256 = hashlib.sha256(FILE).hexdigest()


def answer(path, headers):
    plain = f"http://{headers['Host']}/manifests.yaml"
    return {
        "/manifests.yaml": (200, {}, FILE),
        "/other.yaml": (200, {}, FILE + b"more"),
        "/moved.yaml": (302, {"Location": "/manifests.yaml"}, b""),
        "/downgrade.yaml": (302, {"Location": plain}, b""),
        "/broken.yaml": (500, {}, b""),
    }.get(path, (404, {}, b""))


@pytest.fixture
def fetch(authority, tmp_path):
    """Fetch a path from a real https server. Gives the target's folder as well."""
    with recording(authority, answer) as (port, _):

        def go(path, ca_file=authority.ca_file):
            address = f"https://user:canary-77@127.0.0.1:{port}{path}?signature=canary-78"
            return download(address, SHA256, tmp_path / "cache" / "manifests.yaml", ca_file, SECONDS)

        yield go, tmp_path / "cache"


@pytest.mark.parametrize("path", ["/manifests.yaml", "/moved.yaml"])
def test_the_pinned_file_arrives_whole(fetch, path):
    """Its size in bytes is given; nothing else is left. A redirect within https is followed."""
    go, folder = fetch
    assert go(path) == len(FILE)
    assert [path.read_bytes() for path in folder.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("/other.yaml", BadAnswer, "SHA-256"),
        ("/downgrade.yaml", BadAnswer, "away from https"),
        ("/broken.yaml", BadAnswer, "500"),
        ("/missing.yaml", Missing, "404"),
    ],
)
def test_anything_else_leaves_nothing(fetch, path, kind, message):
    """Told apart; what stands in an address beside its host is not shown."""
    go, folder = fetch
    with pytest.raises(kind, match=message) as caught:
        go(path)
    assert "canary" not in caught.value.what and not list(folder.iterdir())


def test_a_file_that_would_fill_the_disk_is_broken_off(fetch, monkeypatch):
    """More bytes than any manifest has."""
    monkeypatch.setattr(module, "MAX_BYTES", 4)
    with pytest.raises(BadAnswer, match="more than"):
        fetch[0]("/manifests.yaml")


def test_tls_is_never_weakened(fetch):
    """An authority that is not known is no answer."""
    with pytest.raises(Unreachable, match="certificate"):
        fetch[0]("/manifests.yaml", None)


def blocked_folder(folder):
    folder.write_text("")  # a file stands where the folder should


def blocked_target(folder):
    (folder / "manifests.yaml").mkdir(parents=True)


@pytest.mark.parametrize("block", [blocked_folder, blocked_target])
def test_what_this_machine_cannot_keep_is_reported(block, fetch):
    """No right, no room: with the file, in one line."""
    go, folder = fetch
    block(folder)
    with pytest.raises(ClientError, match="cannot be written") as caught:
        go("/manifests.yaml")
    assert str(folder / "manifests.yaml") in caught.value.what and "room" in caught.value.fix


def test_nobody_there_is_unreachable(authority, tmp_path):
    """With the address that was tried."""
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        download(f"https://127.0.0.1:{free_port()}/m.yaml", SHA256, tmp_path / "m", authority.ca_file, SECONDS)


@pytest.mark.parametrize("url", ["https://user:ca55/nary@host/x", "https://user:ca55@[host/x"])
def test_an_address_that_makes_no_sense_shows_no_part_of_a_password(url, authority, tmp_path):
    """A slash that is not escaped makes the password look like a port."""
    with pytest.raises(BadAnswer) as caught:
        download(url, SHA256, tmp_path / "m", authority.ca_file, SECONDS)
    assert "ca55" not in caught.value.what and caught.value.__cause__ is None


@pytest.mark.parametrize("variable", ["ALL_PROXY", "HTTPS_PROXY"])
@pytest.mark.parametrize(
    ("proxy", "message"), [("socks5://127.0.0.1:1", "a SOCKS proxy"), ("nonsense://u:ca55@h", "makes no sense")]
)
def test_a_proxy_that_is_not_taken_is_reported(fetch, monkeypatch, variable, proxy, message):
    """By the variables that may name it, without its address."""
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(BadAnswer, match=message) as caught:
        fetch[0]("/manifests.yaml")
    assert variable in caught.value.what and "HTTPS_PROXY=http://" in caught.value.fix
    assert "ca55" not in f"{caught.value.what} {caught.value.__cause__}"


def test_a_server_that_drips_is_waited_for_no_longer_than_allowed(authority, tmp_path, monkeypatch):
    """A byte now and then is within every limit of a single read."""
    monkeypatch.setattr(module, "LIMIT", timedelta(seconds=1))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not ended.wait(0.2):
                    self.wfile.write(b" ")

        def log_message(self, *arguments):
            pass

    ended = threading.Event()
    with serving_https(authority, Handler) as port:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="the file has not come within 1 s"):
            download(
                f"https://127.0.0.1:{port}/m.yaml", SHA256, tmp_path / "m", authority.ca_file, timedelta(seconds=5)
            )
        ended.set()
    assert time.monotonic() - began < 4 and not (tmp_path / "m").exists()
