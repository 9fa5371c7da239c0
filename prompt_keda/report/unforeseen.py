"""A report of an error that nobody foresaw: a traceback with places and code lines, without any value."""

from __future__ import annotations

import os
import tempfile
import traceback
from pathlib import Path


def write_report(error: BaseException) -> Path:
    """Write a traceback into a file of its own with mode 0600, and give its path.

    The error's own text is left out, because it may hold a value; its type and the lines of code stay.
    """
    lines = []
    shown: BaseException | None = error
    while shown is not None:
        lines.append(f"{type(shown).__name__}\n")
        lines += traceback.format_tb(shown.__traceback__)
        shown = shown.__cause__ or shown.__context__
    descriptor, name = tempfile.mkstemp(prefix="prompt-keda-", suffix=".txt")  # mkstemp makes it 0600
    with os.fdopen(descriptor, "w") as file:
        file.writelines(lines)
    return Path(name)
