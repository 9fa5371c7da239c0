"""A program that does not end, or writes without end, is ended with all that it began."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

import pytest

from prompt_keda.core.bounded_program import run_bounded
from prompt_keda.core.errors import BadAnswer, Missing, Unreachable
from prompt_keda.core.process import is_alive

SOON, LONG = timedelta(seconds=1), timedelta(seconds=60)


def run(tmp_path, program, timeout=LONG, most_bytes=1000, **options):
    return run_bounded([sys.executable, "-SEc", program], tmp_path, {"A": "b"}, timeout, most_bytes, **options)


def test_what_it_wrote_and_how_it_ended_is_returned(tmp_path):
    """It has the environment, folder and input that it was given, and nothing else."""
    program = "import os, sys; print(sorted(os.environ), os.getcwd(), sys.stdin.read()); sys.exit('first\\nlast')"
    ended = run(tmp_path, program, stdin=b"in")
    assert ended.exit_code == 1 and ended.last_line == "last"
    assert str(tmp_path) in ended.stdout.decode() and ended.stdout.endswith(b" in\n") and b"'PATH'" not in ended.stdout


def test_one_that_does_not_end_is_ended_with_its_children(tmp_path):
    """Also one that holds the pipe open after its parent has gone."""
    program = "import os, time; print(os.fork(), flush=True); time.sleep(600)"
    began = time.monotonic()
    with pytest.raises(Unreachable, match="not done after 1 s"):
        run(tmp_path, f"import os; open('pid', 'w').write(str(os.getpid())); {program}", SOON)
    assert time.monotonic() - began < 30 and not is_alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_one_that_writes_without_end_is_ended(stream, tmp_path):
    """Memory is bounded, and the disk is not touched."""
    with pytest.raises(BadAnswer, match="it wrote more than"):
        run(tmp_path, f"import sys\nwhile True: sys.{stream}.write('x' * 9999)", most_bytes=2**20)


def test_one_that_is_not_there_is_reported(tmp_path):
    """By its name."""
    with pytest.raises(Missing, match="cannot be started: No such file"):
        run_bounded(["/nowhere/helm"], tmp_path, {}, LONG, 10)
