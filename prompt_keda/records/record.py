"""What this machine keeps of a run, of an incident, and of the drills of one command: a record each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from prompt_keda.core.errors import PromptKedaError, Refusal
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.whole_file import write_whole
from prompt_keda.records.kept_json import read_kept
from prompt_keda.records.run_record import STAMP, environment_of

REFUSED = "refused.json"
JOURNAL = "journal.jsonl"
ENTRY_KEYS = ("at", "step", "event", "detail")


class Record:
    """A private folder, whose name is its id: when it was begun, for which environment, and by which process.

    A file in it is written whole or not at all.

    Parameters
    ----------
    path
        The folder. Make it with `create`, find it with `listed`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = JournalFile(self)

    @classmethod
    def create(cls, records: Path, environment: str) -> Self:
        """Make a new record's folder with mode 0700.

        Raises
        ------
        Refusal
            When it cannot be made: nothing is begun without a record.
        """
        return cls(private_folder(records / f"{datetime.now(UTC):{STAMP}}-{environment}-{os.getpid()}"))

    @classmethod
    def listed(cls, records: Path, environment: str) -> tuple[list[Self], list[str]]:
        """Return all records of a folder, newest first; and in words each folder whose name is no id.

        Parameters
        ----------
        environment
            Of this one alone; empty: of all.
        """
        paths = sorted(records.glob("*"), key=lambda path: path.name, reverse=True)
        names = {path: environment_of(path.name) for path in paths}
        strange = [f"{path}: its name is not a record's id" for path, name in names.items() if name is None]
        return [cls(path) for path, name in names.items() if name and environment in ("", name)], strange

    @property
    def id(self) -> str:
        """Its id: time, environment and process."""
        return self.path.name

    @property
    def environment(self) -> str:
        """The environment's name, as the id says it."""
        return self.id.split("-", 1)[1].rpartition("-")[0]

    @property
    def files(self) -> list[Path]:
        """The files of JSON that it keeps, in their order."""
        return sorted(self.path.glob("*.json"))

    def keep(self, name: str, document: Any) -> str:
        """Keep a document under the next number and a name, and return the file's name. Raises as `write_text` does."""
        file = f"{len(self.files) + 1:03}-{name.replace('/', '-')}.json"
        self.write_json(file, document)
        return file

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON as `write_text` does."""
        self.write_text(name, json.dumps(value, indent=1, default=str))

    def write_text(self, name: str, text: str) -> None:
        """Write a file with mode 0600, whole or not at all. A symbolic link in its place is replaced, not followed."""
        try:
            write_whole(self.path / name, text)
        except OSError as error:
            raise PromptKedaError(f"{self.path / name} cannot be written: {error.strerror}", "Make room.") from error

    def read_json(self, name: str) -> Any:
        """Read a file. Raises `Refusal` when it is missing or damaged."""
        try:
            return read_kept((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise Refusal(f"{self.path / name} cannot be read: {error}") from error


class RunFolder(Record):
    """A run's record: plan, journal, snapshot, report. Without its plan there is no run."""

    @classmethod
    def adopt(
        cls, runs: Path, run_id: str, plan: Any, snapshot: Any, entries: Sequence[Mapping[str, str]]
    ) -> RunFolder:
        """Make the folder of a run that was begun on another machine.

        Parameters
        ----------
        run_id
            The id; it has to be one that `run_record.environment_of` knows, because it names the folder.

        Raises
        ------
        Refusal
            When it cannot be made.
        """
        if environment_of(run_id) is None:
            raise Refusal(f"{run_id!r} is not a run's id")
        run = cls(private_folder(runs / run_id))
        run.journal.replace(entries)
        run.write_json("snapshot.json", snapshot)
        run.write_json("plan.json", plan)  # the last one: without it there is no run
        return run

    @classmethod
    def find(cls, runs: Path, run_id: str) -> RunFolder | None:
        """Return a run's folder, or None when there is no such run."""
        path = runs / run_id
        return cls(path) if environment_of(run_id) and (path / "plan.json").is_file() else None

    @classmethod
    def open_(cls, runs: Path, run_id: str) -> RunFolder:
        """Return a run's folder. Raises `Refusal` when there is no such run."""
        run = cls.find(runs, run_id)
        if run is None:
            raise Refusal(f"there is no run {run_id} in {runs}")
        return run

    def mark_refused(self, what: str) -> None:
        """Record that this run wrote nothing to the cluster, so that it does not hide an earlier one from `resume`."""
        self.write_json(REFUSED, {"what": what})

    @property
    def is_finished(self) -> bool:
        """Whether it has ended green."""
        return (self.path / "report.json").exists()

    @property
    def was_refused(self) -> bool:
        """Whether it wrote nothing to the cluster."""
        return (self.path / REFUSED).exists()


class JournalFile:
    """The journal of a record: one JSON line an entry, each on the disk before the next thing is done."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._path = record.path / JOURNAL

    def append(self, step_id: str, event: str, detail: str = "") -> None:
        """Write one entry, and return when it is on the disk.

        Raises
        ------
        PromptKedaError
            When it cannot be written, for example on a full disk: then nothing more may be done.
        """
        entry = {"at": datetime.now(UTC).isoformat(), "step": step_id, "event": event, "detail": detail}
        line = json.dumps(entry) + "\n"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            with os.fdopen(os.open(self._path, flags, 0o600), "wb") as file:
                if self._is_torn():
                    file.write(b"\n")
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise PromptKedaError(
                f"the journal {self._path} cannot be written: {error.strerror}", "Make room, then resume."
            ) from error

    def _is_torn(self) -> bool:
        """Return whether a crash has left the last line without its end."""
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def replace(self, entries: Sequence[Mapping[str, str]]) -> None:
        """Write the whole journal again, whole or not at all: when another machine has gone on with the run."""
        self._record.write_text(JOURNAL, "".join(json.dumps(entry) + "\n" for entry in entries))

    def entries(self) -> list[dict[str, str]]:
        """Return all entries; a line that a crash tore is left out."""
        try:
            lines = self._path.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Refusal(f"{self._path} cannot be read: {error.strerror}") from error
        return [entry for entry in map(_entry, lines) if entry is not None]


def _entry(line: str) -> dict[str, str] | None:
    try:
        entry = read_kept(line)
    except ValueError:
        return None
    whole = isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ENTRY_KEYS)
    return {key: entry[key] for key in ENTRY_KEYS} if whole else None
