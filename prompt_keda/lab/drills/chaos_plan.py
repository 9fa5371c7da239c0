"""A chaos round as data: made from a seed, kept as JSON, and shrunk to what still fails. It touches nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

KILL, STOP, FREEZE, DELETE, POD, PAUSE, INJECT = "kill", "stop", "freeze", "delete", "delete-pod", "pause", "inject"
KINDS = {KILL: 3, STOP: 1, FREEZE: 4, DELETE: 4, POD: 2, PAUSE: 1, INJECT: 3}
"""Kind of act → how often it comes, beside the others."""
MODES = {"auto": 3, "repair": 2, "reinstall": 3, "purge": 1}
MOST_ACTS, LAST_ENTRY, LONGEST_FREEZE_S = 6, 60, 6.0
"""A redeploy writes about 60 entries into its journal. Kubernetes' own leaders keep their place for 10 s without an answer."""


@dataclass(frozen=True)
class Act:
    """One thing that happens in a round.

    Parameters
    ----------
    kind
        ``kill``, ``stop``: SIGKILL or SIGINT to the toolkit, which is then resumed. ``freeze``: a process hangs for a while.
        ``delete``: an object of KEDA is deleted. ``delete-pod``: the pods of a part. ``pause``: a ScaledJob. ``inject``: a fault.
    target
        The process, ``kind/name`` of the object, the Deployment, or the fault; empty for the others.
    at_entry
        It happens when the journal of the round's redeploy has so many entries, or at its end if it never does; but for
        ``kill`` and ``stop``, which are not done then.
    seconds
        How long a freeze takes.
    """

    kind: str
    target: str
    at_entry: int
    seconds: float = 0.0

    def __str__(self) -> str:
        how_long = f" for {self.seconds} s" if self.seconds else ""
        return " ".join(filter(None, (self.kind, self.target))) + f"{how_long} at entry {self.at_entry}"


@dataclass(frozen=True)
class Round:
    """One round: a redeploy of this mode while events come, and what happens to it."""

    seed: int
    number: int
    mode: str
    events_a_second: float
    acts: tuple[Act, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; `read` takes it."""
        return asdict(self)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Round:
        """Read what `to_json` gave. Raises `KeyError`, `TypeError` or `ValueError` when it is something else."""
        chaos_round = cls(**{**document, "acts": tuple(Act(**act) for act in document["acts"])})
        if chaos_round.mode not in MODES or not chaos_round.events_a_second > 0:
            raise ValueError(f"mode {chaos_round.mode!r}, {chaos_round.events_a_second} events a second")
        for act in chaos_round.acts:
            if act.kind not in KINDS or not isinstance(act.at_entry, int) or not act.seconds >= 0:
                raise ValueError(f"no such act: {act}")
        return chaos_round


@dataclass(frozen=True)
class Targets:
    """What can be disrupted: processes of the stack, KEDA's objects as ``kind/name``, its Deployments, and faults by id."""

    processes: Sequence[str]
    objects: Sequence[str]
    parts: Sequence[str]
    faults: Sequence[str]


def make_round(seed: int, number: int, targets: Targets) -> Round:
    """Make a round; the same seed and number give the same one, as long as the targets are the same."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  nobody has to be unable to guess it
    mode = _one_of(chance, MODES)
    acts = [_make_act(chance, targets) for _ in range(chance.randint(1, MOST_ACTS))]
    return Round(seed, number, mode, chance.choice([0.5, 1.0, 2.0]), tuple(sorted(acts, key=lambda act: act.at_entry)))


def _make_act(chance: random.Random, targets: Targets) -> Act:
    kind = _one_of(chance, KINDS)
    names = {FREEZE: targets.processes, DELETE: targets.objects, POD: targets.parts, INJECT: targets.faults}
    target = chance.choice(names[kind]) if kind in names else ""
    seconds = round(chance.uniform(0.2, LONGEST_FREEZE_S), 1) if kind == FREEZE else 0.0
    return Act(kind, target, chance.randint(0, LAST_ENTRY), seconds)


def _one_of(chance: random.Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


def shrink(failing: Round, fails: Callable[[Round], bool], most_tries: int) -> tuple[Round, int]:
    """Return the smallest round found that still fails, and the number of tries: acts are left out while it does.

    Halves first, then one by one; every act that is left was needed, unless the tries were over before.

    Parameters
    ----------
    fails
        Runs a round, and says whether it fails.
    most_tries
        So many rounds are run at most.
    """
    smallest, tries, size = failing, 0, max(1, len(failing.acts) // 2)
    while True:
        left_out = False
        for start in range(0, len(smallest.acts), size):
            if tries == most_tries:
                return smallest, tries
            acts = smallest.acts[:start] + smallest.acts[start + size :]
            tries += 1
            if fails(candidate := replace(smallest, acts=acts)):
                smallest, left_out = candidate, True
                break
        if not left_out:
            if size == 1:
                return smallest, tries
            size //= 2
        size = max(1, min(size, len(smallest.acts)))
        if not smallest.acts:
            return smallest, tries
