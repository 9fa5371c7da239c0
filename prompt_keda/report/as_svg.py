"""Results of checks, and whole terminals, as a picture, for the README."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from prompt_keda.core.check import CheckResult
from prompt_keda.report.checks_as_text import show_checks

WIDTH = 100
FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def to_svg(results: Sequence[CheckResult], verbose: bool = False) -> str:
    """Return what a terminal of 100 columns shows as SVG. Fonts are the viewer's own: nothing is loaded from elsewhere."""
    console = _recording(WIDTH)
    show_checks(results, verbose=verbose, console=console)
    return _svg_of(console, "check-deps")


def terminal_to_svg(screen: str, title: str, width: int) -> str:
    """Return a terminal as SVG, which loads nothing.

    Parameters
    ----------
    screen
        With the escape sequences of its colours.
    width
        In columns.
    """
    console = _recording(width)
    console.print(Text.from_ansi(screen))
    return _svg_of(console, title)


def _recording(width: int) -> Console:
    return Console(record=True, file=io.StringIO(), width=width, force_terminal=True, highlight=False)


def _svg_of(console: Console, title: str) -> str:
    # the same screen is the same file: rich would name its parts by a hash of each run
    return FONT_FACE.sub("", console.export_svg(title=title, unique_id=f"terminal-{title.replace(' ', '-')}"))
