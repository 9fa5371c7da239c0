"""An error, as people and programs get it."""

from __future__ import annotations

from prompt_keda.core import exit_code
from prompt_keda.core.errors import EnvironmentFileError, Interrupted, PromptKedaError, Unexpected
from prompt_keda.core.untrusted import neutral, one_line
from prompt_keda.report import as_json
from prompt_keda.report.unexpected import write_report

UNEXPECTED = "an unexpected error"
"""Stands in the message of every error that is a fault of the toolkit itself."""


def explain(error: BaseException) -> tuple[str, str]:
    """Return what happened and what to do about it, both made safe to show; the second may be empty.

    Of an unexpected error only the type is shown, because its text may hold a value: the rest is written into a
    report of its own.
    """
    if isinstance(error, EnvironmentFileError):  # a line for each fault of the file; nothing of it is from a cluster
        return neutral(f"refused: {error.what}"), neutral(error.fix)
    if isinstance(error, Interrupted):
        return one_line(error.what), one_line(error.fix)
    if isinstance(error, Unexpected):
        return one_line(f"failed: {error.what}"), one_line(f"{write_report(error)}. {error.fix}".strip())
    if isinstance(error, PromptKedaError):
        word = "refused" if error.exit_code == 2 else "failed"
        return one_line(f"{word}: {error.what}"), one_line(error.fix)
    if isinstance(error, KeyboardInterrupt):
        return "stopped", ""
    return f"failed: {type(error).__name__}, {UNEXPECTED}", write_report(error)


def to_json(task: str, environment: str, began: as_json.Began, error: BaseException, explained: tuple[str, str]) -> str:
    """Return the document of a task that ended with an error, with what it had done until then.

    Parameters
    ----------
    environment
        As the person named it.
    explained
        What `explain` returned.
    """
    done = as_json.as_plain(error.parts) if isinstance(error, PromptKedaError) and error.parts else {}
    parts = {"error": {"what": explained[0], "fix": explained[1]}, **done}
    return as_json.document(task, environment, exit_code.of_error(error), began, parts)
