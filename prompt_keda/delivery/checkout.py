"""Reads a checkout of Phalanx by git, and never writes into it.

What is committed there is taken out of git's own store, file by file: neither the work tree nor a filter, a hook or an
attribute has a say in what is rendered. What is committed was written by others: symbolic links are left out, and sizes,
counts and paths are bounded.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prompt_keda.core.bounded_program import Ended, run_bounded
from prompt_keda.core.errors import BadAnswer, ClientError, Missing, Refusal

TIMEOUT = timedelta(seconds=60)
MOST_BYTES = 256 * 2**20
"""Of all files of one commit. Phalanx as a whole has 7 MB in some 3000 files."""
MOST_FILES = 50_000
SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never")
"""Nothing that the checkout's configuration names is run for a look, and nothing is fetched."""
FILE_MODES = ("100644", "100755")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Checkout:
    """A clone with a work tree. `open_checkout` makes it."""

    folder: Path
    git: str

    def head(self) -> str:
        """Return the commit that is checked out. Raises `Refusal` when there is none."""
        commit = self._commit("HEAD")
        if not commit:
            raise Refusal(f"{self.folder} has no commit checked out", "Clone Phalanx, and name the clone.")
        return commit

    def changes(self) -> list[str]:
        """Return each path whose file is not what is committed, or is not committed; what git ignores does not count."""
        listing = self._run("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames").stdout
        return [entry[3:].decode(errors="replace") for entry in listing.split(b"\0") if entry]

    def commit_of(self, revision: str) -> str:
        """Return the commit of a branch, tag or commit as this clone names it; empty if it knows none of that name."""
        return self._commit(revision) if REVISION.fullmatch(revision) else ""

    def target_commit(self, revision: str) -> str:
        """Return the commit of an Application's targetRevision as of the last fetch; empty if this clone does not know it.

        Argo CD asks the repository itself: the branch of ``origin`` counts before a local one of the same name.
        """
        if not REVISION.fullmatch(revision):
            return ""
        names = [f"refs/remotes/origin/{revision}", f"refs/tags/{revision}", f"refs/heads/{revision}"]
        if COMMIT.fullmatch(revision):
            names.append(revision)
        return next(filter(None, map(self._commit, names)), "")

    def committed_at(self, commit: str) -> datetime:
        """Return when a commit was made, in UTC, as its committer said."""
        text = self._run("show", "--no-patch", "--format=%ct", commit).stdout.decode(errors="replace").strip()
        try:
            return datetime.fromtimestamp(int(text), UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise BadAnswer("git", str(self.folder), f"the date of {commit[:12]} makes no sense") from error

    def fetched_at(self) -> datetime | None:
        """Return when this clone last asked for what is new, in UTC; None if never since it was cloned."""
        place = self._run("rev-parse", "--git-path", "FETCH_HEAD").stdout.decode(errors="replace").rstrip("\n")
        try:
            return datetime.fromtimestamp((self.folder / place).stat().st_mtime, UTC)
        except OSError:
            return None

    def export(self, commit: str, folder: Path) -> tuple[str, ...]:
        """Write all regular files of a commit below a folder. Return the paths that are links or submodules, and not written.

        Raises
        ------
        BadAnswer
            When there are too many files, or too large ones, or a path leads out of the folder; or a file is not in the clone.
        ClientError
            When they cannot be written: no room.
        """
        listed = list(self._listed(commit))
        files = [entry for entry in listed if entry.mode in FILE_MODES]
        if len(files) > MOST_FILES or sum(entry.size_bytes for entry in files) > MOST_BYTES:
            raise BadAnswer("git", str(self.folder), f"{commit[:12]} is larger than any Phalanx")
        wanted = "".join(f"{entry.blob}\n" for entry in files).encode()
        given = memoryview(self._run("cat-file", "--batch", stdin=wanted).stdout)
        place = 0
        for entry in files:
            head = f"{entry.blob} blob {entry.size_bytes}\n".encode()
            if given[place : place + len(head)] != head:
                raise BadAnswer(
                    "git",
                    str(self.folder),
                    f"{entry.path} of {commit[:12]} is not in this clone",
                    "Clone it whole: a partial clone lacks files.",
                )
            place += len(head)
            _write(folder / entry.path, given[place : place + entry.size_bytes])
            place += entry.size_bytes + 1
        return tuple(entry.path for entry in listed if entry.mode not in FILE_MODES)

    def _listed(self, commit: str) -> Iterator[_Entry]:
        listing = self._run("ls-tree", "-r", "-z", "-l", "--full-tree", commit).stdout
        for line in filter(None, listing.split(b"\0")):
            about, _, path = line.partition(b"\t")
            mode, _, blob, size = about.decode().split()
            entry = _Entry(mode, blob, int(size) if size.isdigit() else 0, path.decode(errors="surrogateescape"))
            parts = entry.path.split("/")
            if any(part.lower() in ("", ".", "..", ".git") for part in parts):
                raise BadAnswer("git", str(self.folder), f"{commit[:12]} has a path that leads out of it")
            yield entry

    def _commit(self, name: str) -> str:
        ended = self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", may_fail=True)
        commit = ended.stdout.decode(errors="replace").strip()
        return commit if ended.exit_code == 0 and COMMIT.fullmatch(commit) else ""

    def _run(self, *arguments: str, stdin: bytes = b"", may_fail: bool = False) -> Ended:
        return _git(self.git, self.folder, arguments, stdin, may_fail)


def _write(target: Path, data: memoryview) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    except OSError as error:
        what = f"a file of the commit cannot be written there: {error.strerror}"
        raise ClientError(
            "scratch folder", str(target.parents[-2]), what, "Make room, or point TMPDIR elsewhere."
        ) from error


@dataclass(frozen=True)
class _Entry:
    mode: str
    blob: str
    size_bytes: int
    path: str


def open_checkout(folder: Path) -> Checkout:
    """Return the checkout that a folder is the top of.

    Raises
    ------
    Missing
        When there is no git on this machine.
    Refusal
        When the folder is no top of a checkout.
    BadAnswer
        When git does not read it, with its own words: it may be somebody else's (safe.directory).
    """
    git = shutil.which("git")
    if git is None:
        raise Missing("git", "PATH", "it is not on this machine", "Install git.")
    if not folder.is_dir():
        raise Refusal(f"{folder} is not a folder", "Name a clone of Phalanx: --phalanx CHECKOUT")
    resolved = folder.resolve()
    if not (resolved / ".git").exists():
        raise Refusal(f"{folder} is not a git checkout", "Name the top of a clone of Phalanx: --phalanx CHECKOUT")
    top = _git(git, resolved, ("rev-parse", "--show-toplevel")).stdout.decode(errors="replace").rstrip("\n")
    if Path(top) != resolved:
        raise Refusal(f"{folder} is not the top of a checkout: that is {top}", "Name the top.")
    return Checkout(resolved, git)


def _git(git: str, folder: Path, arguments: tuple[str, ...], stdin: bytes = b"", may_fail: bool = False) -> Ended:
    """Run git. The person's own configuration holds, variables that would point it elsewhere do not."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    argv = [git, *SAFE, *arguments]
    ended = run_bounded(argv, folder, environment, TIMEOUT, MOST_BYTES + MOST_FILES * 100, stdin)
    if ended.exit_code and not may_fail:
        raise BadAnswer("git", str(folder), f"git {arguments[0]}: {ended.last_line}")
    return ended
