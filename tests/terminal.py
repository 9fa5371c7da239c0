"""What a program said on a terminal of its own."""

from __future__ import annotations

import os
from contextlib import suppress


def until_closed(descriptor):
    """Give what a terminal was told; its end is an error (EIO) on Linux."""
    with suppress(OSError):
        while data := os.read(descriptor, 10_000):
            yield data
