"""What a redeploy did, as its report.json keeps it and as it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prompt_keda.components.smoke.result import SmokeResult
from prompt_keda.core.decisions import JobRecord
from prompt_keda.core.plan import StepResult
from prompt_keda.report.as_json import WithoutNone
from prompt_keda.report.status import NotSeen


@dataclass(frozen=True)
class StreamCounts:
    """What stood of an instrument's stream; None: there is no such stream or group."""

    length: int | None
    lag: int | None
    pending: int | None


Streams = Mapping[str, StreamCounts | NotSeen]
"""Stream → what stood of it."""


@dataclass(frozen=True)
class Ledger:
    """The Jobs and pods at the start and at the end, and the streams at the end."""

    before: Sequence[JobRecord]
    after: Sequence[JobRecord]
    streams: Streams


@dataclass(frozen=True)
class LedgerBefore:
    """The Jobs and pods at the start."""

    before: Sequence[JobRecord]


@dataclass(frozen=True)
class RunStopped:
    """What a redeploy had done until it stopped."""

    header: str
    run: str
    mode: str
    steps: Sequence[StepResult]
    ledger: LedgerBefore
    timings: Mapping[str, float]


@dataclass(frozen=True)
class RunReport(WithoutNone):
    """A redeploy that has ended green.

    Parameters
    ----------
    timings
        Span or step → seconds.
    recent_s
        What the last recoveries of this mode took here, in seconds; None: not looked up, as when it is written.
    """

    run: str
    mode: str
    notes: Sequence[str]
    steps: Sequence[StepResult]
    ledger: Ledger
    smoke: SmokeResult
    timings: Mapping[str, float]
    recent_s: Sequence[float] | None = None
