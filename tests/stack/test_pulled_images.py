"""The local stack of somebody who is not root, of images that are pulled by digest: from a registry of the tests' own (`mirror`).

Exhaustive: the engine, the user, the registry and the stack are the test's own. No public registry is asked.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prompt_keda.lab import image_list

from . import mirror as mirrors
from .conftest import at_the_stack_only, until
from .mirror import Mirror
from .test_users_engine import assert_nothing_is_in_the_engine, kill_lab_up, of_user, run, running_machine

pytestmark = [pytest.mark.exhaustive, at_the_stack_only]


@pytest.fixture(scope="module")
def machine():
    """A user's machine with Docker."""
    with running_machine("pullengine") as running:
        yield running


@pytest.fixture(scope="module")
def mirror(machine, tmp_path_factory):
    """A registry in the engine's network, with the node's image."""
    mirror = Mirror(machine, tmp_path_factory.mktemp("mirror"))
    try:
        mirror.start()
        yield mirror
    finally:
        mirror.stop()


def variables(file, host=mirrors.HOST):
    """Return what makes a stack of the images of a list, from a mirror."""
    return {image_list.IMAGES: file, image_list.MIRROR: host}


ZEROS = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("changed", "host", "why"),
    [
        ({"digest": ZEROS}, mirrors.HOST, "it is not there under this digest"),
        ({"image": "docker.io/kindest/none"}, mirrors.HOST, "it is not there under this digest"),
        ({}, "127.0.0.1:5057", "nothing listens there"),
        ({}, mirrors.WITH_LOGIN, "a login is wanted"),
    ],
    ids=["wrong-digest", "missing-image", "unreachable-mirror", "denied"],
)
def test_an_image_that_does_not_come_ends_with_one_message(machine, mirror, changed, host, why):
    """Which image, why, and what to do; lab.down takes away what was made until then."""
    try:
        code, document, error = run(machine, "lab.up", **variables(mirror.write_list(**changed), host))
    finally:
        down = run(machine, "lab.down")
    assert code == 3 and down[0] == 0
    (last,) = [line for line in error.splitlines() if "was not pulled" in line]
    assert why in last and f"{host}/" in last and document["error"], error
    assert_nothing_is_in_the_engine(machine)


@pytest.mark.parametrize("word", ["run", "pull", "create", "cp"])
def test_a_lab_up_killed_while_it_pulls_leaves_nothing_after_lab_down(machine, mirror, word):
    """SIGKILL in the moment in which the engine is asked for that: no container is left that programs were copied out of, or
    that ran apt-get."""
    forget_what_was_pulled(machine)
    asked = f" {word} "
    list_file = variables(mirror.write_list())
    kill_lab_up(machine, lambda: any(asked in line for line in of_user(machine)), word, **list_file)


def test_root_on_another_linux_has_its_stack_in_the_engine(machine, mirror):
    """As its users have: nothing of root's own is made. Before the users' stack, which has the same name."""
    root = machine.as_root()
    root.is_debian = False
    try:
        code, _, error = run(root, "redeploy", "--env", "local", **variables(mirror.write_list()))
        assert code == 0 and "is here, and kind in it needs no Debian" in error, error
        code, _, error = run(root, "check-deps", "--env", "local")
        assert code == 0, error
        fault = ("fault", "--id", "cluster/etcd-frozen")
        assert run(root, *fault)[0] == 0 and run(root, "check-deps", "--env", "local")[0] in (1, 3)
        reverted = run(root, *fault, "--revert")
        assert reverted[0] == 0, reverted[2]
    finally:
        down = run(root, "lab.down")
    try:
        assert down[0] == 0, down[2]
        assert_nothing_is_in_the_engine(root)
    finally:
        root.remove()


def forget_what_was_pulled(machine):
    """Take away images, and what was copied out of them and unpacked by them."""
    references = machine.docker("images", "--digests", "--format", "{{.Repository}}@{{.Digest}}").split()
    if pulled := [reference for reference in references if reference.startswith(mirrors.HOST)]:
        machine.docker("rmi", *pulled)
    build = machine.home / ".cache/prompt-keda/build"
    for folder in (*build.glob("pulled-*"), *build.glob("packages-*")):
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def without_go(machine):
    """The user's PATH without Go, and a cache in which nothing of Kubernetes, KEDA, Vault and Debian is, and not the worker."""
    build = machine.home / ".cache/prompt-keda/build"
    for pattern in ("debian-*", "kube-node-*", "kind-node-*", "keda-*", "vault-*", "worker-*", "packages-*"):
        for path in build.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    folders = machine.variables()["PATH"].split(":")
    return ":".join(folder for folder in folders if not Path(folder, "go").exists())


@pytest.fixture(scope="module")
def stack(machine, mirror, without_go):
    """A stack of pulled images on a machine that is no Debian, until scaling is verified; then nothing of it is left."""
    machine.is_debian = False
    try:
        words = {**variables(mirror.write_list()), "PATH": without_go}
        code, document, error = run(machine, "redeploy", "--env", "local", **words)
        assert code == 0, error
        yield document, error
    finally:
        down = run(machine, "lab.down")
    assert down[0] == 0, down[2]
    assert_nothing_is_in_the_engine(machine)


def test_a_redeploy_of_pulled_images_verifies_scaling(machine, stack):
    """It says that they are pulled, and why. The node is the image's; of Go modules only small ones are built, by the Go of one.

    Debian's packages come by the apt-get of an image: the machine has none.
    """
    _, error = stack
    assert "pulled: $PROMPT_KEDA_LAB_IMAGES names it" in error
    image = machine.docker("inspect", "--format", "{{.Config.Image}}", "prompt-keda-mine-control-plane").strip()
    assert image.startswith(f"{mirrors.HOST}/kindest/node@sha256:")
    build = machine.home / ".cache/prompt-keda/build"
    assert {path.name.partition("-")[0] for path in build.glob("*-*")} == {"kind", "packages", "pulled", "worker"}
    assert (build / "go").resolve().parent.name.startswith("pulled-go-")


def test_all_checks_are_green(machine, stack):
    """No check is changed for it."""
    code, _, error = run(machine, "check-deps", "--env", "local")
    assert code == 0, error


@pytest.mark.parametrize("fault", ["cluster/api-server-killed", "cluster/etcd-frozen", "cluster/kubelet-frozen"])
def test_faults_of_the_control_plane_are_seen_and_reverted(machine, stack, fault):
    """A killed part stays away, and a frozen one frozen: the probes that would start it anew are taken out of any node's."""
    assert run(machine, "fault", "--id", fault)[0] == 0
    broken = run(machine, "check-deps", "--env", "local")
    assert broken[0] in (1, 3), broken[2]  # 3: unknown
    reverted = run(machine, "fault", "--id", fault, "--revert")
    assert reverted[0] == 0, reverted[2]
    until(lambda: run(machine, "check-deps", "--env", "local")[0] == 0, 120, "all checks green")
