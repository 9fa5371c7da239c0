"""Results of checks as a picture, for the README."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from rich.console import Console

from prompt_keda.core.check import CheckResult
from prompt_keda.report.checks_as_text import show_checks

WIDTH = 100
FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def to_svg(results: Sequence[CheckResult], verbose: bool = False) -> str:
    """Return what a terminal of 100 columns shows as SVG. Fonts are the viewer's own: nothing is loaded from elsewhere."""
    console = Console(record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, highlight=False)
    show_checks(results, verbose=verbose, console=console)
    return FONT_FACE.sub("", console.export_svg(title="check-deps"))
