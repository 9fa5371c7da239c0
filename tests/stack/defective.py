"""Runs a task with a defect: a part of it raises an error that has secrets in its words.

``defective.py DEFECT TASK ARGUMENTS…``: it stands in for a mistake in the toolkit, which cannot be brought about from
outside. ``unexpected``: what reads secrets raises an unexpected error; ``told``: one of the project's own,
whose words are shown; ``writing``: what writes the Secrets raises one, in the middle of a redeploy.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def fail_reading(how):
    from prompt_keda.clients.systems import Systems
    from prompt_keda.core.errors import BadAnswer

    read = Systems.secret_keys

    def read_and_raise(self, path):
        held = {key: value.reveal() for key, value in read(self, path).items()}
        if how == "told":
            raise BadAnswer("Vault", path, f"it holds {held}")
        raise ValueError(f"{path} holds {held}")

    Systems.secret_keys = read_and_raise


def fail_writing():
    from prompt_keda.components.run import Context

    write = Context.apply_all

    def write_and_raise(self, objects, force=False):
        if any(obj["kind"] == "Secret" for obj in objects):
            raise ValueError(f"cannot write {objects}")
        write(self, objects, force=force)

    Context.apply_all = write_and_raise


if __name__ == "__main__":
    fail_writing() if sys.argv[1] == "writing" else fail_reading(sys.argv[1])
    sys.argv = [str(ROOT / "tasks.py"), *sys.argv[2:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
