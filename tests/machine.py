"""How busy the machine was while a test ran: on one that stands still, deadlines pass that hold everywhere else."""

from __future__ import annotations

import threading
import time

BEAT_S = 0.5


class Machine:
    """Watches the machine from now on, in a thread of its own."""

    def __init__(self) -> None:
        self._longest_s, self._before = 0.0, _processor_times()
        threading.Thread(target=self._beat, daemon=True).start()

    def report(self) -> str:
        """Return what it was like since the last report."""
        total, stolen = _processor_times()
        total_before, stolen_before = self._before
        share = (stolen - stolen_before) / max(1, total - total_before)
        late_s, self._longest_s, self._before = self._longest_s, 0.0, (total, stolen)
        pressure = {kind: _lines(f"/proc/pressure/{kind}")[0] for kind in ("cpu", "io", "memory")}
        return "\n".join(
            [
                f"load {_lines('/proc/loadavg')[0]}; {share:.0%} of the processors' time went to other machines",
                f"who slept {BEAT_S} s slept up to {late_s:.1f} s longer",
                *(f"{kind} pressure: {line}" for kind, line in pressure.items()),
                *(line for line in _lines("/proc/meminfo") if line.startswith(("MemAvailable", "Dirty"))),
            ]
        )

    def _beat(self) -> None:
        while True:
            began = time.monotonic()
            time.sleep(BEAT_S)
            self._longest_s = max(self._longest_s, time.monotonic() - began - BEAT_S)


def _processor_times() -> tuple[int, int]:
    """Return all of their time and what a hypervisor took of it, in ticks (proc(5), /proc/stat)."""
    ticks = [int(word) for word in _lines("/proc/stat")[0].split()[1:9]] or [0] * 8
    return sum(ticks), ticks[7]


def _lines(file: str) -> list[str]:
    try:
        with open(file) as lines:  # a test may have replaced methods of Path
            return lines.read().splitlines()
    except OSError:  # not Linux, or a kernel without pressure stall information
        return ["unknown"]
