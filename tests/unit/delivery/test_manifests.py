"""The one reader of instruments' manifests: what API server and KEDA would not take is told by file, line and column."""

from __future__ import annotations

import hashlib
import json

import pytest

from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.delivery.manifests import (
    load_instrument_manifest,
    load_instrument_objects,
    load_keda_manifests,
    prepared_file,
)
from prompt_keda.environment.model import PreparedObjects
from tests.unit.faults import environment
from tests.unit.world import World

WHOLE = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata:
  name: prompt-keda-lsstcam
  namespace: prompt-keda-lsstcam
  annotations:
    autoscaling.keda.sh/paused: "false"
spec:
  triggers: []
"""
PAUSED = '    autoscaling.keda.sh/paused: "false"'
WRONG = {
    "a truth value without quotes": (PAUSED, PAUSED.replace('"', ""), 7, "autoscaling.keda.sh/paused is bool, and not"),
    "a number": (PAUSED, "    a: 1", 7, "metadata.annotations: a is int, and not a text"),
    "nothing": (PAUSED, "    a:", 7, "a is NoneType, and not a text"),
    "a day": (PAUSED, "    a: 2026-01-02", 7, "a is date, and not a text"),
    "a mapping in it": (PAUSED, "    a: {b: c}", 7, "a is dict, and not a text"),
    "a list": (f"  annotations:\n{PAUSED}", "  annotations: [a]", 6, "metadata.annotations is not a mapping"),
    "a text": (f"  annotations:\n{PAUSED}", "  annotations: a", 6, "metadata.annotations is not a mapping"),
    "labels too": (f"  annotations:\n{PAUSED}", "  labels: {a: yes}", 6, "metadata.labels: a is bool"),
    "no namespace": ("  namespace: prompt-keda-lsstcam\n", "", 3, "has no namespace"),
    "a name that is no text": ("  name: prompt-keda-lsstcam", "  name: 1", 4, "ScaledJob 1 has no name"),
    "no metadata": ("metadata:", "metadate:", 1, "metadata is not a mapping"),
    "metadata that is a list": (WHOLE[WHOLE.index("metadata:") :], "metadata: [a]", 3, "metadata is not a mapping"),
    "finalizers that are a text": (
        f"  annotations:\n{PAUSED}",
        "  finalizers: a",
        6,
        "metadata.finalizers is not a list",
    ),
    "a spec that is a list": (
        "spec:\n  triggers: []",
        "spec: [a]",
        8,
        "the spec of ScaledJob prompt-keda-lsstcam is not",
    ),
    "no kind": ("kind: ScaledJob\n", "", 1, "kind is not a text"),
    "a list of objects": ("kind: ScaledJob", "kind: List\nitems: []", 2, "a List is no object of its own"),
    "a Secret": ("kind: ScaledJob", "kind: Secret", 1, "does not belong into a manifest"),
    "a text alone": (WHOLE, "text\n", 1, "is no Kubernetes object"),
}


@pytest.mark.parametrize(("part", "other", "line", "message"), WRONG.values(), ids=WRONG)
def test_what_is_not_of_the_right_form_is_reported_with_its_place(part, other, line, message, tmp_path):
    """Nothing ends in an error of Python's, and nothing that the API server would refuse is read as valid."""
    assert part in WHOLE
    path = tmp_path / "m.yaml"
    path.write_text(WHOLE.replace(part, other))
    with pytest.raises(EnvironmentFileError) as caught:
        load_instrument_manifest(path, None)
    assert caught.value.what.startswith(f"{path}:{line}:") and message in caught.value.what, caught.value.what


def test_what_is_right_is_read(tmp_path):
    """Absent or empty labels and annotations too; the place is that of the second document where that is wrong."""
    path = tmp_path / "m.yaml"
    path.write_text(f"{WHOLE}---\n{WHOLE.replace(PAUSED, '')}")
    assert len(load_instrument_manifest(path, None)) == 2
    path.write_text(f"{WHOLE}---\n{WHOLE.replace(PAUSED, PAUSED.replace(chr(34), ''))}")
    with pytest.raises(EnvironmentFileError, match=rf"{path}:17:5: "):
        load_instrument_manifest(path, None)


def test_check_and_plan_read_a_manifest_by_the_same_rules(tmp_path):
    """What the plan would refuse, the check says: `paused: false` without quotes is a truth value, and no text."""
    path = tmp_path / "m.yaml"
    path.write_text(WHOLE.replace(PAUSED, PAUSED.replace('"', "")))
    world = World()
    first = world.systems.environment.instruments[0].model_copy(update={"manifest": path})
    environment(instruments=(first,))(world)
    verdict = world.verdict("keda/scaled-jobs-valid")
    assert verdict.verdict.value == "fail" and f"{path}:7:5" in verdict.observed and 'paused: "…"' in verdict.fix, (
        verdict
    )


@pytest.mark.parametrize("annotations", [{"a": True}, ["a"], "a"])
def test_kedas_own_manifests_are_read_by_the_same_rules(annotations, tmp_path):
    """Without a line, as they are JSON too."""
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "annotations": annotations}}
    data = json.dumps([made]).encode()
    path = tmp_path / "keda.json"
    path.write_bytes(data)
    with pytest.raises(EnvironmentFileError, match=r"Service: metadata\.annotations"):
        load_keda_manifests(path, hashlib.sha256(data).hexdigest())


RENDERED = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"}}
NOT_RENDERED = {
    "a Secret": ([{**RENDERED, "kind": "Secret"}], "does not belong into a manifest"),
    "no namespace": ([{**RENDERED, "metadata": {"name": "s"}}], "Service s has no namespace"),
    "a truth value": ([{**RENDERED, "metadata": {**RENDERED["metadata"], "labels": {"a": True}}}], "a is bool"),
    "a spec that is a list": ([{**RENDERED, "spec": []}], "the spec of Service s is not a mapping"),
    "no list": (RENDERED, "is not a list of Kubernetes objects"),
    "nothing": ([], "is not a list of Kubernetes objects"),
}


@pytest.mark.parametrize(("objects", "words"), NOT_RENDERED.values(), ids=NOT_RENDERED)
def test_what_prepare_rendered_is_read_by_the_same_rules(objects, words, tmp_path, monkeypatch):
    """Also where somebody has pinned a file of his own; and check and plan read it alike."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = json.dumps(objects).encode()
    sha256 = hashlib.sha256(data).hexdigest()
    world = World()
    prepared = {"manifest": None, "prepared": PreparedObjects(sha256=sha256)}
    instrument = world.systems.environment.instruments[0].model_copy(update=prepared)
    environment(instruments=(instrument,))(world)
    verdict = world.verdict("keda/scaled-jobs-valid")
    assert verdict.verdict.value == "fail" and "./run prepare --env E --phalanx CHECKOUT" in verdict.fix, verdict
    prepared_file(sha256).parent.mkdir(parents=True)
    prepared_file(sha256).write_bytes(data)
    with pytest.raises(EnvironmentFileError) as caught:
        load_instrument_objects(instrument, None)
    assert words in caught.value.what and words in world.verdict("keda/scaled-jobs-valid").observed
