"""How libraries are imported at their first use, which may come from several threads at once."""

from __future__ import annotations

import threading

ONE_AT_A_TIME = threading.RLock()
"""Held while a library is imported.

Two threads that begin a circle of modules at two places may both get a half of it: seen once in 40 rounds on a busy
machine, when `kubernetes` imported requests.utils and `hvac` requests; then nothing could be looked at.
"""
