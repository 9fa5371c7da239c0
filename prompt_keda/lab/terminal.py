"""A terminal of 80 columns in which a command runs and is looked at, by tmux: what a person would see, line by line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from prompt_keda.core.errors import LabError
from prompt_keda.core.places import CODE
from prompt_keda.core.waiting import until
from prompt_keda.lab.commands import run

COLUMNS, LINES = 80, 50
HOST = "lab"
"""What this machine is called in the terminal: its own name is of no use to others."""
AS_HOST = ["unshare", "--uts", "sh", "-c", f'hostname {HOST}; exec "$@"', "sh"]
"""The start of a command line that runs another under that name."""
IN_PANE = """printf "%s\\n" "$SHOWN"
"$@"
echo $? >"$EXIT_CODE.new"
mv "$EXIT_CODE.new" "$EXIT_CODE"
exec cat"""
"""The last word keeps the terminal open until it was looked at."""


class Terminal:
    """A command that runs in a terminal of its own.

    Parameters
    ----------
    socket
        Of the tmux server that has this terminal alone.
    """

    def __init__(self, socket: Path, exit_code_file: Path) -> None:
        self._socket, self._exit_code_file = socket, exit_code_file

    def screen(self, colours: bool = False) -> str:
        """Return all that stands there now, also what has left the screen, without the lines that are empty at its end."""
        ansi = ["-e"] if colours else []
        text = run([*_tmux(self._socket), "capture-pane", "-p", *ansi, "-S", "-"])
        return text.rstrip() + "\n"

    def await_end(self, timeout_s: float) -> int:
        """Return the command's exit code. Raises `DeadlinePassed` when it does not end in time."""
        until(self._exit_code_file.exists, "the end of a command in a terminal", timeout_s)
        return int(self._exit_code_file.read_text())


@contextmanager
def terminal(argv: Sequence[str], shown: str, variables: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command in a terminal, and close it at the block's end.

    Parameters
    ----------
    shown
        What a person would have typed: the first line on the terminal.

    Raises
    ------
    LabError
        When there is no tmux, or it fails.
    """
    if os.geteuid():
        raise LabError("captures need root, as the local stack does")
    with TemporaryDirectory(prefix="prompt-keda-terminal-") as folder:
        socket, exit_code_file = Path(folder) / "tmux", Path(folder) / "exit-code"
        own = {"SHOWN": f"$ {shown}", "EXIT_CODE": str(exit_code_file), "LC_ALL": "C.UTF-8"}
        inside = [*AS_HOST, "sh", "-c", IN_PANE, "sh", *argv]
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        env = {**os.environ, **own, **variables, "TERM": "xterm-256color"}
        for name in ("CI", "COLUMNS", "NO_COLOR"):
            if name not in variables:
                env.pop(name, None)
        run([*_tmux(socket), "new-session", "-d", *size, "-c", str(CODE), shlex.join(inside)], env=env)
        try:
            yield Terminal(socket, exit_code_file)
        finally:
            with suppress(LabError):  # it has ended by itself
                run([*_tmux(socket), "kill-server"])


def _tmux(socket: Path) -> list[str]:
    """Return the start of a command line that reads no configuration of the person's own."""
    return ["tmux", "-u", "-f", "/dev/null", "-S", str(socket)]
