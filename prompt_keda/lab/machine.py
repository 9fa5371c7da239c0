"""How busy this machine was while a test ran: on one that stands still, deadlines pass that hold everywhere else."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

BEAT_S = 0.5
LATE_S, STOLEN, STALLED = 1.0, 0.1, 30.0
"""From here on a machine stands still. With four stacks on two cores (load 50) it was 0.5 s, 0.1 % and 5 %."""


@dataclass(frozen=True)
class Load:
    """What a machine was like for some time. What it does not tell is 0.

    Parameters
    ----------
    late_s
        How much later than asked a thread was woken that only slept, at most, in seconds.
    stolen
        The share of the processors' time that a hypervisor gave to others, 0 to 1.
    stalled
        The share of time in which all work waited for disks or memory, at most over 10 s, in percent (pressure stall
        information, the larger ``full avg10`` of io and memory).
    average
        The load average of the last minute.
    """

    late_s: float
    stolen: float
    stalled: float
    average: float

    @property
    def is_standstill(self) -> bool:
        """Whether nobody can say of a deadline that passed meanwhile whose fault that was."""
        return self.late_s >= LATE_S or self.stolen >= STOLEN or self.stalled >= STALLED

    def __str__(self) -> str:
        """Return it as one line."""
        return (
            f"load average {self.average:.0f}; a sleeper woke up to {self.late_s:.1f} s late; {self.stolen:.0%} of the "
            f"processors' time went to other machines; all work waited for disks or memory for up to {self.stalled:.0f}% of 10 s"
        )


class Machine:
    """Watches this machine from now on, in a thread of its own."""

    def __init__(self) -> None:
        self._late_s = self._stalled = 0.0
        self._before = _processor_times()
        threading.Thread(target=self._beat, daemon=True).start()

    def since_last(self) -> Load:
        """Return what it was like since this was asked last, else since it is watched."""
        total, stolen = _processor_times()
        share = (stolen - self._before[1]) / max(1, total - self._before[0])
        load = Load(self._late_s, share, self._stalled, _number("/proc/loadavg", 0, 0))
        self._late_s, self._stalled, self._before = 0.0, 0.0, (total, stolen)
        return load

    def _beat(self) -> None:
        while True:
            began = time.monotonic()
            time.sleep(BEAT_S)
            self._late_s = max(self._late_s, time.monotonic() - began - BEAT_S)
            pressures = (_number(f"/proc/pressure/{kind}", 1, 1) for kind in ("io", "memory"))
            self._stalled = max(self._stalled, *pressures)


def _processor_times() -> tuple[int, int]:
    """Return all of their time and what a hypervisor took of it, in ticks (proc(5), /proc/stat)."""
    ticks = [int(word) for word in _words("/proc/stat", 0)[1:9]] or [0] * 8
    return sum(ticks), ticks[7]


def _number(file: str, line: int, word: int) -> float:
    words = _words(file, line)
    return float(words[word].rpartition("=")[2]) if words else 0.0


def _words(file: str, line: int) -> list[str]:
    """Return the words of a line; none where there is no such file: not Linux, or a kernel that does not tell."""
    try:
        with open(file) as lines:  # a test may have replaced methods of Path
            return lines.read().splitlines()[line].split()
    except OSError:
        return []
