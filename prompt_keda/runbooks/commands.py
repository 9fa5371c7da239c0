"""A command of this toolkit, run as people run it: a process of its own, whose document is kept and whose news are shown."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.exit_code import STOPPED
from prompt_keda.core.places import TASKS


@dataclass(frozen=True)
class Ran:
    """What a command gave.

    Parameters
    ----------
    exit_code
        As docs/output.md says: 0 as it should be, 1 broken, 2 refused, 3 not known, 130 stopped.
    document
        Its JSON document; empty when it gave none.
    duration_s
        In seconds.
    """

    exit_code: int
    document: dict[str, Any]
    duration_s: float

    @property
    def message(self) -> str:
        """What it found, in a line."""
        error = self.document.get("error")
        if error:
            return " ".join(filter(None, (str(error.get("what", "")), str(error.get("fix", "")))))
        results = self.document.get("results") or []
        if results:
            bad = [
                f"{result['verdict'].upper()} {result['id']}: {result['observed']}"
                for result in results
                if _is_bad(result)
            ]
            green = sum(result["verdict"] == "ok" for result in results)
            return "; ".join([f"{green} of {len(results)} checks are green", *bad[:3]])
        timings = self.document.get("timings") or {}
        if "recovery" in timings:
            return f"mode {self.document.get('mode')}, recovery time {timings['recovery']:.1f} s"
        if self.exit_code == 0 and (plan := self.document.get("plan")):
            return f"mode {plan['mode']}, digest {plan['digest']}: nothing was changed yet"
        if self.exit_code == 0 and (smoke := self.document.get("smoke")):
            return f"scaling works: {smoke['events_count']} events made {len(smoke['job_uids'])} Jobs"
        return {0: "done", STOPPED: "stopped"}.get(self.exit_code, f"exit code {self.exit_code}")


def go_on(exit_code: int) -> int:
    """Return the exit code of something that was run. Raises `KeyboardInterrupt` when a person has stopped it."""
    if exit_code == STOPPED:
        raise KeyboardInterrupt
    return exit_code


def _is_bad(result: dict[str, Any]) -> bool:
    return result["verdict"] in ("fail", "unknown", "warn")


RunCommand = Callable[[Sequence[str]], Ran]
"""Runs a command to its end, as `run_command` does."""


def run_command(words: Sequence[str]) -> Ran:
    """Run a task with ``--json``, and wait for its end; what it reports meanwhile goes to our standard error.

    It may ask on the terminal. On Ctrl-C it gets the signal as well, on SIGTERM it is ended: its end is waited for, and
    whatever it gave, it was stopped.

    Raises
    ------
    PromptKedaError
        When it cannot be started.
    """
    began = time.monotonic()
    argv = [sys.executable, str(TASKS), *words, "--json"]
    with TemporaryFile() as answer:  # a pipe would fill while we wait after a Ctrl-C
        try:
            process = subprocess.Popen(argv, stdout=answer)
        except OSError as error:
            raise PromptKedaError(f"{words[0]} cannot be started: {error.strerror}") from error
        is_stopped = False
        try:
            process.wait()
        except KeyboardInterrupt as stopped:
            is_stopped = True
            if stopped.args:  # a Ctrl-C has reached it as well; another signal was for us alone
                process.terminate()
            process.wait()
        answer.seek(0)
        output = answer.read()
    try:
        document = json.loads(output)
    except ValueError:
        document = {}
    code = STOPPED if is_stopped or process.returncode < 0 else process.returncode
    return Ran(code, document if isinstance(document, dict) else {}, time.monotonic() - began)
