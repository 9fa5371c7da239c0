"""Folders that belong to this user alone: what is kept below ``prompt-keda`` names clusters and may hold keys."""

from __future__ import annotations

import os
from pathlib import Path

from prompt_keda.core.errors import Refusal

TOP = "prompt-keda"
MODE = 0o700


def private_folder(path: Path) -> Path:
    """Make a folder that nobody else may enter, whatever the umask, and return it. Idempotent: yes.

    What is missing on the way to it is made with mode 0700, as the XDG base directory specification asks. The folders
    from the last ``prompt-keda`` down are made private as well when they are there and are wider.

    Raises
    ------
    Refusal
        When one of them cannot be made or made private: nothing is kept where others could read it.
    """
    way = [*reversed(path.parents), path]
    ours = max((place for place, folder in enumerate(way) if folder.name == TOP), default=len(way) - 1)
    for place, folder in enumerate(way):
        try:
            if place >= ours or not folder.exists():
                # not parents=True: it leaves the mode of the parents to the umask
                folder.mkdir(mode=MODE, exist_ok=True)
                if folder.stat().st_mode & 0o777 != MODE:
                    folder.chmod(MODE)
        except OSError as error:
            raise Refusal(
                f"{folder} cannot be made a folder of this user alone: {error.strerror}",
                "Make room, or point XDG_STATE_HOME and XDG_CACHE_HOME to folders of your own.",
            ) from error
    return path


def appear(made: Path, place: Path) -> None:
    """Let a folder that is whole appear at its place. Where another was faster, its folder stays, and this one is left."""
    try:
        made.rename(place)
    except OSError:
        if not place.exists():
            raise


def lead(link: Path, target: Path) -> None:
    """Let a link lead to a target, wherever it led before: at no moment is it missing."""
    made = link.with_name(f"{link.name}.{os.getpid()}")
    made.unlink(missing_ok=True)
    made.symlink_to(target)
    made.replace(link)
