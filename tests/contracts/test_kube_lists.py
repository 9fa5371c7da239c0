"""Long lists in pages: on the double, and on the API server of the local stack, whose etcd is compacted for it."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from pathlib import Path

import pytest

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import CONFIG_MAPS, NAMESPACES, SECRETS
from prompt_keda.core.errors import BadAnswer, Refused
from prompt_keda.lab import network, settings, state
from tests.contracts.conftest import SECONDS
from tests.contracts.fakes.kube import FakeKube

pytestmark = pytest.mark.stack_only
NAMES = tuple(f"page-{number}" for number in range(6))
POLL_S = 30
"""The API server keeps old lists in its own cache as well, and looks each 15 s whether etcd has been compacted
(k8s.io/apiserver 0.35, pkg/storage/cacher/compactor.go)."""


@pytest.fixture(params=["fake", "real"])
def kube(request):
    """A client with a namespace that holds six objects alone (the real one has a seventh, which the cluster makes)."""
    fake = request.param == "fake"
    made = FakeKube() if fake else Kube.connect(Path(state.endpoints()["kubeconfig"]), None, SECONDS)
    made.space = f"contract-{secrets.token_hex(4)}"
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.space}})
    for name in NAMES:
        made.apply(config_map(made, name))
    yield made
    made.delete(NAMESPACES, made.space)


def config_map(kube, name):
    metadata = {"name": name, "namespace": kube.space}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": secrets.token_hex(4)}}


def names(objects):
    return [obj["metadata"]["name"] for obj in objects if obj["metadata"]["name"] != "kube-root-ca.crt"]


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 250])
def test_each_object_comes_once_whatever_the_page(kube, count):
    """Also where the last page is full, or the first is not."""
    assert names(kube.each(CONFIG_MAPS, kube.space, page_count=count)) == list(NAMES)


def test_the_server_selects_by_fields_in_each_page(kube):
    """What is not asked for is not sent."""
    assert names(kube.each(CONFIG_MAPS, kube.space, page_count=1, field_selector="metadata.name=page-2")) == ["page-2"]


def test_nothing_is_an_empty_list(kube):
    """In a namespace that is not there as well."""
    assert list(kube.each(CONFIG_MAPS, "nowhere", page_count=2)) == []


def test_what_vanishes_or_comes_between_two_pages_changes_nothing(kube):
    """A list is what was there at its first page: nothing twice, and nothing left out because another one went."""
    pages = kube.each(CONFIG_MAPS, kube.space, page_count=2)
    first = next(pages)
    for name in ("page-0", "page-4"):
        kube.delete(CONFIG_MAPS, name, kube.space)
    kube.apply(config_map(kube, "page-9"))
    assert names([first, *pages]) == list(NAMES)
    assert names(kube.each(CONFIG_MAPS, kube.space, page_count=2)) == ["page-1", "page-2", "page-3", "page-5", "page-9"]


def test_a_list_that_takes_too_long_is_an_error_and_never_half_a_list(kube):
    """410: the server has forgotten that state. Whoever counts must not take what came until then for all."""
    pages = kube.each(CONFIG_MAPS, kube.space, page_count=2)
    first = next(pages)
    forget(kube)
    objects = [first]
    with pytest.raises(BadAnswer, match="410"):
        objects.extend(pages)
    assert len(objects) < len(NAMES)


def test_a_right_that_is_missing_is_reported_at_the_first_page(kube):
    """Refused, as by a list that comes at once."""
    if isinstance(kube, FakeKube):
        kube.denied.add(("list", "secrets"))
        reader = kube
    else:
        reader = Kube.connect(settings.current_lab().state / "reader.kubeconfig", None, SECONDS)
    with pytest.raises(Refused, match="secrets"):
        next(reader.each(SECRETS, kube.space))


def forget(kube):
    """Let the server forget the state of every list that has begun."""
    if isinstance(kube, FakeKube):
        kube.expire_pages()
        return
    path = CONFIG_MAPS.path(kube.space)
    token = kube.get_raw(path, {"limit": "1"})["metadata"]["continue"]
    kube.apply(config_map(kube, "page-8"))  # etcd cannot forget its present state
    revision = etcd("range", key="compact_rev_key")["header"]["revision"]
    etcd("compaction", revision=revision)
    etcd("put", key="compact_rev_key", value=str(revision))  # where API servers tell each other of a compaction
    end = time.monotonic() + POLL_S
    while time.monotonic() < end:
        try:
            kube.get_raw(path, {"limit": "1", "continue": token})
        except BadAnswer:
            return
        time.sleep(0.5)  # nothing tells when the server's own cache has forgotten
    raise AssertionError(f"the API server still knew an old list after {POLL_S} s")


def etcd(what, **fields):
    """Ask the stack's etcd by its JSON gateway, which is reached from inside the stack alone."""
    texts = {
        key: base64.b64encode(value.encode()).decode() if key != "revision" else value for key, value in fields.items()
    }
    argv = [*network.enter(settings.current_lab()), "curl", "-sS", f"http://127.0.0.1:2379/v3/kv/{what}"]
    done = subprocess.run([*argv, "-d", json.dumps(texts)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
