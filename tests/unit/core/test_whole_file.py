"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from contextlib import nullcontext

import pytest

from prompt_keda.core.whole_file import whole_file, write_whole

KILLED = """
import os, pathlib, signal, sys
from prompt_keda.core.whole_file import write_whole
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_whole(pathlib.Path(sys.argv[1]), "new")
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "old")
    return path


@pytest.mark.parametrize(("umask", "mode"), [(0, 0o600), (0o077, 0o644)])
def test_a_file_gets_its_mode_whatever_the_umask(path, umask, mode):
    """Text and bytes alike, and one that was wider before."""
    path.chmod(0o666)
    before = os.umask(umask)
    try:
        write_whole(path, "ä".encode(), mode)
    finally:
        os.umask(before)
    assert path.read_text() == "ä" and path.stat().st_mode & 0o7777 == mode
    assert list(path.parent.iterdir()) == [path]


def test_a_kill_before_the_rename_leaves_the_old_file(path):
    """And the next write is not in its way."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert killed.returncode == -signal.SIGKILL and path.read_text() == "old"
    write_whole(path, "new")
    assert path.read_text() == "new"


def test_a_symbolic_link_is_replaced_and_not_followed(path):
    """Somebody else's file is not written through it."""
    link = path.with_name("link")
    link.symlink_to(path)
    write_whole(link, "new")
    assert path.read_text() == "old" and link.read_text() == "new" and not link.is_symlink()


@pytest.mark.parametrize(("reason", "is_taken"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_file_system_that_syncs_no_folder_is_taken(path, monkeypatch, reason, is_taken):
    """Some network file systems; a disk that fails is an error there, too."""
    sync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(reason, os.strerror(reason))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    with nullcontext() if is_taken else pytest.raises(OSError, match=os.strerror(reason)):
        write_whole(path, "new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("size", [1000, 10**6])
def test_a_full_disk_leaves_the_old_file_and_no_scratch(path, size):
    """Whether it shows while the file is written, or when what is buffered goes out."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))  # a disk with that much room, to this process
    try:
        with pytest.raises(OSError) as failed:
            write_whole(path, b"x" * size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert failed.value.errno == errno.EFBIG
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_an_interrupted_writer_leaves_the_old_file_and_no_scratch(path):
    """Whatever ends the block."""
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]
