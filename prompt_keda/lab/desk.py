"""The desk: the stack as an operator of production sees a cluster, for tests and drills.

Commands run there as the user nobody, in a network namespace of their own from which only the API server, Vault and the
registry can be reached. They have a Kubernetes token and a Vault token of some minutes, and nothing else of the stack.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import hvac

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.core.places import CODE
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.whole_file import write_whole
from prompt_keda.lab import kubeconfig, login, network, state
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import PORTS, Lab, current_lab

USER = 65534
"""The user nobody, whom every Debian has."""
REACHABLE = ("api", "vault", "registry")
WITHHELD = ("admin_kubeconfig", "vault_role_id_file", "vault_secret_id_file")
"""Endpoints that only the stack's own user may have."""
READ_HERE = {"ca_file", "keda_manifests", "rendered_keda", "rendered_workers"}
"""Endpoints that are files which environments name."""
KEPT_VARIABLES = ("CI", "LANG", "NO_COLOR", "PATH", "PROMPT_KEDA_LAB", "TERM")


def home(lab: Lab) -> Path:
    """Return the home of the desk's user: kubeconfig, Vault token, state and cache."""
    return lab.run / "desk"


def shared_folder(lab: Lab) -> Path:
    """Return the folder whose files the desk's user and this one both read and write.

    Raises
    ------
    LabError
        When the stack is not up.
    """
    _open(lab, state.endpoints(lab))
    return home(lab) / "shared"


def command(lab: Lab, argv: Sequence[str]) -> list[str]:
    """Return the command line that runs ``argv`` at the desk, in the project's folder.

    Each call renews both tokens; while Vault is sealed or away the old one of Vault stays, as a person's would.
    The process that it starts becomes the command itself, so that a signal to it reaches the command.

    Raises
    ------
    Refusal
        When the stack lives in the user's container engine.
    LabError
        When the stack is not up, or the person gets no token.
    """
    if lab.is_users:
        raise Refusal("the desk needs root: it is another user's, in a network of its own", "Make a stack as root.")
    endpoints = state.endpoints(lab)
    _open(lab, endpoints)
    _write_endpoints(lab, endpoints)
    _write_login(lab, endpoints)
    inside = [sys.executable, "-m", "prompt_keda.lab.desk", json.dumps({"home": str(home(lab)), "argv": list(argv)})]
    return ["nsenter", f"--net=/run/netns/{_netns(lab)}", "--", "unshare", "--mount", "--", *inside]


def exec_(argv: Sequence[str]) -> int:
    """Run a command at the desk, and return its exit code. Raises as `command` does."""
    return subprocess.run(
        command(current_lab(), argv), cwd=CODE, env={**os.environ, "PYTHONPATH": str(CODE)}, check=False
    ).returncode


def close(lab: Lab) -> None:
    """Remove the desk and its network namespace; its link goes with it. Idempotent: yes."""
    if lab.is_users:  # it never had one; root's stack of the same name may
        return
    if Path(f"/run/netns/{_netns(lab)}").exists():
        run(["ip", "netns", "delete", _netns(lab)])
    if home(lab).exists():
        shutil.rmtree(home(lab))


def _netns(lab: Lab) -> str:
    return f"{lab.netns}-desk"


def _open(lab: Lab, known: dict[str, Any]) -> None:
    """Make namespace and home. The folder ``.ready`` is made last: what is half done is recreated. Idempotent: yes."""
    ready = home(lab) / ".ready"
    if ready.exists():
        return
    close(lab)
    _connect(lab, known["address"])
    # The home stays root's, so that root never writes through a link that the desk's user has put there.
    for folder in (lab.run, home(lab), home(lab) / ".kube"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
    for folder in (_known_to_user(lab), home(lab) / "cache", home(lab) / "shared"):
        private_folder(folder)
    for name in ("state", "cache", "shared"):
        for parent, _, files in os.walk(home(lab) / name):
            for path in (Path(parent), *(Path(parent, file) for file in files)):
                os.chown(path, USER, USER, follow_symlinks=False)
    ready.mkdir()


def _known_to_user(lab: Lab) -> Path:
    return home(lab) / "state/prompt-keda/lab" / lab.name


def _write_endpoints(lab: Lab, known: dict[str, Any]) -> None:
    """Write where the stack is, with copies of the files that its environments read. A delivery may have come since.

    The folder is the user's: no link of theirs is followed.
    """
    given = {key: value for key, value in known.items() if key not in WITHHELD}
    for key in READ_HERE & known.keys():
        given[key] = str(home(lab) / Path(known[key]).name)
        _replace(Path(given[key]), Path(known[key]).read_bytes())
    given["kubeconfig"] = str(home(lab) / ".kube" / "config")
    _replace(_known_to_user(lab) / "endpoints.json", json.dumps(given, indent=1).encode())


def _replace(file: Path, content: bytes) -> None:
    """Write a file again unless it says this already: another command may be reading it."""
    if not file.is_symlink() and file.exists() and file.read_bytes() == content:
        return
    write_whole(file, content, 0o644)


def _connect(lab: Lab, address: str) -> None:
    slot = address.split(".")[2]
    name, ours, theirs = _netns(lab), f"10.214.{slot}.1", f"10.214.{slot}.2"
    run(["ip", "netns", "add", name])
    run(["ip", "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", "desk0", "netns", lab.netns])
    for line in ("ip link set lo up", f"ip addr add {theirs}/30 dev eth0", "ip link set eth0 up"):
        run(["nsenter", f"--net=/run/netns/{name}", "--", *line.split()])
    inside = [f"ip addr add {ours}/30 dev desk0", "ip link set desk0 up"]
    inside += [
        f"iptables -A INPUT -i desk0 -p tcp -d {address} --dport {PORTS[service]} -j ACCEPT" for service in REACHABLE
    ]
    inside += ["iptables -A INPUT -i desk0 -j DROP", "iptables -A FORWARD -i desk0 -j DROP"]
    for line in inside:
        run([*network.enter(lab), *line.split()])
    run(["nsenter", f"--net=/run/netns/{name}", "--", "ip", "route", "add", f"{address}/32", "via", ours])


def _write_login(lab: Lab, known: dict[str, Any]) -> None:
    """Log the person oncall in, with Kubernetes by way of LDAP and with Vault, and leave the two tokens at the desk."""
    try:
        credential: Any = login.log_in(json.loads((lab.state / "login-oncall.json").read_text()))
    except SystemExit as error:
        raise LabError(str(error.code)) from error
    ca_file = home(lab) / Path(known["ca_file"]).name
    file = home(lab) / ".kube" / "config"
    kubeconfig.write(file, known["api_url"], ca_file, known["context"], {"token": credential["status"]["token"]})
    token_file = home(lab) / ".vault-token"
    token_file.touch(mode=0o600)
    vault = hvac.Client(url=known["vault_url"], verify=known["ca_file"], timeout=10)
    role_id, secret_id = (state.secret_file(lab, f"vault-{part}-id").read_text() for part in ("role", "secret"))
    with suppress(hvac.exceptions.VaultError, OSError):  # requests' errors are OSErrors
        token_file.write_text(vault.auth.approle.login(role_id, secret_id)["auth"]["client_token"])
    for path in (file, token_file):
        os.chown(path, USER, USER)


def _enter(place: str, argv: list[str]) -> None:
    """Become the command: called in a mount namespace of its own, as root."""
    _show(CODE, Path(sys.base_prefix))
    os.chdir(CODE)
    kept = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
    own = {"HOME": place, "XDG_STATE_HOME": f"{place}/state", "XDG_CACHE_HOME": f"{place}/cache"}
    limits = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    user = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    os.execvpe("setpriv", ["setpriv", *user, *limits, "--", *argv], {**kept, **own})  # noqa: S606  no shell is meant


def _show(*wanted: Path) -> None:
    """Make folders reachable that lie below one that others may not enter, such as /root: the rest stays hidden."""
    closed = {path: parent for path in wanted if (parent := _closed_parent(path))}
    opened = {path: os.open(path, os.O_PATH) for path in closed}
    for parent in set(closed.values()):
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(parent)])
    for path, descriptor in opened.items():
        path.mkdir(parents=True, exist_ok=True)
        # Not canonical: the name that the link shows is hidden by now, what it leads to is not.
        run(["mount", "--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{descriptor}", str(path)])
        os.close(descriptor)


def _closed_parent(path: Path) -> Path | None:
    return next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001), None)


if __name__ == "__main__":
    _asked = json.loads(sys.argv[1])
    _enter(_asked["home"], _asked["argv"])
