"""Another person's machine, on the same stack: its own host name, state folder and clone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.lab import desk, settings

from .conftest import AT_DESK, ENV, ROOT, approval, runs_folder


@dataclass
class Machine:
    """A machine. Its state is empty but for where the stack is, which a real one would know from its environment.

    Parameters
    ----------
    folder
        For all that it has; whoever runs the toolkit can write there.
    host
        Its name.
    """

    folder: Path
    host: str

    def __post_init__(self):
        self.clone, self.state = self.folder / "clone", self.folder / "state"
        for name in ("prompt_keda", "environments"):
            shutil.copytree(ROOT / name, self.clone / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copyfile(ROOT / "tasks.py", self.clone / "tasks.py")
        shutil.copyfile(ROOT / "environments" / f"{ENV}.yaml", self.environment)
        other_state_folder(self.state)
        if AT_DESK:
            for parent, _, files in os.walk(self.state):
                for path in (Path(parent), *(Path(parent, file) for file in files)):
                    os.chown(path, desk.USER, desk.USER)

    @property
    def environment(self):
        """A copy of the environment's file in its clone: with its own ``local.yaml`` it would bring up a stack of its own."""
        return str(self.clone / "environments" / f"{self.host}.yaml")

    @property
    def runs(self):
        """The folder of its runs."""
        return self.state / "prompt-keda/runs"

    def command(self, *arguments):
        """Return the command line of a task on it. The process that it starts becomes the task itself."""
        task = ["env", f"XDG_STATE_HOME={self.state}", sys.executable, str(self.clone / "tasks.py"), *arguments]
        argv = desk.command(settings.current_lab(), task) if AT_DESK else task
        return ["unshare", "--uts", "--", "sh", "-c", 'hostname "$0" && exec "$@"', self.host, *argv]

    def start(self, *arguments):
        """Begin a task in its environment."""
        arguments = (*arguments, "--env", self.environment)
        argv = self.command(*arguments, *(approval(*arguments) if AT_DESK else ()))
        kept = {"env": {**os.environ, "CI": "true"}, "cwd": ROOT if AT_DESK else self.clone, "text": True}
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **kept)

    def resume(self):
        """Resume as a person does who has begun nothing here: at the desk with the digest that a refusal names."""
        code, document, output = self.run("resume")
        if AT_DESK and "digest" in document:
            assert code == 2 and "begun on another machine" in document["error"]["what"]
            return self.run("resume", "--approve", document["digest"])
        return code, document, output

    def run(self, *arguments):
        """Run a task in its environment to its end; give its exit code, its document, and what it said meanwhile."""
        kept = {
            "env": {**os.environ, "CI": "true"},
            "cwd": ROOT if AT_DESK else self.clone,
            "text": True,
            "timeout": 300,
        }
        argv = self.command(*arguments, "--env", self.environment, "--json")
        done = subprocess.run(argv, capture_output=True, **kept)
        assert done.stdout.strip(), f"no document; standard error: {done.stderr}"
        return done.returncode, json.loads(done.stdout), done.stderr


def other_state_folder(folder):
    """Make a state folder that knows nothing but where the stack is, and return it."""
    lab = Path("prompt-keda/lab") / settings.current_lab().name
    (folder / lab).mkdir(parents=True)
    shutil.copyfile(runs_folder().parents[1] / lab / "endpoints.json", folder / lab / "endpoints.json")
    return folder
