"""docs/output.md names each key of each task's JSON document, and no other."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import re
import subprocess
import sys
import types
import typing
from collections import abc

import pytest
from pydantic import BaseModel

from prompt_keda.commands.watch import Transition
from prompt_keda.components.smoke.acceptance.case import CaseResult
from prompt_keda.core.errors import Refusal
from prompt_keda.core.places import ROOT
from prompt_keda.lab import as_text as lab_parts
from prompt_keda.lab.drills.chaos import RoundOutcome
from prompt_keda.lab.drills.chaos_plan import Round
from prompt_keda.lab.image_checks import ImagesChecked
from prompt_keda.lab.state import LabStatus
from prompt_keda.records.drill_record import DrillRecord
from prompt_keda.redeploy.approval import Unapproved
from prompt_keda.redeploy.enrol import Enrolled
from prompt_keda.report import failure, parts
from prompt_keda.report.as_json import Began, as_plain
from prompt_keda.report.discovery_as_text import DiscoveryReport
from prompt_keda.report.history_page import History
from prompt_keda.report.preparation import Preparation
from prompt_keda.report.response import Response, RunbookPlan, RunbookRun
from prompt_keda.report.result import Result
from prompt_keda.report.run_report import RunReport, RunStopped
from prompt_keda.report.status import Status

RECORDS = {
    "bench": [parts.Timings],
    "bundle": [parts.Bundle],
    "check-deps": [parts.Checked],
    "discover": [DiscoveryReport],
    "docs": [parts.Nothing],
    "drill": [lab_parts.DrillsDone, lab_parts.ChaosDone],
    "enrol": [Enrolled],
    "fault": [lab_parts.Faults],
    "faults": [lab_parts.Faults],
    "history": [History],
    "lab.captures": [parts.Nothing],
    "lab.down": [LabStatus],
    "lab.images": [ImagesChecked],
    "lab.status": [LabStatus],
    "lab.up": [LabStatus],
    "note": [parts.Note],
    "plan": [parts.PlanReport],
    "prepare": [Preparation],
    "redeploy": [RunReport, RunStopped],
    "report": [parts.IncidentReport],
    "respond": [Response],
    "resume": [RunReport, RunStopped],
    "runbook": [RunbookRun, RunbookPlan],
    "runbooks": [parts.Runbooks],
    "smoke": [parts.SmokeReport],
    "status": [Status],
}
"""Task → the records that it returns, or has until it fails."""
NAMES = {record.__name__: record for record in (CaseResult, DrillRecord, RoundOutcome, Round)}
"""What modules import for mypy alone."""
BY_NAME = {"recovery", "removal", "first_scaled_job"}
OF_EVENTS = {"sent", "lost", "duplicated", "taken", "unseen"}
IN_MAPPINGS = {
    "redeploy": BY_NAME,
    "resume": BY_NAME,
    "drill": OF_EVENTS,
    "history": OF_EVENTS,
    "enrol": {"ca_sha256", "kube_system_uid"},
    "prepare": {"commit", "committed_at", "fetched_at", "environment", "helm", "kube_version", "checkout"},
}
"""Keys of mappings that no record names."""
KEY = "a key"


def sample(hint, pick=0):
    """Return a value of a type. ``pick``: of a union the first type (0) or the last one (-1); None is not taken."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is typing.Annotated:
        return sample(arguments[0], pick)
    if origin in (typing.Union, types.UnionType):
        return sample([each for each in arguments if each is not type(None)][pick], pick)
    if origin is abc.Callable:
        return lambda *_: None
    if dataclasses.is_dataclass(origin):
        hints = typing.get_type_hints(origin, localns=NAMES, include_extras=True)
        return origin(**{field.name: sample(hints[field.name], pick) for field in dataclasses.fields(origin)})
    if hint in (object, typing.Any) or isinstance(hint, typing.TypeVar):
        return "anything"
    if issubclass(origin, BaseModel):
        moment = {name: "2026-01-01T00:00:00+00:00" for name in origin.model_fields if name.endswith("_at")}
        known = {name: sample(field.annotation, pick) for name, field in origin.model_fields.items()}
        return origin.model_validate(known | moment)
    if issubclass(origin, abc.Mapping):
        return {KEY: sample(arguments[1], pick)}
    if issubclass(origin, enum.Enum):
        return next(iter(origin))
    if issubclass(origin, datetime.datetime):
        return datetime.datetime.now(datetime.UTC)
    return origin(1) if origin in (str, int, float, bool, datetime.timedelta) else (sample(arguments[0], pick),)


def keys(value):
    """Return all keys in a document, in whatever depth."""
    if isinstance(value, dict):
        return (set(value) - {KEY}).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def documents(task):
    """Return what a task may print, as JSON has it."""
    return [as_plain(sample(record, pick)) for record in RECORDS[task] for pick in (0, -1)]


def rows(task):
    """Return the keys of each row of a task in docs/output.md, and its text."""
    page = (ROOT / "docs" / "output.md").read_text()
    table = [line.strip("| \n").split(" | ", 2) for line in page.splitlines() if line.startswith("| ")]
    return [(names(cells[1]), cells[2]) for cells in table if task in cells[0].split(", ")]


def names(text):
    return set(re.findall(r"`([a-z][a-z0-9_]*)`", text))


def named(task):
    """Return all keys that the rows of a task name; with what another one says of the same key, where it is as that one has it."""
    found = set()
    for own, text in rows(task):
        found |= own | names(text)
        for other in re.findall(r"as ([a-z-]+) has (?:it|them)", text):
            found |= set().union(*(names(words) for key, words in rows(other) if key & own))
    return found


@pytest.mark.parametrize("task", sorted(RECORDS))
def test_the_reference_names_each_key_and_no_other(task):
    """Those at the top in the column of keys, all others in the text."""
    given = documents(task)
    tops, every = set().union(*(own for own, _ in rows(task))), set().union(*map(keys, given))
    assert tops == set().union(*map(set, given)) - {"header"}
    assert every - {"header"} - named(task) == set()
    assert named(task) - every - IN_MAPPINGS.get(task, set()) == set()


def test_the_reference_names_what_every_document_has():
    """Of a task that ends well, and of one that is refused."""
    error = Refusal("what", "fix")
    error.parts = Unapproved("digest")
    well = json.loads(Result("task", "local", "header", parts.Nothing()).to_json(Began()))
    refused = json.loads(failure.to_json("task", "local", Began(), error, ("what", "fix")))
    assert set().union(*(own for own, _ in rows("every"))) == set(well) | set(refused)
    assert named("every") == keys(well) | keys(refused)


def test_every_task_with_json_is_looked_at():
    """But for watch, whose lines docs/watch.md explains."""
    code = (
        "import tasks, json\n"
        "def named(place, prefix=''):\n"
        "    for name, task in place.tasks.items():\n"
        "        if any(argument.name == 'json' for argument in task.get_arguments()): yield prefix + name\n"
        "    for name, inner in place.collections.items(): yield from named(inner, name + '.')\n"
        "print(json.dumps(sorted({name.replace('_', '-') for name in named(tasks.namespace)})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) - {"watch"} == set(RECORDS)


def test_every_record_that_a_task_returns_is_looked_at():
    """By the annotations of what returns it."""
    sources = [*(ROOT / "prompt_keda").rglob("*.py"), ROOT / "tasks.py"]
    returned = {name for path in sources for name in re.findall(r"-> Result\[(?:\w+\.)?(\w+)\]", path.read_text())}
    assert returned <= {record.__name__ for records in RECORDS.values() for record in records} and len(returned) > 15


def test_the_keys_of_a_transition_are_named():
    """Of `watch`, a line each."""
    transition = typing.cast(Transition, sample(Transition))
    assert set(json.loads(transition.to_json())) <= names((ROOT / "docs" / "watch.md").read_text())
