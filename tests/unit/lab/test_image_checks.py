"""`lab.images`: what a registry says of the images of the list, each answer by the registry's own API."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import httpx
import pytest
import yaml

from prompt_keda.clients.registry import INDEX_TYPES, Registry
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import ClientError
from prompt_keda.core.places import CODE
from prompt_keda.lab import image_checks, image_list

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NODE = image_list.PulledImage(
    "node", "docker.io/kindest/node", "v1.35.8", DIGEST, "Apache-2.0", "a node", ("https://example.org/notes",)
)
UNPINNED = image_list.PulledImage("keda", "ghcr.io/kedacore/keda", "2.16.1", "", "Apache-2.0", "KEDA", ())


def index(*architectures):
    """Return an index's answer; each entry is of one architecture."""
    entries = [
        {"digest": OTHER, "mediaType": "m", "platform": {"os": "linux", "architecture": name}} for name in architectures
    ]
    headers = {"Docker-Content-Digest": DIGEST, "Content-Type": INDEX_TYPES[0]}
    return httpx.Response(200, headers=headers, json={"schemaVersion": 2, "manifests": entries})


def asked(image, answer, mirror=""):
    """Check one image with a registry that answers so; return what was said, and what it was asked."""
    requests = []

    def handle(request):
        requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    result = image_checks.check("lab.images", {image.name: image}, mirror, connects(handle))
    (row,) = result.parts.images
    return row, result.exit_code, requests


def connects(handle):
    """Return what connects to a registry that answers so."""

    def connect(host):
        client = httpx.Client(base_url=f"https://{host}", transport=httpx.MockTransport(handle))
        return Registry(client, host, None)

    return connect


def test_an_image_that_is_there_for_both_platforms_is_ok():
    """Asked for by digest, at the registry's own host."""
    row, code, requests = asked(NODE, index("amd64", "arm64"))
    assert (row.verdict, code) == (Verdict.OK, 0)
    (request,) = requests
    assert str(request.url) == f"https://registry-1.docker.io/v2/kindest/node/manifests/{DIGEST}"


def test_a_token_is_fetched_without_a_login():
    """As Docker Hub and ghcr.io want it: its challenge names the token service."""

    def answer(request):
        if request.url.path == "/token":
            assert "Authorization" not in request.headers
            assert request.url.params["scope"] == "repository:kindest/node:pull"
            return httpx.Response(200, json={"token": "t"})
        if request.headers.get("Authorization") == "Bearer t":
            return index("amd64", "arm64")
        challenge = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
        return httpx.Response(401, headers={"WWW-Authenticate": challenge})

    row, code, requests = asked(NODE, answer)
    assert (row.verdict, code) == (Verdict.OK, 0) and len(requests) == 3


def test_the_mirror_is_asked_below_its_prefix():
    """The same digest, at another host."""
    row, code, requests = asked(NODE, index("amd64", "arm64"), "mirror.example:5000/hub/")
    assert code == 0 and row.reference == f"mirror.example:5000/hub/kindest/node@{DIGEST}"
    assert str(requests[0].url) == f"https://mirror.example:5000/v2/hub/kindest/node/manifests/{DIGEST}"


@pytest.mark.parametrize(
    ("answer", "verdict", "code", "words"),
    [
        (httpx.Response(404), Verdict.FAIL, 1, "has no sha256:"),
        (index("amd64"), Verdict.WARN, 0, "it is not for linux/arm64"),
        (httpx.Response(401), Verdict.UNKNOWN, 3, ""),
        (httpx.Response(403), Verdict.UNKNOWN, 3, "unauthorised, or no such image"),
        (httpx.Response(429), Verdict.UNKNOWN, 3, "asked too often"),
        (httpx.Response(503), Verdict.UNKNOWN, 3, "HTTP 503"),
        (httpx.Response(200, text="<html>"), Verdict.UNKNOWN, 3, ""),
        (httpx.ConnectError("x"), Verdict.UNKNOWN, 3, ""),
        (httpx.ConnectTimeout("x"), Verdict.UNKNOWN, 3, ""),
    ],
)
def test_only_a_registrys_own_word_is_green_or_red(answer, verdict, code, words):
    """What was not seen is unknown, and the exit code says so."""
    row, seen, _ = asked(NODE, answer)
    assert (row.verdict, seen) == (verdict, code) and words in row.observed


def test_a_list_is_pinned_by_what_the_registries_say(tmp_path):
    """What has a digest keeps it, and is not asked for; the file is read back as it was meant."""
    asked_for = []

    def handle(request):
        asked_for.append(str(request.url))
        return httpx.Response(200, headers={"Docker-Content-Digest": OTHER})

    pinned = image_checks.pin({"node": NODE, "keda": UNPINNED}, "mirror.example/hub", connects(handle))
    assert asked_for == ["https://mirror.example/v2/hub/kedacore/keda/manifests/2.16.1"]
    assert pinned["node"] == NODE and pinned["keda"].digest == OTHER
    file = tmp_path / "list.yaml"
    file.write_text(image_list.to_yaml(pinned))
    assert image_list.read(file) == pinned


def test_a_list_is_not_pinned_by_a_registry_that_does_not_answer():
    """Nothing is guessed."""

    def handle(request):
        raise httpx.ConnectError("x")

    with pytest.raises(ClientError):
        image_checks.pin({"keda": UNPINNED}, "", connects(handle))


def test_a_keda_of_another_version_than_its_manifests_is_red():
    """Its CRDs and rights come from the Go module."""
    other = dataclasses.replace(UNPINNED, tag="2.17.0", digest=DIGEST, sources=("https://example.org",))
    row, code, _ = asked(other, index("amd64", "arm64"))
    assert (row.verdict, code, row.observed) == (Verdict.FAIL, 1, "it is KEDA 2.17.0")


def test_an_image_without_a_digest_is_reported_with_that_of_its_tag():
    """So that somebody who reaches the registry can put it into the list."""
    row, code, _ = asked(UNPINNED, httpx.Response(200, headers={"Docker-Content-Digest": OTHER}))
    assert (
        (row.verdict, code) == (Verdict.WARN, 0)
        and "not pinned, so it is built" in row.observed
        and OTHER in row.observed
    )
    row, code, _ = asked(UNPINNED, httpx.ConnectError("x"))
    assert (row.verdict, code) == (Verdict.UNKNOWN, 3) and "not pinned, so it is built" in row.observed


def test_a_node_of_another_kubernetes_is_red():
    """The environment `local` accepts one minor version."""
    row, code, _ = asked(image_list.PulledImage(**{**vars(NODE), "tag": "v1.36.4"}), index("amd64", "arm64"))
    assert (row.verdict, code) == (Verdict.FAIL, 1)


def run(tmp_path, **env):
    """Run the task where no registry is reached."""
    argv = [sys.executable, str(CODE / "tasks.py"), "lab.images", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, env={"HOME": str(tmp_path), **env}, check=False)
    return done.returncode, json.loads(done.stdout)


def test_the_task_is_unknown_where_nothing_is_reached_and_refuses_a_broken_list(tmp_path):
    """By its exit code and its document."""
    code, document = run(tmp_path, PROMPT_KEDA_LAB_MIRROR="localhost:1")
    assert code == 3 and {row["verdict"] for row in document["images"]} == {"unknown"}
    broken = tmp_path / "images.yaml"
    broken.write_text(yaml.safe_dump({"images": [{"name": "node"}]}))
    code, document = run(tmp_path, PROMPT_KEDA_LAB_IMAGES=str(broken))
    assert code == 2 and "image node has no image" in document["error"]["what"]
