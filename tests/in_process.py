"""Runs a task in the process of the tests, which spares the start of Python and its imports: half a second of CPU time."""

from __future__ import annotations

import signal
import sys

import pytest

import tasks


def run_in_process(monkeypatch, capsys, folder, *arguments):
    """Return the exit code, standard output and standard error of a task that is refused.

    Parameters
    ----------
    folder
        Where it runs.
    """
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [tasks.__file__, *arguments])
    capsys.readouterr()
    try:
        with pytest.raises(SystemExit) as ended:
            tasks.Commands(name="prompt-keda", binary="./run", namespace=tasks.namespace).run()
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    out, err = capsys.readouterr()
    return ended.value.code, out, err
