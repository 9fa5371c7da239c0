"""Where the toolkit's own files are, and where it keeps what it records on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from prompt_keda.core.errors import Refusal

CODE = Path(__file__).parents[2]
"""The folder from which ``prompt_keda`` is imported: the clone's, or site-packages."""
_IN_WHEEL = CODE / "prompt_keda" / "shipped"
ROOT = _IN_WHEEL if _IN_WHEEL.is_dir() else CODE
"""The folder that holds what is shipped beside the package. A wheel has it inside the package: see setup.py."""
TASKS = ROOT / "tasks.py"
ENVIRONMENTS = ROOT / "environments"
RUNBOOKS = ROOT / "runbooks"


def state_home() -> Path:
    """Return the user's state folder (XDG_STATE_HOME, else ``~/.local/state``).

    Raises
    ------
    Refusal
        When it is somebody else's: nothing in it can be seen.
    """
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    try:
        (home / "prompt-keda" / "runs").exists()
    except OSError as error:
        what = f"{home / 'prompt-keda'} cannot be read: {error.strerror}"
        raise Refusal(what, "Point XDG_STATE_HOME to a folder of your own.") from error
    return home


def runs_folder() -> Path:
    """Return the folder that holds all runs."""
    return state_home() / "prompt-keda" / "runs"


def incidents_folder() -> Path:
    """Return the folder that holds all incidents."""
    return state_home() / "prompt-keda" / "incidents"


def drills_folder() -> Path:
    """Return the folder that holds what drills have shown."""
    return state_home() / "prompt-keda" / "drills"
