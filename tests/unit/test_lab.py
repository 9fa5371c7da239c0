"""The local stack: what it refuses before it changes anything, and what it builds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from prompt_keda.errors import LabError
from prompt_keda.lab import images, requirements, settings
from prompt_keda.lab.pki import Authority


def test_a_bad_name_of_a_stack_is_refused(monkeypatch):
    """It becomes part of folders and network namespaces."""
    monkeypatch.setenv("PROMPT_KEDA_LAB", "../x")
    with pytest.raises(LabError):
        settings.current_lab()


def test_not_root_is_said(monkeypatch):
    """One clear message."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"):
        requirements.check()


def test_a_wrong_architecture_is_said(monkeypatch):
    """One clear message."""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(LabError, match="riscv64"):
        requirements.check()


def test_no_go_is_said(monkeypatch, tmp_path):
    """One clear message."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="no Go"):
        requirements._has_go()


def test_an_old_go_is_said(monkeypatch, tmp_path):
    """With both versions."""
    (tmp_path / "go").write_text("#!/bin/sh\necho go1.20.1\n")
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(LabError, match=r"1\.20\.1.*needs 1\.26"):
        requirements._has_go()


def test_a_full_disk_is_said(monkeypatch):
    """With how much is there and how much is needed."""
    usage = type("Usage", (), {"free": 1 << 30})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(LabError, match=r"1\.0 GiB free"):
        requirements._has_room()


def test_the_authority_makes_certificates_that_openssl_trusts(tmp_path):
    """And keeps the keys private."""
    authority = Authority(tmp_path)
    authority.ensure_server("vault", ["10.0.0.1", "vault.test"])
    done = subprocess.run(
        ["openssl", "verify", "-CAfile", str(authority.ca_file), "-verify_ip", "10.0.0.1", str(tmp_path / "vault.crt")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "vault.key").stat().st_mode & 0o077 == 0


def test_the_same_files_give_the_same_image(tmp_path):
    """So that a second push sends nothing."""
    program = tmp_path / "program"
    program.write_bytes(b"x" * 1000)
    image = images.Image("r", "t", {"/program": program}, ("/program",))
    first, second = (images.build(image, tmp_path / cache) for cache in ("a", "b"))
    assert first.digest == second.digest
    program.write_bytes(b"y" * 1001)
    assert images.build(image, tmp_path / "a").digest != first.digest
    assert Path(first.layer).exists()
