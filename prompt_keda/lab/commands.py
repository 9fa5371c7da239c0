"""Running the programs that the stack is made with, with one clear error when they fail."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from prompt_keda.errors import LabError


def run(
    argv: Sequence[str],
    *,
    fix: str = "",
    timeout_s: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> str:
    """Run a program to its end and give its standard output.

    Raises
    ------
    LabError
        When it is not installed, fails or takes longer than ``timeout_s`` seconds; with the last line that it said.
    """
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, check=False, env=env, cwd=cwd, input=stdin
        )
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed", fix) from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{argv[0]} did not end within {timeout_s:.0f} s", fix) from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise LabError(f"{' '.join(argv[:4])} failed with exit code {done.returncode}: {said}", fix)
    return done.stdout
