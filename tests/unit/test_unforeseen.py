"""An error that nobody foresaw is reported without values."""

from __future__ import annotations

from prompt_keda.report.unforeseen import write_report


def test_the_report_has_places_and_no_values():
    """Type and lines of code; not the message, which may hold a secret. Private."""
    secret = "hunter" + str(2)
    try:
        raise ValueError(f"bad {secret}")
    except ValueError as error:
        path = write_report(error)
    text = path.read_text()
    path_mode = path.stat().st_mode & 0o777
    path.unlink()
    assert "ValueError" in text and "test_unforeseen" in text and secret not in text
    assert path_mode == 0o600
