"""The audit of events: each is acknowledged once, or it is named. Without a stack."""

from __future__ import annotations

import json
import os
import threading
from types import SimpleNamespace

import pytest

from prompt_keda.core import waiting
from prompt_keda.core.errors import PromptKedaError, Unreachable
from prompt_keda.core.process import is_alive
from prompt_keda.lab.drills import delivery_audit as module
from prompt_keda.lab.drills import traffic
from prompt_keda.lab.drills.delivery_audit import DeliveryAudit
from prompt_keda.lab.drills.traffic import _acknowledged, _is_workers

INSTRUMENT = SimpleNamespace(stream="instrument:x", consumer_group="g")
GAP = {"gap": "begins to listen"}


class Redis:
    """A stream with these ids; the group has read to the last one."""

    def __init__(self, ids=("1-0", "2-0"), read="2-0", pending=(), group=True, answers=True):
        self.ids, self.pending, self.answers = ids, pending, answers
        self.group = SimpleNamespace(last_delivered_id=read) if group else None

    def group_info(self, stream, group):
        if not self.answers:
            raise Unreachable("Redis", "x", "no answer in time")
        return self.group

    def pending_ids(self, stream, group):
        return set(self.pending)

    def run(self, command):
        if not self.answers:
            raise Unreachable("Redis", "x", "no answer in time")
        return [[[id_, {}] for id_ in self.ids]]


@pytest.fixture
def audited(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DRAIN_S", 0)
    monkeypatch.setattr(waiting.Tick, "wait", lambda *_: False)

    def kept(news, redis):
        file = tmp_path / "traffic"
        file.write_text("".join(f"{json.dumps(entry)}\n" for entry in news))

        def say(word):
            if word == module.ENOUGH:
                with file.open("a") as more:
                    more.write(f"{json.dumps({'over': True})}\n")

        return DeliveryAudit(SimpleNamespace(redis=redis), INSTRUMENT, file, say)

    return kept


def heard(*ids):
    return {"acknowledged": list(ids)}


SENT = [GAP, {"sent": "1-0"}, {"sent": "2-0"}]


@pytest.mark.parametrize(
    ("news", "redis", "lost", "duplicated", "unseen"),
    [
        ([*SENT, heard("1-0"), heard("2-0")], Redis(), [], [], 0),
        ([*SENT, heard("1-0", "2-0"), heard("2-0")], Redis(), [], ["2-0"], 0),
        ([*SENT, heard("1-0")], Redis(read="1-0"), ["2-0"], [], 0),
        ([*SENT, heard("1-0")], Redis(pending=["2-0"]), ["2-0"], [], 0),
        ([*SENT, heard("1-0")], Redis(), ["2-0"], [], 0),
        ([*SENT, heard("1-0")], Redis(group=False), ["2-0"], [], 0),
        ([*SENT, GAP, heard("1-0")], Redis(), [], [], 1),
        ([*SENT, GAP, heard("1-0")], Redis(read="1-0"), ["2-0"], [], 0),
    ],
)
def test_each_event_is_counted_once(audited, news, redis, lost, duplicated, unseen):
    """Waiting, pending or passed over: lost. Acknowledged while nobody listened, by the group's own account: unseen."""
    report = audited(news, redis).close()
    assert (list(report.lost), list(report.duplicated), report.unseen_count) == (lost, duplicated, unseen)
    assert report.sent_count == 2


def test_an_event_that_was_sent_after_a_gap_and_that_nobody_acknowledged_is_lost(audited):
    """Whatever the group's account says: a group that is moved past it has read it, by that. The first may be of the gap."""
    news = [GAP, {"sent": "1-0"}, GAP, {"sent": "2-0"}, {"sent": "3-0"}, {"sent": "4-0"}, heard("1-0"), heard("4-0")]
    report = audited(news, Redis(read="4-0")).close()
    assert (list(report.lost), report.unseen_count, report.sent_count) == (["3-0"], 1, 4)


@pytest.mark.parametrize(
    ("redis", "taken"),
    [
        (Redis(ids=()), ["1-0", "2-0"]),
        (Redis(group=False), ["1-0", "2-0"]),
        (Redis(read="0-0"), []),
        (Redis(answers=False), []),
    ],
)
def test_what_a_fault_has_taken_is_no_loss_of_the_recovery(audited, redis, taken):
    """A Redis that does not answer has taken nothing."""
    audit = audited(SENT, redis)
    audit.recovery_begins()
    audit._stage.redis = Redis(read="0-0")
    report = audit.close()
    assert list(report.taken_by_fault) == taken and len(report.lost) == 2 - len(taken)


@pytest.mark.parametrize(("news", "taken"), [([], ["2-0"]), ([heard("2-0")], [])])
def test_what_a_fault_acknowledges_itself_it_has_taken(audited, news, taken):
    """No worker has worked on it. One that a worker has acknowledged as well was worked on; others are nobody's here."""
    report = audited([*SENT, heard("1-0"), {"swallowed": ["2-0", "9-9"]}, *news], Redis()).close()
    assert (list(report.taken_by_fault), list(report.lost), list(report.duplicated)) == (taken, [], [])


@pytest.mark.parametrize(
    ("redis", "lost", "taken"),
    [
        (Redis(), [], ["2-0"]),
        (Redis(read="1-0"), ["2-0"], []),
        (Redis(pending=["2-0"]), ["2-0"], []),
        (Redis(group=False), ["2-0"], []),
    ],
)
def test_what_a_group_that_lost_its_place_skips_was_taken_by_the_fault(audited, redis, lost, taken):
    """But nothing that it has still to give out, or has given to somebody."""
    report = audited([*SENT, heard("1-0")], redis).close(place_was_lost=True)
    assert (list(report.lost), list(report.taken_by_fault)) == (lost, taken)


def test_nothing_is_sent_any_more_while_events_are_counted(audited):
    """One that came in between would look like a lost one: what sends is told to end first, and has ended."""
    audit = audited(SENT, Redis())
    messages, say = [], audit._say

    def note(word):
        messages.append((word, len(audit._news("over"))))
        say(word)

    audit._say = note
    audit.recovery_begins()
    audit.close()
    assert messages == [(module.GO, 0), (module.ENOUGH, 0)] and audit._news("over")


def test_what_sends_ends_when_it_is_told_to_and_goes_on_to_listen(monkeypatch, capsys):
    """The end of sending is told after the last event."""
    sent, ended = threading.Event(), threading.Event()

    class Connection:
        def __init__(self, **settings):
            pass

        def xadd(self, stream, fields):
            sent.set()
            return "1-0"

    class Input:
        def __init__(self):
            self.lines = iter(["go", "enough"])

        def readline(self):
            line = next(self.lines)
            assert line == "go" or sent.wait(5)
            return line

        def read(self):
            assert ended.wait(5)

    def report(**news):
        write(**news)
        if "over" in news:
            ended.set()

    write = traffic._report
    monkeypatch.setattr(traffic, "_report", report)
    monkeypatch.setattr(traffic, "_listen", lambda *_: None)
    monkeypatch.setattr(traffic.redis, "Redis", Connection)
    monkeypatch.setattr(traffic.sys, "stdin", Input())
    traffic.main("h", "1", "s", "g", "100")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"sent": "1-0"} in lines and lines[-1] == {"over": True}


@pytest.fixture
def stage(monkeypatch):
    """A stack whose network is this machine's, and whose Redis has no password."""
    monkeypatch.setattr(module.processes, "enter_node", lambda lab: [])
    service = {"spec": {"clusterIP": "127.0.0.1"}}
    return SimpleNamespace(
        environment=SimpleNamespace(redis=SimpleNamespace(service="prompt-redis", namespace="r", port=1)),
        kube=SimpleNamespace(get=lambda *_: service),
        endpoints={"redis_password": False},
        lab=None,
    )


def program(monkeypatch, tmp_path, lines):
    file = tmp_path / "program"
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(0o700)
    monkeypatch.setattr(module, "sys", SimpleNamespace(executable=str(file)))


def test_what_listens_is_ended_by_us_and_not_by_a_persons_ctrl_c(stage, monkeypatch, tmp_path):
    """It is of another process group than ours, and gone at the end."""
    program(monkeypatch, tmp_path, """echo '{"gap": '$$'}'; exec cat >/dev/null""")
    with DeliveryAudit.kept(stage, INSTRUMENT, 1.0) as audit:
        (gap,) = audit._news("gap")
        assert os.getpgid(gap["gap"]) != os.getpgid(0)
    assert not is_alive(gap["gap"])


def test_what_sends_and_has_ended_is_reported(stage, monkeypatch, tmp_path):
    """In plain words, so that the drill takes its fault back and goes on."""
    program(monkeypatch, tmp_path, """echo '{"gap": "x"}'; exec <&-; echo '{"gap": "y"}'; exec sleep 60""")
    with DeliveryAudit.kept(stage, INSTRUMENT, 1.0) as audit:
        waiting.until(lambda: audit._gaps() > 1, "the end of its input", 5)
        with pytest.raises(PromptKedaError, match="what sends events to prompt-redis has ended"):
            audit._say(module.GO)


def test_an_acknowledgement_is_read_from_what_redis_is_asked():
    """MONITOR's words, as redis-py gives them; other streams and commands are none."""
    assert list(_acknowledged("XACK instrument:x g 1-0 2-0", "instrument:x", "g")) == ["1-0", "2-0"]
    assert list(_acknowledged("XACK instrument:y g 1-0", "instrument:x", "g")) == []
    assert list(_acknowledged("XREADGROUP GROUP g c STREAMS instrument:x >", "instrument:x", "g")) == []


@pytest.mark.parametrize(
    ("kind", "address", "is_workers"),
    [("tcp", "10.1.2.3", True), ("tcp", "127.0.0.1", False), ("tcp", "[::1]", False), ("lua", "lua", False)],
)
def test_a_worker_asks_from_a_pod_of_its_own(kind, address, is_workers):
    """Faults ask through a port-forward, which ends in Redis' own pod, or by a script."""
    assert _is_workers({"client_type": kind, "client_address": address}) is is_workers
