"""The drills that this machine keeps: a folder for each command, in it what was chosen and a file for each drill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.core.errors import Refusal
from prompt_keda.records.drill_record import DrillRecord
from prompt_keda.records.run_folder import RunFolder
from prompt_keda.records.run_record import environment_of

CHOSEN = "chosen.txt"
"""The ids of the faults that a command was to drill, one a line, in their order."""
STACK = "stack.txt"
"""The name of the stack that they are of."""


@dataclass(frozen=True)
class Drills:
    """The drills of one command: where they are kept, which faults were chosen, and what was drilled of them."""

    folder: RunFolder
    chosen: Sequence[str]
    done: Sequence[DrillRecord] = ()

    @property
    def left(self) -> Sequence[str]:
        """The ids of the faults that were not drilled."""
        done = {record.fault for record in self.done}
        return [id_ for id_ in self.chosen if id_ not in done]


def begin_drills(drills: Path, environment: str, stack: str, chosen: Sequence[str]) -> Drills:
    """Make the folder of a command's drills. Raises as `RunFolder.create` and `RunFolder.write_text` do.

    Parameters
    ----------
    stack
        The name of the stack: several of one user are all of environment ``local``.
    """
    folder = RunFolder.create(drills, environment)
    folder.write_text(STACK, stack)
    folder.write_text(CHOSEN, "".join(f"{id_}\n" for id_ in chosen))
    return Drills(folder, chosen)


def stopped_drills(drills: Path, environment: str, stack: str) -> Drills:
    """Give the newest drills of an environment and a stack of which some are left.

    Raises
    ------
    Refusal
        When there are none, or one of their files cannot be read.
    """
    for path in sorted(drills.glob("*"), reverse=True):
        is_kept = all((path / name).is_file() for name in (CHOSEN, STACK))
        if environment_of(path.name) == environment and is_kept and _words_in(path / STACK) == [stack]:
            chosen = _words_in(path / CHOSEN)
            if len(list(path.glob("*.json"))) < len(chosen):
                return Drills(RunFolder(path), chosen, _drills_in(path))
    raise Refusal(f"no drills in {drills} were stopped", "Begin: drill --all")


def _words_in(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError as error:
        raise Refusal(f"{file} cannot be read: {error.strerror}", "Remove its folder.") from error
    except ValueError as error:
        raise Refusal(f"{file} is damaged", "Remove its folder.") from error


def _drills_in(path: Path) -> list[DrillRecord]:
    done: list[DrillRecord] = []
    damaged: list[str] = []
    for file in sorted(path.glob("*.json")):
        _read(file, done, damaged)
    if damaged:
        raise Refusal(damaged[0], "Begin anew: drill --all")
    return done


def keep_drill(folder: RunFolder, record: DrillRecord) -> None:
    """Keep a drill under the next number of its command. Raises as `RunFolder.write_json` does."""
    number = len(list(folder.path.glob("*.json"))) + 1
    folder.write_json(f"{number:03}-{record.fault.replace('/', '-')}.json", record.to_json())


def drills_kept(drills: Path, environment: str) -> tuple[list[DrillRecord], list[str]]:
    """Give all drills in a folder of drills, newest first; and in words each record that is damaged or is no drill's.

    Parameters
    ----------
    environment
        Of this one alone; empty: of all.
    """
    found: list[DrillRecord] = []
    damaged: list[str] = []
    for folder in sorted(drills.glob("*")):
        name = environment_of(folder.name)
        if name is None:
            damaged.append(f"{folder}: its name is no id of a drill")
        elif environment in ("", name):
            for file in sorted(folder.glob("*.json")):
                _read(file, found, damaged)
    return sorted(found, key=lambda record: record.began_at, reverse=True), damaged


def _read(file: Path, found: list[DrillRecord], damaged: list[str]) -> None:
    try:
        found.append(DrillRecord.model_validate_json(file.read_bytes()))
    except OSError as error:
        damaged.append(f"{file} cannot be read: {error.strerror}")
    except ValueError:
        damaged.append(f"{file}: what it holds is no drill's")
