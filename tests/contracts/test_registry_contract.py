"""What the registry client promises: on the double, and on a real registry with TLS and a password."""

from __future__ import annotations

import base64
import hashlib
import json

import bcrypt
import httpx
import pytest

from prompt_keda.clients.registry import (
    ManifestInfo,
    Registry,
    credentials_for_image,
    credentials_from_docker_config,
    parse_image,
)
from prompt_keda.core.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.core.secret import Secret
from tests.contracts.conftest import SECONDS, free_port, recording, serving
from tests.contracts.fakes.registry import FakeRegistry

USER, PASSWORD, REPOSITORY = "puller", "canary-4b2e", "lsst-dm/prompt-service"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = b'{"os": "linux", "architecture": "arm64"}'
GOOD = (USER, Secret(PASSWORD))


@pytest.fixture(scope="module")
def real_registry(authority, tmp_path_factory):
    """A docker-registry on loopback that holds one index of two platforms; gives its address."""
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds=4)).decode()
    (folder / "users").write_text(f"{USER}:{hashed}\n")
    tls = {"certificate": str(authority.folder / "server.crt"), "key": str(authority.folder / "server.key")}
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "tls": tls},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "users")}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with serving(["docker-registry", "serve", folder / "config.json"], port, folder / "log"):
        yield f"https://127.0.0.1:{port}"


def push(url, ca_file):
    """Push an index of two platforms under the tag ``v1``, and give its digest."""
    import ssl

    context = ssl.create_default_context(cafile=str(ca_file))
    with httpx.Client(base_url=url, verify=context, auth=(USER, PASSWORD)) as client:
        empty = push_blob(client, b"{}")
        layers = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {**empty, "mediaType": MANIFEST}, "layers": []}
        config = push_blob(client, CONFIG)
        push_manifest(
            client, "single", json.dumps({**layers, "config": {**config, "mediaType": MANIFEST}}).encode(), MANIFEST
        )
        push_odd(client, layers)
        platforms = []
        for architecture in ("amd64", "arm64"):
            text = json.dumps({**layers, "annotations": {"for": architecture}}).encode()
            digest = push_manifest(client, digest_of(text), text, MANIFEST)
            entry = {"mediaType": MANIFEST, "digest": digest, "size": len(text)}
            platforms.append({**entry, "platform": {"os": "linux", "architecture": architecture}})
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": platforms}).encode()
        return push_manifest(client, "v1", index, INDEX)


def push_odd(client, layers):
    """Push indexes whose entries name no platform (bare, nested), one with an attestation, and an artifact."""
    config = push_blob(client, CONFIG)
    image = json.dumps({**layers, "config": {**config, "mediaType": MANIFEST}}).encode()
    nothing = json.dumps({**layers, "annotations": {"an": "artifact"}}).encode()

    def entry(text, media_type=MANIFEST, **more):
        return {"mediaType": media_type, "digest": digest_of(text), "size": len(text), **more}

    def push_index(tag, *entries):
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        push_manifest(client, tag, text, INDEX)
        return text

    for text in (image, nothing):
        push_manifest(client, digest_of(text), text, MANIFEST)
    unknown = {"platform": {"os": "unknown", "architecture": "unknown"}}
    bare = push_index("bare", entry(image))
    push_manifest(client, digest_of(bare), bare, INDEX)
    push_index("unknown", entry(image, **unknown))
    attests = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}, **unknown}
    push_index("attested", entry(image), entry(nothing, **attests))
    push_index("nested", entry(bare, INDEX))
    push_index("artifact", entry(nothing))
    push_manifest(client, "nothing", nothing, MANIFEST)


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def push_blob(client, data):
    place = client.post(f"/v2/{REPOSITORY}/blobs/uploads/").headers["Location"]
    separator = "&" if "?" in place else "?"
    octets = {"Content-Type": "application/octet-stream"}
    done = client.put(f"{place}{separator}digest={digest_of(data)}", content=data, headers=octets)
    done.raise_for_status()
    return {"digest": digest_of(data), "size": len(data)}


def push_manifest(client, reference, text, media_type):
    path = f"/v2/{REPOSITORY}/manifests/{reference}"
    client.put(path, content=text, headers={"Content-Type": media_type}).raise_for_status()
    return digest_of(text)


@pytest.fixture(params=["fake", "real"])
def served(request):
    """Return a function that connects with credentials, and the digest of the image."""
    if request.param == "fake":
        digest = digest_of(b"fake")

        def connect(credentials):
            made = FakeRegistry(wanted=GOOD, given=credentials)
            made.put(REPOSITORY, "v1", digest, INDEX, ("linux/amd64", "linux/arm64"), (digest_of(b"{}"),))
            made.put(REPOSITORY, "single", "sha256:1", blobs=(digest_of(CONFIG),))
            made.configs[digest_of(CONFIG)] = "linux/arm64"
            made.configs["nothing"] = ""
            made.put(REPOSITORY, "nothing", "sha256:2", blobs=("nothing",))
            for tag in ("bare", "unknown", "attested"):
                made.put(REPOSITORY, tag, f"sha256:{tag}", INDEX, unnamed=("sha256:1",))
            made.put(REPOSITORY, "nested", "sha256:4", INDEX, unnamed=("sha256:bare",))
            made.put(REPOSITORY, "artifact", "sha256:5", INDEX, unnamed=("sha256:2",))
            return made

        return connect, digest
    authority, url = request.getfixturevalue("authority"), request.getfixturevalue("real_registry")
    digest = push(url, authority.ca_file)
    return lambda credentials: Registry.connect("h", url, authority.ca_file, credentials, SECONDS), digest


def test_an_image_is_found_by_tag_and_by_digest(served):
    """Digest, media type and platforms."""
    connect, digest = served
    registry = connect(GOOD)
    manifest = ManifestInfo(digest, INDEX, ("linux/amd64", "linux/arm64"))
    assert registry.manifest(REPOSITORY, "v1") == registry.manifest(REPOSITORY, digest) == manifest
    assert registry.manifest_digest(REPOSITORY, "v1") == digest
    registry.close()


def test_an_image_says_its_platforms_and_its_parts(served):
    """An index in itself, a single manifest in its config; every part of what it names is there, and nothing else."""
    connect, _ = served
    registry = connect(GOOD)
    index, single = registry.manifest(REPOSITORY, "v1"), registry.manifest(REPOSITORY, "single")
    assert registry.platforms(REPOSITORY, index) == ("linux/amd64", "linux/arm64")
    assert registry.platforms(REPOSITORY, single) == ("linux/arm64",)
    manifest = registry.manifest(REPOSITORY, index.children["linux/amd64"])
    assert [registry.has_blob(REPOSITORY, blob) for blob in (*manifest.blobs, *single.blobs)] == [True, True]
    assert not registry.has_blob(REPOSITORY, digest_of(b"never pushed"))
    registry.close()


@pytest.mark.parametrize("tag", ["bare", "unknown", "attested", "nested", "artifact", "nothing"])
def test_what_an_index_does_not_say_is_read_in_its_entries(served, tag):
    """In their configs; an attestation is no image, and what says no platform anywhere has none."""
    connect, _ = served
    registry = connect(GOOD)
    info = registry.manifest(REPOSITORY, tag)
    platforms = () if tag in ("artifact", "nothing") else ("linux/arm64",)
    assert registry.platforms(REPOSITORY, info) == platforms
    assert tuple(registry.children(REPOSITORY, info)) == (() if tag == "nothing" else platforms)
    for digest in registry.children(REPOSITORY, info).values():
        assert registry.manifest(REPOSITORY, digest).blobs
    registry.close()


def test_a_manifest_of_the_old_schema_says_its_platform_and_layers_itself(authority):
    """Docker's schema 1, which some registries still serve to whoever did not ask for it."""
    old = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    layers = [{"blobSum": "sha256:l1"}, {"blobSum": "sha256:l2"}]
    text = json.dumps({"schemaVersion": 1, "architecture": "amd64", "fsLayers": layers}).encode()
    headers = {"Content-Type": old, "Docker-Content-Digest": "sha256:1"}
    with recording(authority, lambda path, asked: (200, headers, text)) as (port, _):
        registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, None, SECONDS)
        manifest = registry.manifest("a/b", "t")
        assert (manifest.media_type, manifest.blobs) == (old, ("sha256:l1", "sha256:l2"))
        assert registry.platforms("a/b", manifest) == ("linux/amd64",)
        registry.close()


def test_an_index_that_names_itself_is_asked_for_no_further(authority):
    """Nor one with very many entries that name no platform."""
    counts = iter([1, 21])
    entry = {"mediaType": INDEX, "digest": "sha256:1"}
    asked = []

    def answer(path, headers):
        asked.append(path)
        body = json.dumps({"schemaVersion": 2, "manifests": [entry] * count}).encode()
        return 200, {"Content-Type": INDEX, "Docker-Content-Digest": "sha256:1"}, body

    with recording(authority, answer) as (port, _):
        registry = Registry.connect("h", f"https://127.0.0.1:{port}", authority.ca_file, None, SECONDS)
        count = next(counts)
        assert registry.platforms("a/b", registry.manifest("a/b", "t")) == () and len(asked) < 6
        count = next(counts)
        with pytest.raises(BadAnswer, match="too many entries"):
            registry.platforms("a/b", registry.manifest("a/b", "t"))
        registry.close()


def test_a_part_is_denied_as_an_image_is(served):
    """Refused, not missing."""
    connect, _ = served
    with pytest.raises(Refused):
        connect(None).has_blob(REPOSITORY, digest_of(CONFIG))


def test_absent_is_told_from_denied(served):
    """F40: with the password a missing tag is Missing; without it everything is Refused."""
    connect, _ = served
    with pytest.raises(Missing, match="never"):
        connect(GOOD).manifest(REPOSITORY, "never")
    for credentials in (None, (USER, Secret("wrong-one"))):
        with pytest.raises(Refused) as caught:
            connect(credentials).manifest_digest(REPOSITORY, "v1")
        assert "wrong-one" not in caught.value.what


def test_tls_tcp_and_name_are_told_apart(real_registry):
    """An unknown CA, nobody there, no such name."""
    cases = [
        (real_registry, "TLS"),
        (f"https://127.0.0.1:{free_port()}", "no connection"),
        ("https://registry.invalid", "cannot be resolved"),
    ]
    for url, word in cases:
        with pytest.raises(Unreachable, match=word):
            Registry.connect("h", url, None, GOOD, SECONDS).manifest_digest(REPOSITORY, "v1")


@pytest.mark.parametrize(
    ("name", "host", "repository", "reference"),
    [
        ("redis", "docker.io", "library/redis", "latest"),
        ("kedacore/keda", "docker.io", "kedacore/keda", "latest"),
        ("localhost/a", "localhost", "a", "latest"),
        ("ghcr.io/kedacore/keda:2.16.1", "ghcr.io", "kedacore/keda", "2.16.1"),
        ("r:5000/a/b:t@sha256:12", "r:5000", "a/b", "sha256:12"),
    ],
)
def test_an_image_name_is_taken_apart(name, host, repository, reference):
    """Docker's rules."""
    image = parse_image(name)
    assert (image.host, image.repository, image.reference) == (host, repository, reference)


def test_a_pull_secret_gives_user_and_password_for_its_host_alone():
    """Both forms of docker's config; another host has none."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for entry in ({"auth": auth}, {"username": USER, "password": PASSWORD}):
        config = Secret(json.dumps({"auths": {"ghcr.io": entry}}))
        assert credentials_from_docker_config(config, "ghcr.io") == GOOD
        assert credentials_from_docker_config(config, "evil.test") is None


@pytest.mark.parametrize(
    ("key", "image", "fits"),
    [
        ("ghcr.io", "ghcr.io/lsst-dm/prompt-service:1", True),
        ("https://ghcr.io", "ghcr.io/lsst-dm/prompt-service:1", True),
        ("ghcr.io/lsst-dm", "ghcr.io/lsst-dm/prompt-service:1", True),
        ("ghcr.io/kedacore", "ghcr.io/lsst-dm/prompt-service:1", False),
        ("*.slac.test", "r.slac.test/a:1", True),
        ("*.slac.test", "slac.test/a:1", False),
        ("https://index.docker.io/v1/", "busybox", True),
        ("ghcr.io.evil.test", "ghcr.io/a:1", False),
    ],
)
def test_a_pods_pull_secret_fits_an_image_as_the_kubelet_reads_it(key, image, fits):
    """By host and path, with Docker Hub's old name, and never by a host that only looks like it."""
    config = Secret(json.dumps({"auths": {key: {"username": USER, "password": PASSWORD}}}))
    assert (credentials_for_image(config, parse_image(image)) == GOOD) is fits


@pytest.mark.parametrize("text", [PASSWORD, f'["{PASSWORD}"]', '{"auths": {"ghcr.io": {"auth": "%"}}}'])
def test_a_broken_pull_secret_is_reported_without_its_content(text):
    """Neither the message nor the chain of causes shows a part of it."""
    with pytest.raises(BadAnswer) as caught:
        credentials_from_docker_config(Secret(text), "ghcr.io")
    assert PASSWORD not in str(caught.value) and caught.value.__cause__ is None and caught.value.__context__ is None
