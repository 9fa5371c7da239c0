"""What was seen in a cluster beside what an environment's file says: what fills a gap, what differs, what makes no sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prompt_keda.core.strict_yaml import PLACEHOLDER, Where, load_documents
from prompt_keda.core.untrusted import one_line
from prompt_keda.environment.edit import as_it_stands, key_of, with_value
from prompt_keda.environment.model import FILL_IN, Environment, FillIn

LONGEST = 500
"""Characters of one text: longer than any name, path or address that Kubernetes, Redis or Vault takes here."""
NOTHING = object()


@dataclass(frozen=True)
class LiveValue:
    """A value that was seen in a cluster.

    Parameters
    ----------
    where
        Its place in an environment's file.
    value
        As YAML would hold it. A `FillIn` in a mapping stands for what cannot be seen; a list: what belongs in it.
    source
        Where it was seen: ``ScaledJob ns/name, spec.minReplicaCount``.
    """

    where: Where
    value: Any
    source: str


@dataclass(frozen=True)
class Proposal:
    """A value for an environment's file.

    Parameters
    ----------
    now
        What the file says; None: nothing.
    differs
        A person has written something else. False: it fills a gap.
    """

    where: Where
    now: Any
    proposed: Any
    source: str
    differs: bool


def propose(
    path: Path, environment: Environment, placeholders: Mapping[str, Any] | None, live: Sequence[LiveValue]
) -> tuple[list[Proposal], list[str]]:
    """Return what to propose for an environment's file, and why something that was seen is not proposed.

    What comes from a cluster is untrusted: the model has to take the file with it, and no text may pass for a line, a
    placeholder or a FILL-IN.

    Parameters
    ----------
    environment
        What the file says, as `load_environment` gave it.
    placeholders
        As for `load_environment`.

    Raises
    ------
    EnvironmentFileError
        When the file can no longer be read.
    """
    stands, says = as_it_stands(path), environment.model_dump(mode="json")
    ((data, _),) = load_documents(path, placeholders)
    tried = _Tried(data)
    for proposal in (made for value in live for made in _compare(stands, says, value)):
        tried.take(proposal)
    refused = tried.refused()
    return tried.taken, refused


class _Tried:
    """What the model takes, by itself or together with what it needs: Argo CD's part belongs to its delivery."""

    def __init__(self, data: Any) -> None:
        self.taken: list[Proposal] = []
        self._data = data
        """With what fills gaps."""
        self._whole = data
        """With what differs as well."""
        self._waiting: list[tuple[Proposal, str]] = []

    def take(self, proposal: Proposal) -> None:
        """Take a proposal if the file is an environment with it; else it waits for one that it belongs to."""
        why = _unsafe(proposal.proposed) or self._wrong([proposal])
        if why:
            self._waiting.append((proposal, why))
        else:
            self._take([proposal])

    def refused(self) -> list[str]:
        """Return what is not proposed, and why."""
        safe = [proposal for proposal, _ in self._waiting if not _unsafe(proposal.proposed)]
        together = [replace(proposal, differs=True) for proposal in safe]
        if together and not self._wrong(together):
            self._take(together)
            self._waiting = [(proposal, why) for proposal, why in self._waiting if proposal not in safe]
        lines = (
            f"{key_of(proposal.where)}: not proposed: {why} ({proposal.source})" for proposal, why in self._waiting
        )
        return [one_line(line) for line in lines]

    def _wrong(self, proposals: list[Proposal]) -> str:
        fills = [proposal for proposal in proposals if not proposal.differs]
        return _invalid(_with(self._whole, proposals)) or _invalid(_with(self._data, fills))

    def _take(self, proposals: list[Proposal]) -> None:
        self.taken += proposals
        self._whole = _with(self._whole, proposals)
        self._data = _with(self._data, [proposal for proposal in proposals if not proposal.differs])


def _with(data: Any, proposals: Sequence[Proposal]) -> Any:
    for proposal in proposals:
        data = with_value(data, proposal.where, proposal.proposed)
    return data


def _compare(stands: Any, says: Any, live: LiveValue) -> Iterator[Proposal]:
    """Yield what the file lacks of what was seen, or says otherwise.

    Parameters
    ----------
    stands
        The file as it stands, its placeholders as themselves.
    says
        The same as the model reads it, defaults included.
    """
    now, written = _at(says, live.where), _at(stands, live.where)
    if isinstance(live.value, FillIn):
        return
    if written is NOTHING and now != live.value:
        yield from _absent(stands, live)
    elif isinstance(live.value, dict) and isinstance(now, dict):
        for key, value in live.value.items():
            yield from _compare(stands, says, replace(live, where=(*live.where, key), value=value))
    elif isinstance(live.value, list) and isinstance(now, list):
        yield from _in_list(now, live)
    elif now != live.value:
        is_open = isinstance(now, str) and now.startswith(FILL_IN)
        yield Proposal(live.where, now, live.value, live.source, differs=not is_open)


def _absent(stands: Any, live: LiveValue) -> Iterator[Proposal]:
    """Yield what stands nowhere in the file. A list that a person has written says what belongs there: more differs."""
    where, value = live.where, live.value
    while _at(stands, where[:-1]) is NOTHING:
        where, value = where[:-1], {where[-1]: value}
    around = _at(stands, where[:-1])
    if isinstance(around, dict | list):
        yield Proposal(where, None, value, live.source, differs=isinstance(around, list) and bool(around))


def _in_list(now: list[Any], live: LiveValue) -> Iterator[Proposal]:
    still_open = [index for index, value in enumerate(now) if str(value).startswith(FILL_IN)]
    end = len(now)
    for value in (value for value in live.value if value not in now):
        if still_open:
            index = still_open.pop(0)
            yield Proposal((*live.where, index), now[index], value, live.source, differs=False)
        else:
            yield Proposal((*live.where, end), None, value, live.source, differs=bool(now))
            end += 1


def _at(data: Any, where: Where) -> Any:
    for step in where:
        is_there = step < len(data) if isinstance(data, list) and isinstance(step, int) else False
        if not is_there and not (isinstance(data, dict) and step in data):
            return NOTHING
        data = data[step]
    return data


def _unsafe(value: Any) -> str:
    """Return why a value from a cluster cannot stand in a file; empty if it can."""
    if isinstance(value, dict):
        return next(filter(None, map(_unsafe, (*value, *value.values()))), "")
    if isinstance(value, list):
        return next(filter(None, map(_unsafe, value)), "")
    if not isinstance(value, str) or isinstance(value, FillIn):
        return ""
    if one_line(value) != value or len(value) > LONGEST:
        return "it holds characters that are not shown, or is too long"
    return "it would be read as a mark of this file" if PLACEHOLDER.search(value) or value.startswith(FILL_IN) else ""


def _invalid(data: Any) -> str:
    try:
        Environment.model_validate(data)
    except ValidationError as error:
        return str(error.errors(include_url=False, include_input=False)[0]["msg"])
    return ""
