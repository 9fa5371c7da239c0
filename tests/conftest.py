"""What was not run is said: it is not proven."""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ["LC_ALL"] = "C.UTF-8"  # with LANG=C the reports would be ASCII

# A shell that runs the suite in the background ignores SIGINT, and a child would inherit that: Ctrl-C could not be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_deselected(items):
    """Keep the names for the test run, which tells them at its end."""
    if file := os.environ.get("PROMPT_KEDA_TEST_NOT_RUN"):
        with Path(file).open("a") as names:
            names.writelines(f"{one.nodeid}\n" for one in items)
