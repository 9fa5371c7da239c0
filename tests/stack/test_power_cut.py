"""A machine loses its power: every entry of a journal that was written before anything else was done is still there.

On a file system of the test's own, in a file. The file holds what has reached the disk and nothing else; a copy of it is what
a machine finds that starts again. SIGKILL alone would prove nothing: the kernel keeps what a process has written.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from prompt_keda.records.record import JournalFile, RunFolder

from .conftest import ROOT, at_the_stack_only

pytestmark = at_the_stack_only
ENTRIES, SIZE_BYTES, LONG_S = 40, 16 << 20, 300
WRITER = """
import os, sys
from pathlib import Path
from prompt_keda.records.record import JournalFile, RunFolder
if sys.argv[2] == "without":
    os.fsync = lambda descriptor: None
run = RunFolder.create(Path(sys.argv[1]), "local")
run.write_json("plan.json", {"mode": "repair"})
journal = JournalFile(run)
for number in range(int(sys.argv[3])):
    journal.append(f"install/{number}", "begin")
    print(run.id, flush=True)
sys.stdin.read()
"""


@contextmanager
def mounted(image, folder):
    """Mount it; the kernel writes what nobody has asked it to write only after minutes."""
    folder.mkdir(parents=True)
    options = f"loop,commit={LONG_S}"
    subprocess.run(["mount", "-t", "ext4", "-o", options, image, folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def image(tmp_path):
    made = tmp_path / "disk"
    with made.open("wb") as file:
        file.truncate(SIZE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", made], check=True, capture_output=True)
    return made


def kept_after_a_power_cut(image, folder, fsync):
    """Write a journal, kill the writer, take the disk as it is; give what a machine that starts again finds."""
    with mounted(image, folder / "before"):
        argv = [sys.executable, "-c", WRITER, folder / "before/runs", fsync, str(ENTRIES)]
        writer = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        written = [writer.stdout.readline().strip() for _ in range(ENTRIES)]
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        shutil.copyfile(image, folder / "disk-then")
    assert all(written)  # one that wrote nothing has lost nothing
    with mounted(folder / "disk-then", folder / "after"):
        path = folder / "after/runs" / written[-1]
        if not path.is_dir():
            return 0, False
        run = RunFolder(path)
        return len(JournalFile(run).entries()), (run.path / "plan.json").exists()


def test_no_entry_of_a_journal_is_lost(image, tmp_path):
    """Nor the plan that is needed to resume."""
    assert kept_after_a_power_cut(image, tmp_path, "with") == (ENTRIES, True)


def test_the_disk_of_this_test_loses_what_is_not_synced(image, tmp_path):
    """Else the test above could not fail."""
    entries, _ = kept_after_a_power_cut(image, tmp_path, "without")
    assert entries < ENTRIES
