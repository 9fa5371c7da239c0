"""The folder of one run: plan, journal, snapshot, report. Private, and written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prompt_keda.errors import PromptKedaError, Refusal
from prompt_keda.files.private_folder import private_folder

REFUSED = "refused.json"


class RunFolder:
    """One run's folder below ``runs/`` of the state folder; its name is the run's id.

    Parameters
    ----------
    path
        The folder. Make it with `create`, `open_` or `latest_unfinished`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        """The run's id: time, environment and process."""
        return self.path.name

    @property
    def environment(self) -> str:
        """The environment's name, as the id says it."""
        return self.run_id.split("-", 1)[1].rpartition("-")[0]

    @classmethod
    def create(cls, runs: Path, environment: str) -> RunFolder:
        """Make a new run's folder with mode 0700.

        Raises
        ------
        Refusal
            When it cannot be made: nothing is begun without a journal.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ").lower()
        path = runs / f"{stamp}-{environment}-{os.getpid()}"
        return cls(private_folder(path))

    @classmethod
    def open_(cls, runs: Path, run_id: str) -> RunFolder:
        """Open a run's folder. Raises `Refusal` when there is no such run."""
        path = runs / run_id
        if "/" in run_id or not (path / "plan.json").is_file():
            raise Refusal(f"there is no run {run_id} in {runs}")
        return cls(path)

    @classmethod
    def latest_unfinished(
        cls, runs: Path, environment: str, fits: Callable[[Any], bool] = lambda plan: True
    ) -> RunFolder | None:
        """Give the newest run of an environment if it has no report, or None. One that was refused does not count.

        Parameters
        ----------
        fits
            Tells from its plan whether a run is about the same cluster: another one may have had the same name.
        """
        for path in sorted(runs.glob(f"*-{environment}-*"), reverse=True):
            run = cls(path)
            if run.environment != environment or not (path / "plan.json").is_file() or (path / REFUSED).exists():
                continue
            if fits(run.read_json("plan.json")):
                return None if (path / "report.json").exists() else run
        return None

    def mark_refused(self, what: str) -> None:
        """Say that this run wrote nothing to the cluster, so that it does not hide an earlier one from `resume`."""
        self.write_json(REFUSED, {"what": what})

    def write_json(self, name: str, value: Any) -> None:
        """Write a file with mode 0600, whole or not at all. A symbolic link in its place is replaced, not followed."""
        scratch = self.path / f".{name}.new"
        try:
            scratch.unlink(missing_ok=True)
            descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(value, file, indent=1, default=str)
                file.flush()
                os.fsync(file.fileno())
            scratch.rename(self.path / name)
        except OSError as error:
            raise PromptKedaError(f"{self.path / name} cannot be written: {error.strerror}", "Make room.") from error

    def read_json(self, name: str) -> Any:
        """Read a file. Raises `Refusal` when it is absent or damaged."""
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise Refusal(f"{self.path / name} cannot be read: {error}") from error


class JournalFile:
    """The journal of a run: one JSON line an entry, each on the disk before the next thing is done.

    Parameters
    ----------
    folder
        The run's folder.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / "journal.jsonl"

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
        """Tell whether a crash has left the last line without its end."""
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"

    def entries(self) -> list[dict[str, str]]:
        """Give all entries; a line that a crash tore is left out."""
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found
