"""Runs a redeploy that kills itself, by SIGKILL, at the first boundary of its journal at which no run was killed before.

    killed_at.py ENVIRONMENT MODE FILE

FILE holds the boundaries at which runs were killed. It begins a redeploy, or resumes the interrupted one; exit code 0
when it came to its end.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from prompt_keda.commands import redeploy as redeploying
from prompt_keda.commands.session import open_session
from prompt_keda.core.errors import PromptKedaError
from prompt_keda.core.event import nobody
from prompt_keda.records.record import JournalFile
from prompt_keda.redeploy.modes import RedeployOptions


def main(name, mode, file):
    path = Path(file)
    before = path.read_text().splitlines() if path.exists() else []
    append = JournalFile.append

    def append_and_die(self, step_id, event, detail=""):
        append(self, step_id, event, detail)
        boundary = f"{step_id} {event}"
        if step_id != "run" and boundary not in before:
            with path.open("a") as lines:
                lines.write(f"{boundary}\n")
            os.kill(os.getpid(), signal.SIGKILL)

    JournalFile.append = append_and_die
    with open_session(name) as session:
        if before:
            redeploying.resume(session, "", "", nobody, None)
        else:
            redeploying.redeploy(session, RedeployOptions(mode), "", nobody, None)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PromptKedaError as error:
        sys.exit(f"{error.what}\n{error.fix}")
