"""What a smoke test has verified."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SmokeResult:
    """What was verified.

    Parameters
    ----------
    events_count
        Events sent: the activation threshold and as many more as Jobs are wanted; and those that were sent again.
    acknowledged_count
        Events that the group read and acknowledged.
    job_uids, pod_uids
        The Jobs that KEDA made, and their pods that ran.
    intervals_s
        Seconds to each point: ``ready`` from the ScaledJob's creation; all others from the sending of the events.
    first_job_s
        Seconds from the test's begin to the first Job.
    """

    events_count: int
    acknowledged_count: int = 0
    job_uids: list[str] = field(default_factory=list)
    pod_uids: list[str] = field(default_factory=list)
    intervals_s: dict[str, float] = field(default_factory=dict)
    first_job_s: float = 0.0
