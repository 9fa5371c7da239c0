"""Pulling images into the user's container engine, and copying programs out of them.

The engine compares what comes with the digest. It is asked without the user's Docker settings, and so without a login. Its words
were recorded from Docker 20.10.24, but for those of Docker Hub (tests/unit/lab/test_pulling.py).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.private_folder import appear, private_folder
from prompt_keda.core.untrusted import one_line
from prompt_keda.lab.commands import Children, run
from prompt_keda.lab.image_list import IMAGES, MIRROR, PulledImage
from prompt_keda.lab.settings import cache_home

PULL_S, COPY_S = 3600, 600
UNREACHABLE = (
    "Is there a way to it? The engine does not use your proxy, but that of its own environment."
    f" A mirror: {MIRROR}=HOST[/PREFIX]. Nothing pulled, but compiled: {IMAGES}=built."
)
NO_LOGIN = "Take a mirror without a login: your settings of the engine are not read."
ENGINES_PROXY = "Correct HTTPS_PROXY or NO_PROXY where the engine itself is started."
TROUBLES = {
    "Proxy Authentication Required": ("the engine's proxy wants a login", ENGINES_PROXY),
    '": Forbidden': ("the engine's proxy refuses it", ENGINES_PROXY),
    "proxyconnect": ("the engine's proxy does not answer", ENGINES_PROXY),
    "manifest unknown": (
        "it is not there under this digest",
        "Compare the list: ./run lab.images. Is the mirror complete?",
    ),
    "manifest verification failed": (
        "what came is not what the digest says",
        "Take another mirror: this one was changed.",
    ),
    "no basic auth credentials": ("a login is wanted", NO_LOGIN),
    "unauthorized": ("a login is wanted", NO_LOGIN),
    "denied": ("it was denied, or is not there", f"Compare the list: ./run lab.images. {NO_LOGIN}"),
    "toomanyrequests": ("its registry lets nobody without a login pull more now", f"Wait, or {MIRROR}=HOST[/PREFIX]."),
    "HTTP response to HTTPS client": ("it speaks no TLS", "{insecure}"),
    "x509:": ("its certificate is not trusted", "Put its authority's into {authorities}/HOST/ca.crt."),
    "no space left on device": ("the engine's disk is full", "Make room: {program} system df shows what takes it."),
    "connection refused": ("nothing listens there", UNREACHABLE),
    "no route to host": ("no way leads there", UNREACHABLE),
    "no such host": ("its name cannot be resolved", UNREACHABLE),
    "dial tcp: lookup": ("its name cannot be resolved", UNREACHABLE),
    "context deadline exceeded": ("no answer came", UNREACHABLE),
    "timeout": ("no answer came", UNREACHABLE),
    "Client.Timeout": ("no answer came", UNREACHABLE),
}
"""Words of the engine → what they mean, and what to do. The first that fit count."""


SETTINGS = {
    "docker": {
        "insecure": "Docker's daemon.json may name it in insecure-registries.",
        "authorities": "/etc/docker/certs.d",
    },
    "podman": {
        "insecure": "/etc/containers/registries.conf may name it with insecure = true.",
        "authorities": "/etc/containers/certs.d",
    },
}
"""Program → what stands for ``{insecure}`` and ``{authorities}`` in what to do."""


def pull(docker: Sequence[str], image: PulledImage, mirror: str, observer: Observer, children: Children) -> str:
    """Let the engine pull an image unless it has it, and return its reference by digest. Idempotent: yes.

    Raises
    ------
    LabError
        When it does not come; with why, and what to do about it.
    """
    reference, subject, began = image.reference(mirror), f"pull/{image.name}", time.monotonic()
    if is_here(docker, reference):
        observer(Event(EventKind.FINISHED, subject, "done", "in the engine"))
        return reference
    observer(Event(EventKind.STARTED, subject, "working", f"{image.image}:{image.tag}"))
    layers, done, last = 0, 0, "it said nothing"
    argv, options = [*docker, "pull", reference], {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    with children.start(argv, stdout=subprocess.PIPE, **options) as running:
        for line in running.stdout or ():
            last = line.strip() or last
            layers += any(words in line for words in ("Pulling fs layer", "Already exists", "Copying blob"))
            done += "Pull complete" in line or "Already exists" in line
            done = layers if "Copying config" in line else done  # podman says no more of its layers
            detail = f"{done} of {layers} layers"
            observer(Event(EventKind.PROGRESS, subject, "working", detail, time.monotonic() - began))
        code = running.wait(PULL_S)
    if code:
        why, fix = explain(last, Path(docker[-1]).name)
        raise LabError(f"{reference} was not pulled: {why}", fix)
    observer(Event(EventKind.FINISHED, subject, "done", f"{image.image}:{image.tag}", time.monotonic() - began))
    return reference


def is_here(docker: Sequence[str], reference: str) -> bool:
    """Return whether the engine has an image."""
    argv = [*docker, "image", "inspect", "--format", "{{.Id}}", reference]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def explain(message: str, program: str = "docker") -> tuple[str, str]:
    """Return why an image was not pulled, and what to do about it, out of what the engine said last by its program."""
    for words, (why, fix) in TROUBLES.items():
        if words in message:
            return why, fix.format(program=program, **SETTINGS[program])
    return one_line(message)[:300], UNREACHABLE


def copy(
    docker: Sequence[str], label: str, wanted: Mapping[str, tuple[str, str]], target: Path, children: Children
) -> Path:
    """Copy files and folders out of images that the engine has into a folder of the cache, and return that folder.

    It appears whole or not at all. Idempotent: yes.

    Parameters
    ----------
    label
        That of containers that end with the stack.
    wanted
        Name in the folder → reference of the image, and path in it.

    Raises
    ------
    LabError
        When an image does not have what is wanted of it.
    """
    if target.exists():
        return target
    scratch = private_folder(target.with_name(f"{target.name}.{os.getpid()}"))
    try:
        for name, (reference, inside) in wanted.items():
            container = run([*docker, "create", "--label", label, reference, "none"], children=children).strip()
            try:
                fix = f"Does the list name the right image? {IMAGES}=built does without it."
                argv = [*docker, "cp", f"{container}:{inside}", str(scratch / name)]
                run(argv, timeout_s=COPY_S, fix=fix, children=children)
            finally:
                run([*docker, "rm", "--volumes", container])  # HashiCorp's image declares some
        appear(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def folder(*images: PulledImage) -> Path:
    """Return the folder of the cache that holds, or will hold, what is copied out of images."""
    digests = "".join(image.digest for image in images).encode()
    name = f"pulled-{images[0].name}-{hashlib.sha256(digests).hexdigest()[:16]}"
    return private_folder(cache_home() / "prompt-keda" / "build") / name
