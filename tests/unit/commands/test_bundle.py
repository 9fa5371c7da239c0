"""A support bundle holds what an expert asks for, and no secret. Without a cluster."""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.commands import bundle
from prompt_keda.core.errors import Refusal
from prompt_keda.core.redaction import Redaction, known_secrets
from prompt_keda.report.archive import write_archive
from tests.in_process import run_in_process
from tests.leaks import forms, leaks, planted
from tests.unit.test_house_rules import ROOT
from tests.unit.world import World

VALUE = planted()
NOT_OF_A_CLUSTER = {"HTML", "XML", "latin-1", "Python", "Python, bytes"}
"""No file of a bundle is written so."""


@pytest.mark.parametrize("form", sorted(set(forms(VALUE)) - NOT_OF_A_CLUSTER))
def test_a_value_that_is_known_is_taken_out_in_every_form(form):
    """Those in which text of a cluster may hold it."""
    text = b"before " + forms(VALUE)[form] + b" after"
    clean = Redaction([VALUE])(text.decode())
    assert clean.startswith("before ") and clean.endswith(" after")
    assert leaks(clean.encode(), {"v": VALUE}) == []


def test_the_same_value_has_the_same_token_and_another_one_another():
    """An expert sees that two places agree, and not what stands there; in the next bundle it is another token."""
    redact = Redaction(["first-value", "second-value"])
    tokens = redact("first-value second-value first-value").split()
    assert tokens[0] == tokens[2] != tokens[1] and redact.count == 3
    assert Redaction(["first-value"])("first-value") != tokens[0]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abcdefgh1234", "Authorization: Bearer "),
        ("redis://user:pa55word@host:6379", "@host:6379"),
        ("token hvs.CAESIJ1234567890abcdef given", "token "),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.abc here", " here"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- end", " end"),
        ("url?password=hunter22&x=1", "&x=1"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text, kept):
    """Also where nobody has named it."""
    clean = Redaction([])(text)
    assert "[redacted-" in clean and kept in clean
    for secret in ("abcdefgh1234", "pa55word", "CAESIJ", "eyJhbG", "MII", "hunter22"):
        assert secret not in clean


def test_words_that_are_no_secret_stay():
    """A short value would take ordinary words out."""
    text = '{"name": "keda-operator", "image": "registry/keda@sha256:abc", "note": "password is wrong"}'
    assert Redaction(["keda", ""])(text) == text


def test_a_docker_configuration_gives_its_passwords_as_well():
    """They stand inside a value."""
    inner = json.dumps({"auths": {"r": {"password": "pw-123456", "auth": "YTpi"}}})
    secrets = list(
        known_secrets([base64.b64encode(inner.encode()).decode(), "%%%", base64.b64encode(b"\xff").decode()])
    )
    assert {"pw-123456", "YTpi"} <= set(secrets)


def test_what_is_collected_says_what_could_not_be_seen():
    """And the rest is there all the same."""
    world = World()
    world.kube.denied.add(("list", "deployments"))
    world.kube.logs = lambda *what: "a line\n"  # the double keeps none
    files = dict(bundle.collect(world.systems))
    assert "unknown" in json.loads(files["keda/deployments.json"])
    assert json.loads(files["versions.json"])["kubernetes"] == "v1.35.4"
    assert not any("secret" in name for name in files)


def test_no_secret_is_collected_and_all_that_are_named_are_known(monkeypatch):
    """Secrets are read only to be taken out."""
    world = World()
    sync = world.systems.environment.secrets[0]
    data = {"key": base64.b64encode(VALUE.encode()).decode()}
    world.change(kinds.SECRETS, sync.name, sync.namespace, data=data)
    assert VALUE in bundle.secret_values(world.systems)


def test_an_archive_is_private_and_overwrites_nothing(tmp_path):
    """It is whole or not there."""
    path = tmp_path / "b.tar.gz"
    write_archive(path, "top", {"a/b.txt": "ä"})
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as packed:
        assert [file.name for file in packed.getmembers()] == ["top/a/b.txt"]
    with pytest.raises(Refusal, match="already exists"):
        write_archive(path, "top", {})
    with pytest.raises(Refusal, match="cannot be written"):
        write_archive(tmp_path / "none" / "b.tar.gz", "top", {})
    with pytest.raises(Refusal, match="/ is a folder"):
        write_archive(Path("/"), "top", {})
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar.gz"]


@pytest.mark.parametrize(
    ("file", "message"),
    [("/", "/ is a folder"), ("/nowhere/b.tgz", "cannot be written"), (__file__, "already exists")],
)
def test_an_archive_that_cannot_be_written_is_refused_before_anything_is_collected(monkeypatch, capsys, file, message):
    """Not after the checks and a minute of logs."""
    monkeypatch.setattr(bundle, "run_round", pytest.fail)
    code, out, err = run_in_process(monkeypatch, capsys, ROOT, "bundle", "--env", "prod", "--file", file)
    assert (code, out) == (2, "") and message in err and "bytes" not in err, err
