"""Images that are pulled: the list, whether they can be pulled here, and what the engine's words lead to.

The words are those of Docker 20.10.24 and podman 4.3.1 with registries on this machine (`tests/stack/mirror.py`), and of Docker
with proxies of its own that were away, or answered 403 or 407; but for Docker Hub's own, which its documentation has, and
"context deadline exceeded".
"""

from __future__ import annotations

import os
from types import SimpleNamespace

import httpx
import pytest
import yaml

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.lab import engines, go_builds, image_list, providers, pulling, requirements
from prompt_keda.lab.commands import Children
from prompt_keda.lab.kind import built, engine, in_users_engine, ways
from prompt_keda.lab.kind.pulled import PROGRAMS, Pulled
from prompt_keda.lab.settings import KUBERNETES_VERSION, Lab

DIGEST = "sha256:" + "6b584a0a" * 8
ENTRY = {
    "name": "node",
    "image": "docker.io/kindest/node",
    "tag": "v1",
    "digest": DIGEST,
    "licence": "Apache-2.0",
    "use": "a node",
    "sources": ["https://example.org/releases"],
}
NODE = image_list.PulledImage(**{**ENTRY, "sources": tuple(ENTRY["sources"])})
GET = "Error response from daemon: Get "
SOURCE = f"Error: initializing source docker://127.0.0.1:5055/kindest/node@{DIGEST}: "
"""So podman begins."""
WORDS = {
    f"Error response from daemon: manifest for 127.0.0.1:5001/kindest/node@{DIGEST} not found: "
    "manifest unknown: manifest unknown": "it is not there under this digest",
    f"manifest verification failed for digest {DIGEST}": "what came is not what the digest says",
    f'{GET}"http://127.0.0.1:5002/v2/kindest/node/manifests/{DIGEST}": no basic auth credentials': "a login is wanted",
    f'{GET}"http://127.0.0.1:5009/v2/": dial tcp 127.0.0.1:5009: connect: connection refused': "nothing listens there",
    f'{GET}"https://10.99.9.9:5005/v2/": dial tcp 10.99.9.9:5005: connect: no route to host': "no way leads there",
    f'{GET}"https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.255.255.53:53: '
    "read udp 10.213.1.2:33578->10.255.255.53:53: i/o timeout": "its name cannot be resolved",
    f'{GET}"https://10.213.1.2:5003/v2/": http: server gave HTTP response to HTTPS client': "it speaks no TLS",
    f'{GET}"https://10.213.1.2:5004/v2/": x509: certificate signed by unknown authority': "its certificate is not trusted",
    f'{GET}"https://registry-1.docker.io/v2/": Proxy Authentication Required': "the engine's proxy wants a login",
    f'{GET}"https://registry-1.docker.io/v2/": Forbidden': "the engine's proxy refuses it",
    f'{GET}"https://registry-1.docker.io/v2/": proxyconnect tcp: dial tcp 127.0.0.1:9: connect: connection refused': (
        "the engine's proxy does not answer"
    ),
    f'{GET}"https://registry-1.docker.io/v2/": context deadline exceeded': "no answer came",
    "Error response from daemon: pull access denied for kindest/none, repository does not exist or may require 'docker login': "
    "denied: requested access to the resource is denied": "it was denied, or is not there",
    "Error response from daemon: toomanyrequests: You have reached your unauthenticated pull rate limit.": (
        "its registry lets nobody without a login pull more now"
    ),
    f"{SOURCE}reading manifest {DIGEST} in 127.0.0.1:5055/kindest/node: manifest unknown: manifest unknown": (
        "it is not there under this digest"
    ),
    f'{SOURCE}pinging container registry 127.0.0.1:5057: Get "https://127.0.0.1:5057/v2/": dial tcp 127.0.0.1:5057: connect: '
    "connection refused": "nothing listens there",
    f'{SOURCE}pinging container registry 127.0.0.1:5056: Get "https://127.0.0.1:5056/v2/": http: server gave HTTP response to '
    "HTTPS client": "it speaks no TLS",
}


def fake_docker(tmp_path, script):
    """An engine's command line that says what was recorded."""
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    return [str(program)]


@pytest.mark.parametrize("said", WORDS, ids=lambda said: WORDS[said].replace(" ", "-"))
def test_the_engines_words_become_one_message_with_a_fix(tmp_path, said):
    """Which image, why, and what to do."""
    words = tmp_path / "words"
    words.write_text(f"Pulling from kindest/node\n{said}\n")
    docker = fake_docker(tmp_path, f'[ "$1" = pull ] && cat {words} >&2; exit 1\n')
    with pytest.raises(LabError) as failed:
        pulling.pull(docker, NODE, "mirror.example/hub", lambda event: None, Children())
    assert failed.value.what == f"mirror.example/hub/kindest/node@{DIGEST} was not pulled: {WORDS[said]}"
    assert failed.value.fix


def test_who_has_podman_is_told_of_podmans_files():
    """Not of Docker's."""
    for said in WORDS:
        assert "ocker" not in pulling.explain(said, "podman")[1]
    assert (
        pulling.explain("x509: unknown", "podman")[1] == "Put its authority's into /etc/containers/certs.d/HOST/ca.crt."
    )
    assert pulling.explain("no space left on device", "podman")[1].startswith("Make room: podman system df")


def test_who_gets_no_answer_is_told_that_the_engine_has_a_proxy_of_its_own():
    """The shell's may well work, and is not asked."""
    assert "does not use your proxy, but that of its own" in pulling.explain("dial tcp 1.2.3.4:443: i/o timeout")[1]


def test_unknown_words_are_shown_without_what_would_steer_a_terminal():
    """As they are, on one line."""
    why, fix = pulling.explain("mystery \x1b[31m")
    assert why == "mystery \ufffd[31m" and image_list.IMAGES in fix


def test_an_image_that_the_engine_has_is_not_pulled(tmp_path):
    """So that a stack comes up again where no registry is reached; layers are counted while one comes."""
    docker = fake_docker(tmp_path, '[ "$1" = image ] || exit 9\n')
    events = []
    assert pulling.pull(docker, NODE, "", events.append, Children()) == f"docker.io/kindest/node@{DIGEST}"
    assert [event.detail for event in events] == ["in the engine"]
    layers = "a: Pulling fs layer\\nb: Already exists\\na: Pull complete\\nStatus: Downloaded newer image\\n"
    docker = fake_docker(tmp_path, f'[ "$1" = pull ] && printf "{layers}"\n')
    pulling.pull(docker, NODE, "", events.append, Children())
    assert "2 of 2 layers" in [event.detail for event in events]


def test_podmans_layers_are_counted(tmp_path):
    """It says when one begins, and that all are there."""
    copied = "Getting image source signatures\\nCopying blob a\\nCopying blob b\\nCopying config c\\nStoring signatures\\nc\\n"
    docker, events = fake_docker(tmp_path, f'[ "$1" = pull ] && printf "{copied}"\n'), []
    pulling.pull(docker, NODE, "", events.append, Children())
    details = [event.detail for event in events]
    assert "0 of 1 layers" in details and details[-2] == "2 of 2 layers"


COPYING = 'case $1 in create) echo 1f;; cp) [ "$2" = 1f:/usr/bin/kubectl ] && echo x >"$3";; rm) touch removed;; esac\n'


def test_a_program_is_copied_whole_or_not_at_all(tmp_path, monkeypatch):
    """And the container that it is copied out of is removed, whatever becomes of it."""
    monkeypatch.chdir(tmp_path)
    docker, target = fake_docker(tmp_path, COPYING), tmp_path / "kubectl-1"
    with pytest.raises(LabError, match="exit code 1") as failed:
        pulling.copy(docker, "a=b", {"kubectl": ("x@y", "/bin/none")}, target, Children())
    assert image_list.IMAGES in failed.value.fix and (tmp_path / "removed").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docker", "removed"]
    pulling.copy(docker, "a=b", {"kubectl": ("x@y", "/usr/bin/kubectl")}, target, Children())
    assert (target / "kubectl").read_text() == "x\n"
    assert pulling.copy(["false"], "a=b", {}, target, Children()) == target


def test_the_shipped_list_can_be_read_and_its_node_is_the_stacks_kubernetes():
    """The same minor version as the built one, which the environment `local` accepts."""
    node = image_list.read()[image_list.NODE]
    assert node.tag.removeprefix("v").split(".")[:2] == KUBERNETES_VERSION.split(".")[:2]
    assert node.reference() == f"docker.io/kindest/node@{node.digest}"
    assert node.reference("mirror.example/hub/") == f"mirror.example/hub/kindest/node@{node.digest}"


def written(tmp_path, *entries):
    file = tmp_path / "images.yaml"
    file.write_text(yaml.safe_dump({"images": list(entries)}))
    return file


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"digest": "sha256:1234"}, "image node has a digest of another form"),
        ({"digest": ""}, "has no image node with a digest"),
        ({"licence": ""}, "image node has no licence"),
        ({"sources": []}, "image node has no sources"),
        ({"sources": ["http://example.org"]}, "image node has a sources of another form"),
        ({"image": "kindest/node"}, "image node has a image of another form"),
        ({"image": ["docker.io/kindest/node"]}, "image node has a image of another form"),
        ({"sources": "https://example.org"}, "image node has a sources of another form"),
        ({"colour": "red"}, "image node has colour, which is not known"),
        ({"name": "go"}, "has no image node with a digest"),
        ({"name": "redis"}, "nothing is made of an image redis"),
    ],
)
def test_a_list_that_lacks_something_is_refused(tmp_path, changed, why):
    """With which image, and what."""
    with pytest.raises(Refusal, match=why):
        image_list.read(written(tmp_path, {**ENTRY, **changed}))


@pytest.mark.parametrize("text", ["", "images: 3", "images: [3]", "a: [", "images: [{name: [1]}]"])
def test_what_is_no_list_is_refused(tmp_path, text):
    """As is an image that stands twice."""
    file = tmp_path / "images.yaml"
    file.write_text(text)
    for broken in (file, tmp_path / "missing", written(tmp_path, ENTRY, ENTRY)):
        with pytest.raises(Refusal):
            image_list.read(broken)


@pytest.fixture
def machine(monkeypatch):
    """A machine whose registry and engine answer as its attributes say, and the variables unset."""
    machine = SimpleNamespace(has_image=False, has_built=False, trouble="")
    for name in (image_list.IMAGES, image_list.MIRROR):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(engines, "find_for_kind", lambda: engines.Engine("Docker 28", host="unix:///x"))

    def is_here(docker, reference):
        machine.asked = docker
        return machine.has_image

    monkeypatch.setattr(pulling, "is_here", is_here)
    monkeypatch.setattr(built, "is_in_cache", lambda: machine.has_built)
    monkeypatch.setattr(ways, "find_trouble", lambda host: machine.trouble)
    return machine


def test_images_are_pulled_where_the_registry_answers_else_built(machine):
    """With the reason; what the engine has already needs no registry."""
    images, why = ways.choose()
    assert (images.name, why) == ("pulled", "docker.io answers") and images.modules == ()
    machine.trouble = "no connection: refused"
    images, why = ways.choose()
    assert (images.name, why) == ("built", "docker.io cannot be used: no connection: refused") and images.modules
    machine.has_image = True
    assert ways.choose()[1] == "the engine has the node's image"


def test_who_has_built_it_goes_on_with_that(machine):
    """No registry is asked then, and nothing is pulled."""
    machine.has_built = True
    images, why = ways.choose()
    assert (images.name, why) == ("built", "the cache has the node's image")
    machine.has_image = True
    assert ways.choose()[0].name == "pulled"


def test_nothing_is_pulled_on_cgroup_version_1_unless_a_list_is_named(machine, monkeypatch):
    """The systemd of kind's node does not start there: not by a mirror, and not where the engine has the image."""
    old = engines.Engine("Docker 28", host="unix:///x", cgroup_version="1")
    monkeypatch.setattr(engines, "find_for_kind", lambda: old)
    monkeypatch.setenv(image_list.MIRROR, "mirror.example")
    machine.has_image = True
    images, why = ways.choose()
    assert images.name == "built" and "cgroup version 1" in why
    monkeypatch.setenv(image_list.IMAGES, "pulled")
    assert ways.choose()[0].name == "pulled"


def test_no_registry_is_asked_where_no_engine_could_pull(machine, monkeypatch):
    """Whoever has none is refused, and does not wait for a registry first."""
    monkeypatch.setattr(engines, "find_for_kind", lambda: None)
    monkeypatch.setattr(ways, "find_trouble", lambda host: pytest.fail("a registry was asked"))
    assert ways.choose()[0].name == "built"
    assert providers.with_images(providers.IN_USERS_ENGINE)[1] == ""


@pytest.mark.parametrize(("program", "variable"), [("docker", "DOCKER_HOST"), ("podman", "CONTAINER_HOST")])
def test_the_engine_that_kind_would_use_is_asked(machine, monkeypatch, program, variable):
    """Docker or podman, each where it listens, by its own program."""
    monkeypatch.setattr(engines, "find_for_kind", lambda: engines.Engine("x", host="unix:///x", program=program))
    ways.choose()
    assert machine.asked == ["env", f"{variable}=unix:///x", program]


def test_the_variables_win(machine, monkeypatch, tmp_path):
    """Also where no registry answers: whoever names a mirror wants no compiler. What is neither is refused."""
    machine.trouble = "no connection: refused"
    monkeypatch.setenv(image_list.MIRROR, "mirror.example")
    images, why = ways.choose()
    assert (images.name, images.mirror, why) == ("pulled", "mirror.example", "$PROMPT_KEDA_LAB_MIRROR is set")
    monkeypatch.setenv(image_list.IMAGES, "built")
    assert ways.choose()[0].name == "built"
    monkeypatch.setenv(image_list.IMAGES, str(written(tmp_path, ENTRY)))
    assert ways.choose()[0].images["node"].digest == DIGEST
    monkeypatch.setenv(image_list.IMAGES, "pull")
    with pytest.raises(Refusal, match="neither built nor pulled"):
        ways.choose()


@pytest.mark.parametrize(
    "named", ["https://mirror.example", "mirror", "mirror.example/A", "a.b@c", "mirror.example//x"]
)
def test_a_mirror_of_another_form_is_refused(monkeypatch, named):
    """Before anything is asked of it; a port and a path are taken."""
    monkeypatch.setenv(image_list.MIRROR, named)
    with pytest.raises(Refusal, match=r"is not HOST\[/PREFIX\]"):
        image_list.mirror()
    monkeypatch.setenv(image_list.MIRROR, "mirror.example:5000/docker-hub/")
    assert NODE.reference(image_list.mirror()) == f"mirror.example:5000/docker-hub/kindest/node@{DIGEST}"


def test_root_pulls_nothing(machine, monkeypatch):
    """Its engine reaches no network: asked for it, it is refused; without root it is told."""
    root, user = providers.PROVIDERS[1], providers.IN_USERS_ENGINE
    assert root.engine is engine and user.engine is in_users_engine
    assert providers.with_images(root) == (root, "")
    chosen, whence = providers.with_images(user)
    assert chosen.images.name == "pulled" and whence == "pulled: docker.io answers"
    assert {module.name for module in chosen.modules} == {"kind"}
    monkeypatch.setenv(image_list.IMAGES, "pulled")
    with pytest.raises(Refusal, match="this stack of root's takes none"):
        providers.with_images(root)


@pytest.mark.parametrize(("status", "trouble"), [(200, ""), (401, ""), (503, "HTTP 503")])
def test_a_registry_answers_with_or_without_asking_who_it_is(monkeypatch, status, trouble):
    """Both are answers; anything else is not."""
    asked = []

    def answer(request):
        asked.append(str(request.url))
        return httpx.Response(status)

    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(ways.proxied, "client", lambda *place, timeout: httpx.Client(transport=transport))
    assert ways.find_trouble("registry-1.docker.io") == trouble and asked == ["https://registry-1.docker.io/v2/"]


@pytest.fixture
def no_proxies(monkeypatch):
    """The machine's own proxies are none of a test's business."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def test_a_registry_that_is_not_reached_says_why(no_proxies):
    """As all clients of the toolkit say it."""
    assert ways.find_trouble("localhost:1") == "no connection: refused"
    assert ways.find_trouble("registry.invalid") == "its name cannot be resolved"


@pytest.mark.parametrize(
    ("variable", "value", "trouble"),
    [
        ("ALL_PROXY", "socks5://u:ca55@h:1", "a SOCKS proxy (ALL_PROXY, HTTPS_PROXY) is not supported"),
        ("HTTPS_PROXY", "nonsense://u:ca55@h:1", "makes no sense"),
        ("HTTPS_PROXY", "http://u:ca55/x@h:1", "makes no sense"),
        ("NO_PROXY", "::1/128", "NO_PROXY makes no sense"),
        ("NO_PROXY", "fd00::/8", "NO_PROXY makes no sense"),
        ("NO_PROXY", "[::1]", "NO_PROXY makes no sense"),
        ("HTTPS_PROXY", "http://u:ca55@127.0.0.1:9", "no connection: refused, through the proxy of HTTPS_PROXY"),
    ],
)
def test_a_proxy_that_is_no_help_is_a_reason_and_no_error(variable, value, trouble, no_proxies, monkeypatch):
    """lab.up goes on with what can be built; what was set is not shown, as it may hold a password."""
    monkeypatch.setenv(variable, value)
    told = ways.find_trouble("registry.invalid")
    assert trouble in told and "ca55" not in told and "127.0.0.1" not in told


@pytest.mark.parametrize(
    ("engine", "name", "why"),
    [
        (
            {"has_proxy": True},
            "pulled",
            "the engine has a proxy of its own; to this machine docker.io does not answer: x",
        ),
        (
            {"has_mirror": True},
            "pulled",
            "the engine has a mirror of its own; to this machine docker.io does not answer: x",
        ),
        ({}, "built", "docker.io cannot be used: x"),
    ],
)
def test_where_the_engine_alone_has_a_way_it_pulls(machine, monkeypatch, engine, name, why):
    """A proxy or a mirror of its own; a mirror is Docker Hub's alone."""
    machine.trouble = "x"
    here = engines.Engine("Docker 28", host="unix:///x", **engine)
    monkeypatch.setattr(engines, "find_for_kind", lambda: here)
    images, told = ways.choose()
    assert (images.name, told) == (name, why)
    assert here.find_way("ghcr.io") == ("a proxy" if here.has_proxy else "")


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """A stack in an engine whose images are all there, and what was copied out of them."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    copied = []

    def copy(docker, label, wanted, target, children):
        copied.append(wanted)
        (target / "go/bin").mkdir(parents=True)
        (target / "go/bin/go").write_text("#!/bin/sh\necho go1.26.8\n")
        (target / "go/bin/go").chmod(0o755)
        return target

    monkeypatch.setattr(pulling, "pull", lambda docker, image, *rest: image.reference())
    monkeypatch.setattr(pulling, "copy", copy)
    lab = Lab("probe")
    object.__setattr__(lab, "copied", copied)
    return lab


def pinned(*names):
    return {
        name: image_list.PulledImage(**{**vars(NODE), "name": name, "image": f"x.example/{name}"}) for name in names
    }


KEDAS = image_list.KEDA


def fetched(images, module, lab):
    return Pulled(images, "").fetch(lab, ["docker"], module, lambda event: None, Children())


def test_kedas_programs_are_copied_out_of_its_images_if_all_are_pinned(lab):
    """Where upstream has them, under the names that the builds give them. Where one is not pinned, all are built."""
    folder = fetched(pinned("node", *KEDAS), go_builds.KEDA, lab)
    assert folder.name.startswith("pulled-keda-")
    (wanted,) = lab.copied
    assert set(wanted) == set(go_builds.KEDA.programs)
    assert {image for image, _ in PROGRAMS[go_builds.KEDA.name].values()} == set(KEDAS)
    assert wanted["adapter"] == (f"x.example/keda-metrics-apiserver@{DIGEST}", "/keda-adapter")
    some = pinned("node", *KEDAS) | {"keda": image_list.PulledImage(**{**vars(NODE), "name": "keda", "digest": ""})}
    for images in (some, pinned("node", *KEDAS[:2])):
        assert fetched(images, go_builds.KEDA, lab) is None
    assert len(lab.copied) == 1


def test_go_comes_out_of_its_image_where_the_path_has_none_that_will_do(lab, monkeypatch, tmp_path):
    """And is found from then on, until the machine has one that is new enough; without it in the list nothing happens."""
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent))
    assert fetched(pinned("node"), go_builds.WORKER, lab) is None and go_builds.go() == "go"
    for _ in range(2):
        assert fetched(pinned("node", "go"), go_builds.WORKER, lab) is None
    assert lab.copied == [{"go": (f"x.example/go@{DIGEST}", "/usr/local/go")}]
    assert go_builds.go() == str(go_builds.copied_go()) and go_builds.find_version(go_builds.go()) == "1.26.8"
    for version, used in (("go1.19.8", str(go_builds.copied_go())), ("go1.27.0", "go")):
        program.write_text(f"#!/bin/sh\necho {version}\n")
        program.chmod(0o755)
        assert go_builds.go() == used


def test_a_machine_without_go_is_not_refused_where_go_comes_along(monkeypatch, tmp_path):
    """As it is for who builds all."""
    monkeypatch.setenv("PATH", str(tmp_path))
    looked = (requirements._has_go,)
    monkeypatch.setattr(requirements, "REQUIREMENTS_OF_USERS", looked)
    with pytest.raises(Refusal, match="there is no Go here"):
        requirements.check(needs_root=False)
    requirements.check(needs_root=False, brings=frozenset({"go"}))
