"""The drills that this machine keeps: a folder for each command, in it what was chosen and a file for each drill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.core.errors import Refusal
from prompt_keda.records.drill_record import DrillRecord
from prompt_keda.records.record import Record

CHOSEN = "chosen.txt"
"""The ids of the faults that a command was to drill, one a line, in their order."""
STACK = "stack.txt"
"""The name of the stack that they are of."""


@dataclass(frozen=True)
class Drills:
    """The drills of one command: where they are kept, which faults were chosen, and what was drilled of them."""

    record: Record
    chosen: Sequence[str]
    done: Sequence[DrillRecord] = ()

    @property
    def left(self) -> Sequence[str]:
        """The ids of the faults that were not drilled."""
        done = {record.fault for record in self.done}
        return [id_ for id_ in self.chosen if id_ not in done]


def begin_drills(drills: Path, environment: str, stack: str, chosen: Sequence[str]) -> Drills:
    """Make the record of a command's drills. Raises as `Record.create` and `Record.write_text` do.

    Parameters
    ----------
    stack
        The name of the stack: several of one user are all of environment ``local``.
    """
    record = Record.create(drills, environment)
    record.write_text(STACK, stack)
    record.write_text(CHOSEN, "".join(f"{id_}\n" for id_ in chosen))
    return Drills(record, chosen)


def stopped_drills(drills: Path, environment: str, stack: str) -> Drills:
    """Return the newest drills of an environment and a stack of which some are left.

    Raises
    ------
    Refusal
        When there are none, or one of their files cannot be read.
    """
    for record in Record.listed(drills, environment)[0]:
        is_kept = all((record.path / name).is_file() for name in (CHOSEN, STACK))
        if is_kept and _words_in(record.path / STACK) == [stack]:
            chosen = _words_in(record.path / CHOSEN)
            if len(record.files) < len(chosen):
                done, damaged = _drills_of(record)
                if damaged:
                    raise Refusal(damaged[0], "Begin again: drill --all")
                return Drills(record, chosen, done)
    raise Refusal(f"no drills in {drills} were stopped", "Begin: drill --all")


def _words_in(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}", "Remove its folder.") from error
    except ValueError as error:
        raise Refusal(f"{file} is damaged", "Remove its folder.") from error


def drills_kept(drills: Path, environment: str) -> tuple[list[DrillRecord], list[str]]:
    """Return all drills in a folder of drills, newest first; and in words each file that is damaged or is no drill's.

    Parameters
    ----------
    environment
        Of this one alone; empty: of all.
    """
    records, damaged = Record.listed(drills, environment)
    kept: list[DrillRecord] = []
    for record in records:
        done, unreadable = _drills_of(record)
        kept += done
        damaged += unreadable
    return sorted(kept, key=lambda drill: drill.began_at, reverse=True), damaged


def _drills_of(record: Record) -> tuple[list[DrillRecord], list[str]]:
    done, damaged = [], []
    for file in record.files:
        try:
            done.append(DrillRecord.model_validate_json(file.read_bytes()))
        except OSError as error:
            damaged.append(f"{file} cannot be read: {error.strerror}")
        except ValueError:
            damaged.append(f"{file}: what it holds is no drill's")
    return done, damaged
