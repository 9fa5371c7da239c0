"""How busy the machine was: what a failed test is reported with, and whether it is run again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from prompt_keda.core.places import ROOT
from prompt_keda.lab import machine
from prompt_keda.lab.machine import Load, Machine


@pytest.mark.parametrize(
    ("load", "is_standstill"),
    [
        (Load(0.1, 0.001, 13.0, 40.0), False),
        (Load(1.0, 0.0, 0.0, 1.0), True),
        (Load(0.0, 0.1, 0.0, 1.0), True),
        (Load(0.0, 0.0, 30.0, 1.0), True),
    ],
)
def test_a_high_load_alone_is_no_standstill(load, is_standstill):
    """Tests wait for one another then, and all are served."""
    assert load.is_standstill is is_standstill


def test_a_process_that_was_stopped_wakes_late_once():
    """The next report is of the time after it."""
    program = """
from prompt_keda.lab.machine import Machine
machine = Machine()
print("watches", flush=True)
input()
while (late_s := machine.since_last().late_s) < 0.5:
    pass
print(late_s, machine.since_last().late_s)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as watching:
        assert watching.stdout.readline() == "watches\n"
        watching.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # it is stopped meanwhile: nothing can be watched
        watching.send_signal(signal.SIGCONT)
        first, second = map(float, watching.communicate("\n", timeout=20)[0].split())
    assert 0.5 <= first < 15 and second < 0.5


def test_a_report_reads_this_machine():
    """Shares are shares, and the line names all of them."""
    load = Machine().since_last()
    assert 0 <= load.stolen <= 1 and 0 <= load.stalled <= 100
    assert str(Load(1.5, 0.25, 40.0, 7.0)) == (
        "load average 7; a sleeper woke up to 1.5 s late; 25% of the processors' time went to other machines; "
        "all work waited for disks or memory for up to 40% of 10 s"
    )


def test_where_nothing_is_reported_nothing_is_said(monkeypatch):
    """On another system than Linux."""
    monkeypatch.setattr(machine, "_words", lambda file, line: [])
    load = Machine().since_last()
    assert (load.stolen, load.stalled, load.average, load.is_standstill) == (0, 0, 0, False)
