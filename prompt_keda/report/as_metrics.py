"""What `watch` serves at /metrics: the verdict of each check, whether scaling works, and how the last round went."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.errors import Refusal

NUMBERS = {Verdict.OK: 0, Verdict.WARN: 1, Verdict.FAIL: 2, Verdict.UNKNOWN: 3, Verdict.SKIPPED: 4}
"""What `prompt_keda_check_verdict` says of a verdict."""
SCALING = "scaling/works"
_WORKS = {Verdict.OK: 1.0, Verdict.WARN: 1.0, Verdict.FAIL: 0.0}


class Metrics:
    """The gauges of one environment, in a registry of their own. They hold the last round alone.

    Parameters
    ----------
    runbooks
        Check → the page that answers it. A result that is OK names none, and a label that changes would be a second series.
    """

    def __init__(self, environment: str, runbooks: Mapping[str, str]) -> None:
        from prometheus_client import CollectorRegistry, Gauge

        self.registry = CollectorRegistry()
        self._environment, self._runbooks = environment, runbooks

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"prompt_keda_{name}", meaning, ["environment", *labels], registry=self.registry)

        verdicts = ", ".join(f"{number} {verdict.value}" for verdict, number in NUMBERS.items())
        self._verdict = gauge("check_verdict", f"What a check found: {verdicts}.", "check", "runbook")
        self._works = gauge("scaling_works", "Whether events become work in time: 1 yes, 0 no, NaN not known.")
        self._ended = gauge("round_timestamp_seconds", "When the last round of checks ended, in seconds since 1970.")
        self._took = gauge("round_seconds", "How long the last round of checks took.")

    def show_round(self, results: Sequence[CheckResult], ended: float, took_s: float) -> None:
        """Show a round of the same checks in the place of the last one.

        Parameters
        ----------
        ended
            When it ended, in seconds since 1970.
        """
        for result in results:
            self._verdict.labels(self._environment, result.id, self._runbooks[result.id]).set(NUMBERS[result.verdict])
        works = {result.id: _WORKS.get(result.verdict, math.nan) for result in results}.get(SCALING, math.nan)
        self._works.labels(self._environment).set(works)
        self._ended.labels(self._environment).set(ended)
        self._took.labels(self._environment).set(took_s)

    def serve(self, listen: str) -> AbstractContextManager[int]:
        """Serve them at ``host:port``, and return the port, until the context ends. Raises as `_serve` does."""
        return _serve(self, listen)


@contextmanager
def _serve(metrics: Metrics, listen: str) -> Iterator[int]:
    """Serve metrics while the context lasts.

    Raises
    ------
    Refusal
        When ``listen`` is no host:port, or nothing can listen there.
    """
    from prometheus_client import start_http_server

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Refusal(f"--listen {listen} is no host:port", "For example --listen 127.0.0.1:9847.")
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), metrics.registry)
    except OSError as error:
        raise Refusal(f"--listen {listen}: nothing can listen there: {error.strerror}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
