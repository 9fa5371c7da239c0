"""Runs a task with a defect: what reads secrets raises an error that has them in its words.

``defective.py unforeseen|told TASK ARGUMENTS…``: an error that nobody foresaw, or one of the project's own, whose words
are shown. It stands in for a mistake in the toolkit, which cannot be brought about from outside.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


def break_it(how):
    from prompt_keda.clients.systems import Systems
    from prompt_keda.errors import BadAnswer

    read = Systems.secret_keys

    def read_and_raise(self, path):
        held = {key: value.reveal() for key, value in read(self, path).items()}
        if how == "told":
            raise BadAnswer("Vault", path, f"it holds {held}")
        raise ValueError(f"{path} holds {held}")

    Systems.secret_keys = read_and_raise


if __name__ == "__main__":
    break_it(sys.argv[1])
    sys.argv = [str(ROOT / "tasks.py"), *sys.argv[2:]]
    runpy.run_path(sys.argv[0], run_name="__main__")
