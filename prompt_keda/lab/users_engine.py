"""The user's own Docker or podman, in which a stack without root lives: its network there, and how commands reach the engine.

Which engine that is, is kept when the stack is made. From then on the user's own settings for it are neither read nor written.
Both take the same commands; where they differ stands in `CommandLine`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.core.places import CODE
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.waiting import looks
from prompt_keda.lab import images, packages
from prompt_keda.lab.commands import run
from prompt_keda.lab.engines import Engine
from prompt_keda.lab.settings import Lab, cache_home

SHELL = "kind.local/shell:1"
"""An image with nothing in it but the links of a Debian's root: what it is run with is mounted."""
MERGED = {f"/{name}": f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}
OWNER = "prompt-keda.stack"
"""Label of the stack's network and of containers that help to build: the stack's state folder."""
NODE_OF = "io.x-k8s.kind.cluster"
"""kind's label of a node: its cluster."""
END_S = 30
MAKE_ROOM = "Make room where the engine keeps its images: docker system df (or podman system df) shows what takes it."


@dataclass(frozen=True)
class CommandLine:
    """What differs between the engines for whoever calls them.

    Parameters
    ----------
    program
        Its name, and kind's name of the engine.
    host
        The variable that names where the engine listens.
    settings
        Variables that name the folders of its settings.
    users
        How the names of variables begin that would lead it elsewhere.
    remove
        The words that end a container at once, and remove it with its volumes.
    gateway
        The template by which ``network inspect`` gives the gateway's address.
    keeps_bridge
        Whether that address is this machine's as long as the network is there; else only while a container is in it.
    """

    program: str
    host: str
    settings: tuple[str, ...]
    users: tuple[str, ...]
    remove: tuple[str, ...]
    gateway: str
    keeps_bridge: bool


DOCKER = CommandLine(
    program="docker",
    host="DOCKER_HOST",
    settings=("DOCKER_CONFIG",),
    users=("DOCKER_", "KIND_"),
    remove=("rm", "--force", "--volumes"),
    gateway="{{(index .IPAM.Config 0).Gateway}}",
    keeps_bridge=True,
)
PODMAN = CommandLine(
    program="podman",
    host="CONTAINER_HOST",
    settings=("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"),
    users=("CONTAINER", "PODMAN_", "REGISTRY_AUTH_FILE", "KIND_"),
    remove=("rm", "--force", "--volumes", "--time=0"),
    gateway="{{(index .Subnets 0).Gateway}}",
    keeps_bridge=False,
)
COMMAND_LINES = {line.program: line for line in (DOCKER, PODMAN)}


def keep(lab: Lab, engine: Engine) -> None:
    """Note in which engine a stack is to live, before anything of it is made. Idempotent: yes."""
    private_folder(lab.state)
    lab.users_engine.write_text(json.dumps({"name": engine.name, "program": engine.program, "host": engine.host}))


def command_line(lab: Lab) -> CommandLine:
    """Return how the stack's engine is called."""
    return COMMAND_LINES[_kept(lab).get("program", DOCKER.program)]


def _kept(lab: Lab) -> dict[str, str]:
    kept: dict[str, str] = json.loads(lab.users_engine.read_text())
    return kept


def mark(lab: Lab) -> str:
    """Return the variable that each process of a stack without a cgroup has in its environment, and so have its children."""
    return f"PROMPT_KEDA_STACK={lab.state}"


def marked(lab: Lab) -> list[str]:
    """Return the start of a command line whose process ends with the stack."""
    return ["env", mark(lab)]


def environment(lab: Lab) -> dict[str, str]:
    """Return the environment in which the engine is found, and nothing else of the user's settings for it."""
    users = command_line(lab).users
    return {name: value for name, value in os.environ.items() if not name.startswith(users)} | _own(lab)


def docker(lab: Lab) -> list[str]:
    """Return the start of a command line for the engine. What a killed `lab.up` was about to ask is ended, too."""
    line = command_line(lab)
    users = (f"--unset={name}" for name in os.environ if name.startswith(line.users))
    return ["env", *users, *(f"{name}={value}" for name, value in _own(lab).items()), mark(lab), line.program]


def _own(lab: Lab) -> dict[str, str]:
    """Return the variables that say where the engine is, and that a folder of the stack's stands for the user's settings."""
    line = command_line(lab)
    folder = private_folder(lab.state / "engine-config")
    return {line.host: _kept(lab)["host"], **dict.fromkeys(line.settings, str(folder))}


def in_node(lab: Lab) -> list[str]:
    """Return the start of a command line that runs in the node's container, with the node's programs."""
    return [*docker(lab), "exec", "--interactive", node(lab)]


def node(lab: Lab) -> str:
    """Return the name of the node's container."""
    return f"{network(lab)}-control-plane"


def beside_node(lab: Lab) -> list[str]:
    """Return the start of a command line that runs this machine's programs in the node's network."""
    network_of_node = f"--network=container:{node(lab)}"
    return with_this_machines_programs(lab, "--interactive", network_of_node, "--env=REDISCLI_AUTH")


def with_this_machines_programs(lab: Lab, *options: str, folder: Path | None = None) -> list[str]:
    """Return the start of a command line that runs as root in a container, which ends with the stack.

    It sees this machine's programs, unpacked packages (the stack's, if no others are named) and the project, read-only, and has
    an image with nothing in it.
    """
    _ensure_shell(lab)
    folder = folder or packages.root(lab)
    shown = {"/usr", "/etc", str(folder), str(CODE), sys.prefix, sys.base_prefix}
    path = f"{folder}/{packages.PROGRAMS_FOLDER}:/usr/bin:/usr/sbin"
    env = {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}
    return [
        *(*docker(lab), "run", "--rm", "--privileged", f"--label={OWNER}={lab.state}", "--tmpfs=/run"),
        *(f"--volume={path}:{path}:ro" for path in sorted(shown)),
        *(f"--env={name}={value}" for name, value in env.items()),
        *options,
        SHELL,
    ]


def in_image(lab: Lab, reference: str, folder: Path) -> list[str]:
    """Return the start of a command line that runs in an image, as the user, writes into that folder, and ends with the stack.

    Proxies are passed by their variables' names, also those in lower case, which whoever runs it may set.
    """
    variables = [name for name in os.environ if name.lower().endswith("_proxy")]
    proxies = (f"--env={name}" for name in sorted({*variables, *map(str.lower, variables)}))
    return [
        *(*docker(lab), "run", "--rm", f"--name={_of_image(lab)}", "--network=host", f"--label={OWNER}={lab.state}"),
        *(f"--user={os.getuid()}:{os.getgid()}", f"--volume={folder}:{folder}"),
        "--security-opt=label=disable",  # SELinux lets no container into folders of a user
        *proxies,
        reference,
    ]


def end_image(lab: Lab) -> None:
    """End the container of `in_image`, which goes on when its command line is killed. Idempotent: yes."""
    if ids := _containers(lab, f"name={_of_image(lab)}", f"label={OWNER}={lab.state}"):
        with suppress(LabError):  # it has just ended
            run([*docker(lab), *command_line(lab).remove, *ids])


def _of_image(lab: Lab) -> str:
    return f"{network(lab)}-apt"


def _ensure_shell(lab: Lab) -> None:
    if not run([*docker(lab), "images", "--quiet", SHELL]).strip():
        image = images.ImageContents("shell", "1", {}, (), links=MERGED)
        layer = images.build(image, cache_home() / "prompt-keda" / "images").layer
        run([*docker(lab), "import", str(layer), SHELL], fix=f"Is its disk full? {MAKE_ROOM}")


def network(lab: Lab) -> str:
    """Return the name of the stack's network in the engine, which is its cluster's as well."""
    return f"prompt-keda-{lab.name}"


def make_network(lab: Lab) -> str:
    """Make the stack's network, and return its gateway's address, which is this machine's. Idempotent: yes.

    Raises
    ------
    Refusal
        When another's stack has that name in this engine.
    LabError
        When the engine refuses, or runs its containers on another machine.
    """
    owner = _owner(lab)
    if owner is None:
        run([*docker(lab), "network", "create", "--label", f"{OWNER}={lab.state}", network(lab)])
    elif owner != str(lab.state):
        what = f"the container engine has a network {network(lab)} that is not this stack's"
        raise Refusal(what, "Take another name: PROMPT_KEDA_LAB=another ./run lab.up")
    line = command_line(lab)
    if not line.keeps_bridge:
        _hold_bridge(lab)
    address = run([*docker(lab), "network", "inspect", "--format", line.gateway, network(lab)]).strip()
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            what = f"{address}, where containers reach this machine, is not an address of this machine"
            raise LabError(what, "The container engine has to run its containers on this very machine.") from error
    return address


def _hold_bridge(lab: Lab) -> None:
    """Keep a container in the stack's network that does nothing, unless one of the stack's runs there."""
    if run([*docker(lab), "ps", "--quiet", f"--filter=network={network(lab)}"]).strip():
        return
    _ensure_shell(lab)
    options = ["--detach", "--replace", f"--name={network(lab)}-gateway", f"--label={OWNER}={lab.state}"]
    sleep = ["--volume=/usr:/usr:ro", SHELL, "/usr/bin/sleep", "infinity"]
    run([*docker(lab), "run", *options, f"--network={network(lab)}", *sleep])


def remove_all(lab: Lab) -> None:
    """Remove the stack's containers with their volumes, and its network. Idempotent: yes.

    An engine may go on making what a killed command has asked it for: it is asked again until nothing is left.

    Raises
    ------
    LabError
        When something does not go.
    """
    for _ in looks(END_S):
        ids, volumes = _containers(lab, f"label={OWNER}={lab.state}"), []
        if has_network := _owner(lab) == str(lab.state):
            ids += _containers(lab, f"network={network(lab)}", f"label={NODE_OF}={network(lab)}")
            volumes = run([*docker(lab), "volume", "ls", "--quiet", f"--filter=label={node(lab)}"]).split()
        try:
            if ids:
                run([*docker(lab), *command_line(lab).remove, *ids])
            elif volumes:  # kind has made them for podman before the container, labelled as that is called
                run([*docker(lab), "volume", "rm", "--force", *volumes])
            elif has_network:
                run([*docker(lab), "network", "rm", network(lab)])
            else:
                return
            failed = LabError(f"the container engine goes on making {' '.join(ids + volumes)}", "./run lab.down again.")
        except LabError as error:
            failed = error
    raise failed


def _containers(lab: Lab, *filters: str) -> list[str]:
    """Return the ids of the containers, also of those that have ended, for which all of these filters hold."""
    return run([*docker(lab), "ps", "--all", "--quiet", *(f"--filter={wanted}" for wanted in filters)]).split()


def _owner(lab: Lab) -> str | None:
    """Return the stack folder that the network in the engine is labelled with; None if there is no such network."""
    listed = run([*docker(lab), "network", "ls", "--filter", f"name={network(lab)}", "--format", "{{.Name}}"])
    if network(lab) not in listed.split():  # the filter takes a part of a name
        return None
    template = f'{{{{index .Labels "{OWNER}"}}}}'
    return run([*docker(lab), "network", "inspect", "--format", template, network(lab)]).strip()
