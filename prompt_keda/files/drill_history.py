"""The drills that this machine keeps: a folder for each command, in it a file for each drill."""

from __future__ import annotations

from pathlib import Path

from prompt_keda.files.run_folder import RunFolder
from prompt_keda.model.drill_record import DrillRecord
from prompt_keda.model.run_record import environment_of


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
    return sorted(found, key=lambda one: one.began_at, reverse=True), damaged


def _read(file: Path, found: list[DrillRecord], damaged: list[str]) -> None:
    try:
        found.append(DrillRecord.model_validate_json(file.read_bytes()))
    except OSError as error:
        damaged.append(f"{file} cannot be read: {error.strerror}")
    except ValueError:
        damaged.append(f"{file}: what it holds is no drill's")
