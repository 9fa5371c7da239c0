"""A process inside the stack's network: it reports what Redis is asked to acknowledge, and adds events at a steady pace.

    python -m prompt_keda.lab.drills.traffic HOST PORT STREAM GROUP EVENTS_A_SECOND

Redis' password comes by the variable ``REDISCLI_AUTH``, as for redis-cli. Each line of standard output is one of
``{"sent": id}``, ``{"acknowledged": [id, …]}``, ``{"swallowed": [id, …]}`` (acknowledged from Redis' own pod or in a script:
by a fault, through a port-forward, and by no worker), ``{"gap": reason}``: from the line before until now acknowledgements may
have come that nobody saw; and ``{"over": true}``: nothing more will be sent. It begins to send with the first line of its
standard input, ends sending with the second, listens until then and after, and ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

CONNECT_S = 2.0
SILENCE_S = 8.0
"""KEDA asks more often than that (its polling interval is 2 s): a Redis that is silent for so long was replaced, or hangs."""
AGAIN_S = 0.25
WRITE = threading.Lock()


def main(host: str, port: str, stream: str, group: str, pace: str) -> None:
    """Listen until standard input ends; send between its first line and its second."""
    settings = {"host": host, "port": int(port), "password": os.environ.get("REDISCLI_AUTH") or None, "protocol": 2}
    threading.Thread(target=_listen, args=(settings, stream, group), daemon=True).start()
    if sys.stdin.readline():
        over = threading.Event()
        threading.Thread(target=_send, args=(settings, stream, 1 / float(pace), over), daemon=True).start()
        sys.stdin.readline()
        over.set()
        sys.stdin.read()


def _report(**news: Any) -> None:
    with WRITE:
        sys.stdout.write(f"{json.dumps(news)}\n")
        sys.stdout.flush()


def _send(settings: dict[str, Any], stream: str, every_s: float, over: threading.Event) -> None:
    """Add an event each so many seconds, until it is over.

    One that Redis did not answer for is not counted: it may be there or not.
    """
    limits: dict[str, Any] = {
        "socket_timeout": CONNECT_S,
        "socket_connect_timeout": CONNECT_S,
        "decode_responses": True,
    }
    connection = redis.Redis(**settings, **limits, retry=Retry(NoBackoff(), 0))
    number = 0
    while not over.is_set():
        begun = time.monotonic()
        try:
            _report(sent=connection.xadd(stream, {"visit": f"drill-{number}"}))
            number += 1
        except redis.RedisError:
            connection.close()
        over.wait(max(0.0, begun + every_s - time.monotonic()))
    _report(over=True)


def _listen(settings: dict[str, Any], stream: str, group: str) -> None:
    while True:
        limits: dict[str, Any] = {"socket_timeout": SILENCE_S, "socket_connect_timeout": CONNECT_S}
        connection = redis.Redis(**settings, **limits, retry=Retry(NoBackoff(), 0))
        try:
            with connection.monitor() as monitor:  # type: ignore[no-untyped-call]
                _report(gap="begins to listen")
                for asked in monitor.listen():
                    if ids := list(_acknowledged(str(asked["command"]), stream, group)):
                        _report(**{"acknowledged" if _is_workers(asked) else "swallowed": ids})
        except (redis.RedisError, OSError, ValueError):
            time.sleep(AGAIN_S)
        finally:
            connection.close()


def _is_workers(asked: dict[str, str]) -> bool:
    """Return whether a worker has asked: from a pod of its own."""
    return asked["client_type"] == "tcp" and asked["client_address"] not in ("127.0.0.1", "[::1]", "::1")


def _acknowledged(command: str, stream: str, group: str) -> Iterator[str]:
    words = [word.strip('"') for word in command.split(" ")]
    if len(words) > 3 and [words[0].upper(), words[1], words[2]] == ["XACK", stream, group]:
        yield from words[3:]


if __name__ == "__main__":
    main(*sys.argv[1:])
