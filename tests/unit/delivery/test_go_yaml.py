"""What Helm renders is read as Kubernetes' own programs read it: a text without quotes means the same to both."""

from __future__ import annotations

import pytest

from prompt_keda.components.compare import field_changes
from prompt_keda.core.errors import BadAnswer
from prompt_keda.delivery.go_yaml import read_documents

PLAIN = {
    "2026-01-02": "2026-01-02",
    "2026-01-02T03:04:05Z": "2026-01-02T03:04:05Z",
    "1:30": "1:30",
    "1e3": 1000,
    "1.5e-2": 0.015,
    ".5": 0.5,
    "1.": 1,
    "y": True,
    "N": False,
    "on": True,
    "Off": False,
    "yEs": "yEs",
    "0400": 256,
    "0o400": 256,
    "09": 9,
    "0x1F": 31,
    "-0b11": -3,
    "1_000": 1000,
    "_1": "_1",
    "0x": "0x",
    "1e400": "1e400",
    "+1": 1,
    "1.30": 1.3,
    "1.30.1": "1.30.1",
    "18446744073709551615": 18446744073709551615,
    "~": None,
    "Null": None,
    ".inf": ".inf",
    "=": "=",
    "100m": "100m",
}
"""As goyaml.v2 in sigs.k8s.io/yaml v1.6 reads them; tried with it, but for .inf, which it refuses to write as JSON."""


@pytest.mark.parametrize("text", PLAIN)
def test_a_text_without_quotes_means_what_go_reads(text):
    """Types count too: 1 is no True, and 1.0 is written as JSON writes it."""
    ((value,),) = read_documents(f"[{text}]", "x")
    assert (value, type(value)) == (PLAIN[text], type(PLAIN[text]))


def test_quotes_blocks_and_keys():
    """What has quotes is a text. A key is one always, as JSON has no other."""
    text = "a: 'yes'\nb: \"1\"\nc: |\n  on\n1: x\ntrue: x\nnothing: null\nlist: [null]\n---\n---\nd: 1\n"
    first, second = read_documents(text, "x")
    assert first == {"a": "yes", "b": "1", "c": "on\n", "1": "x", "true": "x", "list": [None]} and second == {"d": 1}


def test_one_mapping_is_merged_and_several_are_refused():
    """Several at once could multiply without end."""
    (merged,) = read_documents("a: &a {x: 1, z: 1}\nb: {<<: *a, z: 2}\n", "x")
    assert merged["b"] == {"x": 1, "z": 2}
    for text in ("b: {<<: [*a, *a]}", "b: {<<: *a, <<: *a}"):
        with pytest.raises(BadAnswer, match="several mappings are merged into one, line 2"):
            read_documents(f"a: &a {{x: 1}}\n{text}\n", "x")


@pytest.mark.parametrize("text", ["a: !!python/object:os.system x", "a: !custom x", "a: !!binary eA==", "? [a]\n: b"])
def test_what_no_kubernetes_object_has_is_refused(text):
    """Nothing is constructed from it."""
    with pytest.raises(BadAnswer):
        read_documents(text, "x")


def test_every_change_is_one_field_and_nothing_counts_as_equal():
    """Unlike a live object, which a server may have written in another form: 1000m is not 1 here, nor True 1."""
    before = {"a": {"cpu": "1000m", "on": 1}, "env": [{"name": "X", "value": "1"}, {"name": "Y"}], "n": [1, 2]}
    now = {"a": {"cpu": "1", "on": True}, "env": [{"name": "Y"}, {"name": "X", "value": "2"}], "n": [1, 2, 3]}
    changes = {change.path: (change.before, change.now) for change in field_changes(before, now)}
    assert changes == {
        "a.cpu": ("1000m", "1"),
        "a.on": (1, True),
        "env (order)": (["X", "Y"], ["Y", "X"]),
        "env[X].value": ("1", "2"),
        "n": ([1, 2], [1, 2, 3]),
    }
    assert not list(field_changes(before, before))
