"""The local stack: what it refuses before it changes anything, and what it builds."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from prompt_keda.errors import LabError
from prompt_keda.lab import go_builds, images, packages, requirements, settings, stack, state
from prompt_keda.lab.commands import Children, run
from prompt_keda.lab.pki import Authority
from prompt_keda.model.event import nobody


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


FAKE_GO = """#!/bin/sh
case "$1" in
env) echo go1.26.8 ;;
list) echo one two three ;;
build) sleep 600 & echo $! > {folder}/compiler.new; mv {folder}/compiler.new {folder}/compiler; wait ;;
esac
"""


@pytest.fixture
def slow_go(monkeypatch, tmp_path):
    """A Go whose compiler takes ten minutes; caches and state below tmp_path."""
    (tmp_path / "go").write_text(FAKE_GO.format(folder=tmp_path))
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def seen(path):
    """Wait for a file that a process writes whole, and give what it says."""
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)
    return path.read_text()


def is_running(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("error", [LabError("apt-get failed"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_an_error_does_not_wait_for_the_compilers(slow_go, monkeypatch, error):
    """Go and its compilers are killed, the error shows within seconds, and no scratch folder is left."""

    def install(observer):
        seen(slow_go / "compiler")
        raise error

    monkeypatch.setattr(packages, "install", install)
    started = time.monotonic()
    with pytest.raises(type(error)):
        stack._Bringup(settings.Lab("unit"), nobody, True).run()
    assert time.monotonic() - started < 10
    assert not is_running(seen(slow_go / "compiler").strip())
    assert not list((slow_go / "cache/prompt-keda/build").iterdir())


def test_what_was_stopped_starts_nothing_more():
    """A build that is between two of its programs ends there."""
    children = Children()
    children.stop()
    with pytest.raises(LabError, match="stopped"):
        children.run(["true"])


def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path):
    """The time limit of a fetch holds as well, although nobody stops it."""
    children = Children()
    began = time.monotonic()
    with pytest.raises(LabError, match="did not end within"):
        run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait"], timeout_s=0.5, children=children)
    assert time.monotonic() - began < 10 and not is_running((tmp_path / "pid").read_text().strip())


def test_the_next_build_clears_what_a_killed_one_left(slow_go, monkeypatch):
    """Scratch folders of processes that are gone; those of others that build now, and programs, stay."""
    build = slow_go / "cache/prompt-keda/build"
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f"kube-1.{gone.pid}", "kube-1.1", "kube-1"):
        (build / name / "tmp").mkdir(parents=True)
    (slow_go / "go").write_text(
        '#!/bin/sh\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && touch "$2"; shift; done; echo go1.26.8\n'
    )
    made = go_builds.build(go_builds.WORKER, nobody)
    assert (made / "worker").exists() and not (made / "tmp").exists()
    assert {path.name for path in build.iterdir()} == {"kube-1.1", "kube-1", made.name}


def test_what_is_kept_is_private_whatever_the_umask(slow_go, monkeypatch):
    """State, cache and all below them, also what an earlier version left wider."""
    (slow_go / "cache/prompt-keda/build").mkdir(parents=True)
    before = os.umask(0)
    try:
        test_an_error_does_not_wait_for_the_compilers(slow_go, monkeypatch, LabError("apt-get failed"))
        state.ensure_secret(settings.Lab("unit"), "redis-password")
    finally:
        os.umask(before)
    for home in (slow_go / "cache/prompt-keda", slow_go / "state/prompt-keda"):
        for folder, _, _ in os.walk(home):
            assert Path(folder).stat().st_mode & 0o777 == 0o700, folder
