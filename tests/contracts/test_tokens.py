"""Tokens as people have them: with a line end, or with a character that no token has, for Kubernetes and for Vault."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.systems import Systems
from prompt_keda.core.errors import LoggedOut, Missing
from tests.contracts.conftest import SECONDS, recording
from tests.contracts.test_kube_login import OK, text_of

WRONG = {
    "a letter outside Latin-1": "canary-ł",
    "a letter outside ASCII": "canary-é",
    "a line end in its midst": "canary\nInjected: yes",
    "a control character": "canary\x00",
}
SPACED = ["t\n", "t\r\n", " t ", "t\n\n"]


@pytest.fixture
def connect(authority, tmp_path):
    """Serve as an API server, and return a function that connects as a user; it keeps what each request is sent with."""
    with recording(authority, lambda path, headers: OK) as (port, requests):

        def connect(user):
            cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority.ca_file)}
            (tmp_path / "kubeconfig").write_text(text_of(cluster, user))
            return Kube.connect(tmp_path / "kubeconfig", None, SECONDS)

        connect.sent = lambda: [token for _, token in requests]
        yield connect


def users(tmp_path, token):
    """Return the ways in which a kubeconfig has a token: in it, in a file, or from its exec plugin."""
    (tmp_path / "token").write_bytes(token.encode())
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    (tmp_path / "answer").write_text(json.dumps(answer))
    command = {"command": "cat", "args": [str(tmp_path / "answer")]}
    return {
        "token": {"token": token},
        "tokenFile": {"tokenFile": str(tmp_path / "token")},
        "tokenFile beside the kubeconfig": {"tokenFile": "token"},
        "exec plugin": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **command}},
    }


WAYS = ["token", "tokenFile", "tokenFile beside the kubeconfig", "exec plugin"]


@pytest.mark.parametrize("token", SPACED)
@pytest.mark.parametrize("way", WAYS)
def test_a_line_end_is_no_part_of_a_token(way, token, connect, tmp_path):
    """kubectl strips a token file's; people paste the others with one."""
    kube = connect(users(tmp_path, token)[way])
    kube.version()
    assert connect.sent() == ["Bearer t"]


@pytest.mark.parametrize("token", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("way", WAYS)
def test_a_token_that_cannot_be_sent_is_reported_without_it(way, token, connect, tmp_path):
    """Which login, and what is wrong with it; nothing is sent."""
    with pytest.raises(LoggedOut, match="token holds a character") as caught:
        connect(users(tmp_path, token)[way]).version()
    message = caught.value.what + caught.value.fix
    assert "canary" not in message and "\n" not in message and "Log in again" in message
    assert connect.sent() == []


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfecanary"])
def test_a_token_file_without_a_token_is_reported(content, connect, tmp_path):
    """Empty, or no text: nothing is sent as nobody."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(LoggedOut, match="token") as caught:
        connect({"tokenFile": "token"}).version()
    assert "canary" not in caught.value.what and connect.sent() == []


def test_a_token_file_comes_before_a_token(connect, tmp_path):
    """As with kubectl: the file is the newer one; without it the token counts."""
    (tmp_path / "token").write_text("newer")
    connect({"token": "older", "tokenFile": "token"}).version()
    (tmp_path / "token").unlink()
    connect({"token": "older", "tokenFile": "token"}).version()
    assert connect.sent() == ["Bearer newer", "Bearer older"]


def test_a_token_file_that_is_absent_is_named(connect):
    """With its path."""
    with pytest.raises(Missing, match="nowhere"):
        connect({"tokenFile": "/nowhere"})


def test_a_password_may_hold_any_letter(connect):
    """As kubectl sends it: UTF-8, in base64."""
    connect({"username": "jürgen", "password": "ł"}).version()
    assert connect.sent() == ["Basic asO8cmdlbjrFgg=="]


@pytest.fixture
def vault(authority, monkeypatch, tmp_path):
    """Serve as a Vault; return its client of an environment that logs in by a token, and the tokens that came."""
    sent = []

    def answer(path, headers):
        sent.append(headers.get("X-Vault-Token"))
        return 200, {"Content-Type": "application/json"}, json.dumps({"data": {"ttl": 0}}).encode()

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    with recording(authority, answer) as (port, _):
        login = SimpleNamespace(method="token")
        settings = SimpleNamespace(url=f"https://127.0.0.1:{port}", ca_file=authority.ca_file, login=login)
        yield Systems(SimpleNamespace(vault=settings, limits=SimpleNamespace(connect=SECONDS))), sent


def put(place, token, monkeypatch, tmp_path):
    if place == "VAULT_TOKEN":
        monkeypatch.setenv("VAULT_TOKEN", token)
    else:
        (tmp_path / ".vault-token").write_bytes(token.encode(errors="surrogateescape"))


@pytest.mark.parametrize("place", ["VAULT_TOKEN", ".vault-token"])
@pytest.mark.parametrize("token", SPACED)
def test_a_line_end_is_no_part_of_vaults_token(token, place, vault, monkeypatch, tmp_path):
    """As the vault command strips its file's."""
    systems, sent = vault
    put(place, token, monkeypatch, tmp_path)
    systems.vault.token()
    assert sent == ["t"]


def test_a_vault_token_of_blanks_is_none(vault, monkeypatch, tmp_path):
    """Then the file counts."""
    systems, sent = vault
    put("VAULT_TOKEN", "\n", monkeypatch, tmp_path)
    put(".vault-token", "t", monkeypatch, tmp_path)
    systems.vault.token()
    assert sent == ["t"]


@pytest.mark.parametrize("place", ["VAULT_TOKEN", ".vault-token"])
@pytest.mark.parametrize("token", ["canary-ł", "canary-é", "canary\nInjected: yes", "canary-\udcff"])
def test_a_vault_token_that_cannot_be_sent_is_reported_without_it(token, place, vault, monkeypatch, tmp_path):
    """Where it stands, and what is wrong with it."""
    systems, sent = vault
    put(place, token, monkeypatch, tmp_path)
    with pytest.raises(LoggedOut, match="token holds a character") as caught:
        systems.vault.token()
    message = caught.value.what + caught.value.fix
    assert place in message and "canary" not in message and "\n" not in message and sent == []
