"""No event is lost and none is worked on twice while KEDA is replaced."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from prompt_keda.lab import network, settings, state

from .conftest import ENV, ROOT, changed_environment, command, until, work_time

STREAM, GROUP = "instrument:lsstcam", "lsstcam_consumer_group"
A_SECOND = 5
ACKNOWLEDGED = re.compile(rf'"XACK" "{STREAM}" "{GROUP}"((?: "[0-9]+-[0-9]+")+)', re.IGNORECASE)


class Producer:
    """Adds events at a steady pace, and keeps their ids."""

    def __init__(self, redis):
        self._redis, self._over, self.ids = redis, threading.Event(), []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        begun = time.monotonic()
        while not self._over.wait(max(0.0, begun + len(self.ids) / A_SECOND - time.monotonic())):
            self.ids += self._redis.add(STREAM, [{"visit": str(len(self.ids))}])

    def stop(self):
        self._over.set()
        self._thread.join(30)
        return self.ids


@pytest.fixture
def monitor(admin, tmp_path):
    """Everything that Redis is asked, in a file."""
    lab = settings.current_lab()
    address = admin.get_raw("/api/v1/namespaces/prompt-redis/pods/prompt-redis-0")["status"]["podIP"]
    file = tmp_path / "monitor"
    with file.open("wb") as out:
        argv = [*network.enter(lab), "redis-cli", "-h", address, "MONITOR"]
        password = state.ensure_secret(lab, "redis-password").reveal()
        running = subprocess.Popen(argv, stdout=out, env={**os.environ, "REDISCLI_AUTH": password})
        until(lambda: b"OK" in file.read_bytes(), 20, "the monitor's OK")
        yield file
        running.terminate()
        running.wait()


def acknowledged(file):
    """Give how often each event was acknowledged."""
    found = ACKNOWLEDGED.findall(file.read_text(errors="replace"))
    return Counter(one.strip('"') for group in found for one in group.split())


def test_every_event_of_a_redeploy_is_acknowledged_exactly_once(deployed, systems, monitor, shared, capsys):
    """Five events a second throughout; workers of a second each. Lost and doubled are counted."""
    environment = changed_environment(shared, manifest=work_time(1))
    assert subprocess.run(command("redeploy", "--env", environment), cwd=ROOT).returncode == 0
    producer = Producer(systems.redis)
    done = subprocess.run(
        command("redeploy", "--env", environment, "--mode", "reinstall"), cwd=ROOT, capture_output=True, text=True
    )
    ids = producer.stop()
    assert done.returncode == 0, done.stderr
    assert len(ids) > 5 * A_SECOND
    until(lambda: set(ids) <= set(acknowledged(monitor)), 120, "the acknowledgement of every event")
    until(lambda: systems.redis.group_info(STREAM, GROUP).pending == 0, 60, "nothing pending")
    counted = acknowledged(monitor)
    lost, doubled = [one for one in ids if not counted[one]], [one for one in ids if counted[one] > 1]
    with capsys.disabled():
        sys.stdout.write(f"\n{len(ids)} events during a redeploy: {len(lost)} lost, {len(doubled)} doubled\n")
    assert (lost, doubled) == ([], [])
    assert subprocess.run(command("redeploy", "--env", ENV), cwd=ROOT).returncode == 0
