"""The links of the chain from an event to a Job that ended well, as data: since when does each stand still?

Every fact is held against the clock of the server that has stamped it: Redis' TIME, the API server's Date.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from prompt_keda.components.scaling.workers import Workers

MANY = 3
"""So few that came to nothing may be chance: a node that went, a worker that was killed."""
CLOCKS = timedelta(seconds=5)
"""An event that comes while Redis is asked is later than the clock that it gave, by no more."""
JOB_START = timedelta(seconds=30)
"""What a Job's start may take beyond the model on a busy node; the checks of pods and Jobs wait as long."""


@dataclass(frozen=True)
class Chain:
    """What was seen of one instrument's chain.

    Parameters
    ----------
    waiting_count
        Events that no worker has been given.
    oldest, event, read, unacknowledged
        Ages by Redis' clock: the first event that waits, the newest event, the last read, the last event that was given
        out and is pending still. None: there is no such thing.
    unacknowledged_count
        How many of the last `MANY` events that were given out are pending still.
    is_ahead
        Whether the group stands after the stream's last id: no event reaches it, and so none seems to wait.
    clock_behind
        So far Redis' clock is behind the stream's last id: it was set back, and no event seems to be old.
    polled
        How long ago KEDA's operator asked Redis for a lag, of whichever stream; None: that cannot be seen.
    no_poll_seen
        Why there is no sign at all that KEDA polls, in words; empty: there is one, or it is too early for one.
    made_at
        Age of the ScaledJob.
    polling
        How often KEDA polls.
    start
        From a poll to the last of the workers that are wanted running, as the capacity model says.
    target
        Within so long a visit's workers have to run, as the environment says.
    minimum, maximum
        Workers that KEDA keeps, and that may run.
    workers
        Its Jobs.
    """

    waiting_count: int
    oldest: timedelta | None
    event: timedelta | None
    read: timedelta | None
    unacknowledged: timedelta | None
    unacknowledged_count: int
    is_ahead: bool
    clock_behind: timedelta
    polled: timedelta | None
    no_poll_seen: str
    made_at: timedelta
    polling: timedelta
    start: timedelta
    target: timedelta
    minimum: int
    maximum: int
    workers: Workers

    @property
    def model(self) -> timedelta:
        """Within so long a worker takes an event, as the capacity model says."""
        return self.polling + self.start

    @property
    def patience(self) -> timedelta:
        """After so long something is wrong: some polls, and twice what the model says of the start."""
        return 3 * self.polling + 2 * self.start

    @property
    def limit(self) -> timedelta:
        """After so long a worker that does not run, or does not read, is no slow one."""
        return max(self.patience, JOB_START)

    @property
    def held_count(self) -> int:
        """Places of workers that are taken, or that KEDA may still fill."""
        left_count = self.workers.left_count(self.patience)
        return self.workers.starting_count(self.limit) + self.workers.at_work_count + left_count

    @property
    def _busy_count(self) -> int:
        """Places of workers that may be busy with an event that they read long ago."""
        old = sum(worker.is_at_work and worker.made > self.limit for worker in self.workers.open)
        return old + self.workers.left_count(self.patience)

    @property
    def is_overdue(self) -> bool:
        """Whether an event has waited for too long."""
        return self.oldest is not None and self.oldest > self.patience

    @property
    def lacks_workers(self) -> bool:
        """Whether events have waited for some polls while more workers might run.

        Workers that are young are no excuse where no event is read at all: they may be new ones each time.
        """
        if self.oldest is None or self.oldest <= self.patience:
            return False
        unread = self.oldest if self.read is None else min(self.oldest, self.read)
        nobody_reads = unread > self.limit
        wanted = min(self.maximum, self.workers.at_work_count + self.waiting_count)
        return (self._busy_count if nobody_reads else self.held_count) < wanted

    @property
    def is_slow(self) -> bool:
        """Whether events wait for longer than is promised: by the model while more workers may run, else by the target."""
        limit = self.model if self.held_count < self.maximum else max(self.model, self.target)
        return self.oldest is not None and self.oldest > limit

    @property
    def is_below_minimum(self) -> bool:
        """Whether fewer workers than the minimum have been there for some polls.

        Nothing waits for those that keep the minimum: a busy KEDA may take as long as a busy node to replace them.
        """
        limit, newest = self.limit, self.workers.newest_made
        since = min((age for age in (newest, self.made_at) if age is not None), default=self.made_at)
        there = self.workers.starting_count(limit) + self.workers.at_work_count + self.workers.left_count(limit)
        is_held = any(not worker.has_run and worker.made > limit for worker in self.workers.open)  # KEDA counts it
        return there < self.minimum and (is_held or since > limit)

    @property
    def polls_no_more(self) -> bool:
        """Whether KEDA has not asked for a lag for some polls: what comes next would wait, also where nothing waits now."""
        return self.polled is not None and self.polled > self.limit

    @property
    def start_no_more(self) -> bool:
        """Whether the newest workers do not run, though each had the time to.

        What comes next will wait, also while older workers still read all that comes: those end.
        """
        newest = sorted(self.workers.all, key=lambda worker: worker.made)
        due = [worker for worker in newest if worker.made > self.limit][:MANY]
        young = [worker for worker in newest if worker.made <= self.limit]
        return len(due) == MANY and not any(worker.has_run for worker in (*young, *due))

    @property
    def end_at_once(self) -> bool:
        """Whether workers end as soon as they begin, again and again."""
        return len(self.workers.ended_at_once()) >= MANY

    @property
    def acknowledges_nothing(self) -> bool:
        """Whether the last events that were given out are not acknowledged for long: a single one is chance.

        Workers acknowledge an event before they work on it. Those that dead workers have left are no sign.
        """
        is_old = self.unacknowledged is not None and self.unacknowledged > self.limit
        return is_old and self.unacknowledged_count >= MANY


@dataclass(frozen=True)
class Link:
    """One link of the chain.

    Parameters
    ----------
    name
        What happens there.
    moved
        Returns how long ago that was seen last; None: it is not known, or was never.
    stands_still
        Returns what stands still there, in words; empty: it moves, or has nothing to do.
    """

    name: str
    moved: Callable[[Chain], timedelta | None]
    stands_still: Callable[[Chain], str]


def _arrives(chain: Chain) -> str:
    if chain.is_ahead:
        return "the group stands ahead of its stream, and is given no event that comes"
    if chain.clock_behind > CLOCKS:
        behind = seconds(chain.clock_behind)
        return f"Redis' clock is {behind} behind the stream's last id: how long events wait cannot be seen"
    return ""


def _polls(chain: Chain) -> str:
    return f"KEDA has not asked Redis for {seconds(chain.polled)}" if chain.polls_no_more else chain.no_poll_seen


def _jobs(chain: Chain) -> str:
    if chain.workers.suspended_count:
        return f"{chain.workers.suspended_count} Jobs are suspended"
    newest, count = chain.workers.newest_made, len(chain.workers.open)
    wanted = (chain.is_overdue and count < chain.maximum) or (chain.is_below_minimum and count < chain.minimum)
    if not wanted or (newest is not None and newest <= chain.patience):
        return ""
    return f"no Job was made for {seconds(newest)}" if newest is not None else "there is no Job at all"


def _pods(chain: Chain) -> str:
    late = [worker.made for worker in chain.workers.open if worker.pod is None and worker.made > JOB_START]
    return f"{len(late)} Jobs have no pod, the oldest for {seconds(max(late))}" if late else ""


def _scheduled(chain: Chain) -> str:
    late = [worker.pod for worker in chain.workers.open if worker.pod is not None and worker.scheduled is None]
    late = [age for age in late if age > JOB_START]
    return f"{len(late)} pods have no node, the oldest for {seconds(max(late))}" if late else ""


def _run(chain: Chain) -> str:
    begun = [worker for worker in chain.workers.open if not worker.has_run]
    ages = [worker.scheduled for worker in begun if worker.scheduled is not None]
    late = [age for age in ages if age > JOB_START]
    if late:
        return f"{len(late)} pods do not run, the oldest for {seconds(max(late))}"
    if chain.end_at_once:
        quick = chain.workers.ended_at_once()
        how = "failed" if all(worker.has_failed for worker in quick) else "ended"
        return f"{len(quick)} workers of the last minute {how} at once"
    return ""


def _reads(chain: Chain) -> str:
    if not chain.lacks_workers or (chain.read is not None and chain.read <= chain.patience):
        return ""
    return f"nobody has read for {seconds(chain.read)}" if chain.read is not None else "nobody has ever read"


def _acknowledges(chain: Chain) -> str:
    if not chain.acknowledges_nothing:
        return ""
    count = chain.unacknowledged_count
    return f"the last {count} events that were given out are not acknowledged, the newest for {seconds(chain.unacknowledged)}"


def _ends(chain: Chain) -> str:
    ended = sorted((w for w in chain.workers.all if w.ended is not None), key=lambda w: w.ended or timedelta())[:5]
    failed = sum(worker.has_failed for worker in ended)
    return f"{failed} of the newest {len(ended)} Jobs failed" if failed >= MANY else ""


def _newest(pick: Callable[[Chain], list[timedelta | None]]) -> Callable[[Chain], timedelta | None]:
    return lambda chain: min((age for age in pick(chain) if age is not None), default=None)


LINKS = (
    Link("events come in", lambda chain: chain.event, _arrives),
    Link("KEDA polls", lambda chain: chain.polled, _polls),
    Link("Jobs are made", lambda chain: chain.workers.newest_made, _jobs),
    Link("pods are made", _newest(lambda chain: [worker.pod for worker in chain.workers.all]), _pods),
    Link("pods are scheduled", _newest(lambda chain: [worker.scheduled for worker in chain.workers.all]), _scheduled),
    Link("containers run", lambda chain: None, _run),
    Link("workers read", lambda chain: chain.read, _reads),
    Link("workers acknowledge", lambda chain: None, _acknowledges),
    Link("Jobs end well", _newest(lambda chain: [w.ended for w in chain.workers.all if not w.has_failed]), _ends),
)
"""From the event to the end of its worker's Job; what comes first cuts off what comes after."""


def standing_still(chain: Chain) -> list[str]:
    """Return what stands still, link by link, in words."""
    return [reason for link in LINKS if (reason := link.stands_still(chain))]


def last_moves(chain: Chain) -> str:
    """Return when each link was last seen to move, in one line."""
    moves = [(link.name, link.moved(chain)) for link in LINKS]
    return ", ".join(f"{name} {seconds(age)} ago" for name, age in moves if age is not None)


def seconds(span: timedelta | None) -> str:
    """Return a duration as people say it in an incident."""
    if span is None:
        return "an unknown time"
    whole = int(span.total_seconds())
    return f"{whole} s" if whole < 600 else f"{whole // 60} min"
