"""An unexpected error is reported without values."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from prompt_keda.report import failure
from prompt_keda.report.unexpected import write_report

SECRET = "hunter" + str(2)


def unexpected():
    try:
        raise ValueError(f"bad {SECRET}")
    except ValueError as error:
        return error


def test_the_report_has_places_and_no_values():
    """Type and lines of code; not the message, which may hold a secret. Private."""
    report = write_report(unexpected())
    path = Path(report.removeprefix("Please send "))
    text = path.read_text()
    path_mode = path.stat().st_mode & 0o777
    path.unlink()
    assert "ValueError" in text and "test_unexpected" in text and SECRET not in text
    assert path_mode == 0o600


def nowhere(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))


def no_temporary_folder(monkeypatch, tmp_path):
    def refused(*arguments, **options):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkstemp", refused)


def disk_full(monkeypatch, tmp_path):
    def full(*arguments, **options):
        return os.open("/dev/full", os.O_WRONLY), "/dev/full"

    monkeypatch.setattr(tempfile, "mkstemp", full)


@pytest.mark.parametrize("fault", [nowhere, no_temporary_folder, disk_full])
def test_a_report_that_cannot_be_written_is_said(fault, monkeypatch, tmp_path):
    """No second error: its traceback would show the first one's text."""
    fault(monkeypatch, tmp_path)
    what, fix = failure.explain(unexpected())
    assert "ValueError" in what and "No report could be written" in fix and SECRET not in what + fix
