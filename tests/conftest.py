"""What was not run is written down: it is not verified. What each test took is kept by its phases, and how busy the machine was
when one failed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from prompt_keda.lab.machine import Machine

os.environ["LC_ALL"] = "C.UTF-8"  # with LANG=C the reports would be ASCII
os.environ.pop("COLUMNS", None)  # a test that asks for a width sets it; pytest-xdist does too

MACHINE = Machine()

# A shell that runs the suite in the background ignores SIGINT, and a child would inherit that: Ctrl-C could not be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Let what is exhaustive take its time (pytest-timeout)."""
    for item in items:
        if item.get_closest_marker("exhaustive"):
            item.add_marker(pytest.mark.timeout(0))


def pytest_deselected(items):
    """Keep names and reasons for the test run, which tells them at its end."""
    file = os.environ.get("PROMPT_KEDA_TEST_NOT_RUN")
    if file and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":  # each process collects them all
        with Path(file).open("a") as names:
            names.writelines(f"{why} {item.nodeid}\n" for item in items for why in _reasons(item))


def _reasons(item):
    """Return why a test is left out; nothing where there is no other place for it."""
    if item.get_closest_marker("exhaustive"):
        return ["exhaustive"]
    return [] if item.get_closest_marker("stack_only") or item.get_closest_marker("desk_only") else ["viewpoint"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Let JUnit tell setup, call and teardown apart: what tests share is made by the setup of the first one."""
    item.user_properties.append((f"{call.when}_s", f"{call.duration:.3f}"))
    report, load = (yield), MACHINE.since_last()
    if report.failed:
        report.sections.append(("the machine meanwhile", str(load)))
    return report
