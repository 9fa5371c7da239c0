"""What became of every event: each has to be acknowledged by exactly one worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prompt_keda.clients.kube.resources import SERVICES
from prompt_keda.core.errors import DeadlinePassed, PromptKedaError
from prompt_keda.core.waiting import until
from prompt_keda.environment.model import Instrument
from prompt_keda.lab import processes, state
from prompt_keda.lab.faults.fault import Stage

READY_S, DRAIN_S = 20.0, 120.0
GO, ENOUGH = "go\n", "enough\n"


@dataclass(frozen=True)
class DeliveryReport:
    """What became of the events that were sent.

    Parameters
    ----------
    sent_count
        Those that Redis has confirmed.
    lost
        Ids of those that were in the stream when the recovery began, or came later, and that no worker acknowledged.
    duplicated
        Ids of those that were acknowledged more than once.
    unseen_count
        Those that are acknowledged by the group's own account, while nobody could listen: once or more often is not known.
        One that was sent when somebody listened again is none of them.
    taken_by_fault
        Ids of those that were gone before the recovery began, or whose group was, or that the fault acknowledged in a worker's
        place: the fault itself took them.
    """

    sent_count: int
    lost: Sequence[str]
    duplicated: Sequence[str]
    unseen_count: int
    taken_by_fault: Sequence[str]

    def problems(self) -> list[str]:
        """Return what should not have been, in words."""
        wrong = {"lost": self.lost, "duplicated": self.duplicated}
        return [f"{len(ids)} events {how}, the first {ids[0]}" for how, ids in wrong.items() if ids]


class DeliveryAudit:
    """Sends events and counts their acknowledgements, from inside the stack's network. Make it with `kept`."""

    def __init__(self, stage: Stage, instrument: Instrument, file: Path, say: Callable[[str], None]) -> None:
        self._stage, self._instrument, self._file, self._say = stage, instrument, file, say
        self._sends = False
        self._given: list[str] = []
        self._taken: set[str] = set()

    @classmethod
    @contextmanager
    def kept(cls, stage: Stage, instrument: Instrument, a_second: float) -> Iterator[DeliveryAudit]:
        """Listen from now, and send events from `recovery_begins` on.

        Raises
        ------
        DeadlinePassed
            When Redis cannot be heard within 20 s.
        """
        redis = stage.environment.redis
        address = stage.kube.get(SERVICES, redis.service, redis.namespace)["spec"]["clusterIP"]
        names = [instrument.stream, instrument.consumer_group, str(a_second)]
        program = [sys.executable, "-m", "prompt_keda.lab.drills.traffic", address, str(redis.port), *names]
        password = (
            state.ensure_secret(stage.lab, "redis-password").reveal() if stage.endpoints["redis_password"] else ""
        )
        with TemporaryDirectory() as folder:
            file = Path(folder) / "traffic"
            with file.open("wb") as out:
                process = subprocess.Popen(
                    [*processes.enter_node(stage.lab), *program],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    env={**os.environ, "REDISCLI_AUTH": password},
                    start_new_session=True,  # a Ctrl-C is for us: it would end with a traceback, and we end it ourselves
                )
            sends = process.stdin
            assert sends is not None

            def say(word: str) -> None:
                try:
                    sends.write(word.encode())
                    sends.flush()
                except OSError as error:
                    raise PromptKedaError(f"what sends events to {redis.service} has ended") from error

            audit = cls(stage, instrument, file, say)
            try:
                until(audit._gaps, f"what {redis.service} is asked", READY_S)
                yield audit
            finally:
                process.kill()
                process.wait()

    def give(self, count: int) -> None:
        """Send some events at once. Raises as `prompt_keda.clients.redis_streams.RedisStreams.add` does."""
        self._given += self._stage.redis.add(self._instrument.stream, [{"visit": f"first-{n}"} for n in range(count)])

    def recovery_begins(self) -> None:
        """Send events at a steady pace from now on. None may be lost any more but those that the fault has taken already.

        A Redis that does not answer has lost none.
        """
        with suppress(PromptKedaError):
            there, counts = set(self._ids()), self._counts()
            group = self._stage.redis.group_info(self._instrument.stream, self._instrument.consumer_group)
            self._taken = {
                event_id
                for event_id in self._sent()
                if not counts[event_id] and (event_id not in there or group is None)
            }
        self._say(GO)
        self._sends = True

    def close(self, place_was_lost: bool = False) -> DeliveryReport:
        """Send no more, wait until what was sent is acknowledged, at most 120 s, and return what became of it.

        An event that is sent while the others are counted would be on its way, and look like one that is lost.

        Parameters
        ----------
        place_was_lost
            The fault took the group's place in the stream: what it skips when it is made again counts as taken.

        Raises
        ------
        DeadlinePassed
            When what sends does not end within 20 s.
        ClientError
            As `prompt_keda.clients.redis_streams.RedisStreams.ping` does.
        """
        if self._sends:
            self._say(ENOUGH)
            until(lambda: self._news("over"), "the end of sending", READY_S)
            self._sends = False
        with suppress(DeadlinePassed):  # then what is left is lost, and named
            until(lambda: not self._open(), "the acknowledgement of every event", DRAIN_S)
        self._taken |= self._swallowed()
        counts, sent = self._counts(), self._sent()
        left = self._open()
        if place_was_lost:
            self._taken |= set(left) - self._waiting(left)
            left = [event_id for event_id in left if event_id not in self._taken]
        unseen = [
            event_id
            for event_id in sent
            if not counts[event_id] and event_id not in left and event_id not in self._taken
        ]
        duplicated = [event_id for event_id in sent if counts[event_id] > 1]
        return DeliveryReport(len(sent), left, duplicated, len(unseen), sorted(self._taken))

    def _waiting(self, events: Sequence[str]) -> set[str]:
        """Return those events that their group has still to give out, or that it gave out and nobody acknowledged."""
        redis, stream, group = self._stage.redis, self._instrument.stream, self._instrument.consumer_group
        info = redis.group_info(stream, group)
        if info is None:
            return set(events)
        read, pending = _number(info.last_delivered_id), redis.pending_ids(stream, group)
        return {event_id for event_id in events if _number(event_id) > read or event_id in pending}

    def _open(self) -> list[str]:
        """Return the events that nobody has acknowledged: not heard of, and by the group's account waiting or pending."""
        counts = self._counts()
        taken = self._taken | self._swallowed()
        unheard = [event_id for event_id in self._sent() if not counts[event_id] and event_id not in taken]
        if not unheard:
            return []
        wanted = self._waiting(unheard) | self._sure_to_be_heard()
        return [event_id for event_id in unheard if event_id in wanted]

    def _sure_to_be_heard(self) -> set[str]:
        """Return the events whose acknowledgement cannot have been missed: nobody was deaf since they were sent.

        The first one after a gap may have been sent before it ended, and reported after.
        """
        if self._gaps() <= 1:
            return set(self._sent())
        ids: list[str] = []
        for line in self._lines():
            ids = [] if "gap" in line else [*ids, line["sent"]] if "sent" in line else ids
        return set(ids[1:])

    def _ids(self) -> list[str]:
        (rows,) = self._stage.redis.run(["XRANGE", self._instrument.stream, "-", "+"])
        return [str(row[0]) for row in rows]

    def _sent(self) -> list[str]:
        return [*self._given, *(line["sent"] for line in self._news("sent"))]

    def _counts(self) -> Counter[str]:
        return Counter(id_ for line in self._news("acknowledged") for id_ in line["acknowledged"])

    def _swallowed(self) -> set[str]:
        """Return the events that were acknowledged by a fault, and by no worker: it has taken them."""
        swallowed = {id_ for line in self._news("swallowed") for id_ in line["swallowed"]}
        return swallowed.intersection(self._sent()) - self._counts().keys()

    def _gaps(self) -> int:
        return len(self._news("gap"))

    def _news(self, kind: str) -> list[dict[str, str]]:
        return [line for line in self._lines() if kind in line]

    def _lines(self) -> Iterator[dict[str, str]]:
        return map(json.loads, self._file.read_text().split("\n")[:-1])  # the last one may not be whole yet


def _number(id_: str) -> tuple[int, ...]:
    return tuple(int(part) for part in id_.split("-"))
