"""A report of an unexpected error: a traceback with places and code lines, without any value."""

from __future__ import annotations

import os
import tempfile
import traceback


def write_report(error: BaseException) -> str:
    """Write a traceback into a file of its own with mode 0600, and say what to do with it.

    The error's own text is left out, because it may hold a value; its type and the lines of code stay. It does not raise
    when the file cannot be written: the traceback of that would show the first error's text.
    """
    lines = []
    shown: BaseException | None = error
    while shown is not None:
        lines.append(f"{type(shown).__name__}\n")
        lines += traceback.format_tb(shown.__traceback__)
        shown = shown.__cause__ or shown.__context__
    try:
        descriptor, name = tempfile.mkstemp(prefix="prompt-keda-", suffix=".txt")  # mkstemp makes it 0600
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(lines)
    except OSError as failed:
        return f"No report could be written: {failed.strerror}. Look at $TMPDIR, and please report how this came about."
    return f"Please send {name}"
