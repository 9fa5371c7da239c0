"""How people get into the stack's cluster: person → LDAP → token → API server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from prompt_keda.core.places import CODE
from prompt_keda.lab import control_plane, kubeconfig, ldap_server, login, login_server, processes
from prompt_keda.lab.pki import Authority
from prompt_keda.lab.settings import PORTS, Lab

TOKEN_TTL_S = 900


def start(lab: Lab, authority: Authority, address: str) -> dict[str, Any]:
    """Start directory and login, write the people's kubeconfigs, and return the API server's AuthenticationConfiguration."""
    ldap_server.start(lab, address)
    authority.ensure_key_pair("login-signing")
    issuer = f"https://{address}:{PORTS['login']}"
    config = login_server.Config(
        issuer=issuer,
        address=address,
        port=PORTS["login"],
        certificate=str(lab.pki / "login.crt"),
        key=str(lab.pki / "login.key"),
        signing_key=str(lab.pki / "login-signing.key"),
        ca_file=str(authority.ca_file),
        ldap_url=f"ldaps://{address}:{PORTS['ldap']}",
        people_dn=f"ou=people,{ldap_server.BASE_DN}",
        groups_dn=f"ou=groups,{ldap_server.BASE_DN}",
        token_ttl_s=TOKEN_TTL_S,
    )
    file = lab.state / "login.json"
    file.write_text(json.dumps(config.__dict__))
    argv = [sys.executable, "-m", "prompt_keda.lab.login_server", "--config", str(file)]
    processes.start(lab, "login", argv, {"PYTHONPATH": str(CODE)})
    write_kubeconfigs(lab, authority, address)
    return _authentication(issuer, authority.ca_file.read_text())


def write_kubeconfigs(lab: Lab, authority: Authority, address: str) -> None:
    """Write the people's kubeconfigs and the program that logs them in. Idempotent: yes.

    It is a copy, run by the Python that this one was made from: the stack outlives the clone that brought it up.
    """
    program = lab.state / "login.py"
    program.write_text(Path(login.__file__).read_text())
    issuer = f"https://{address}:{PORTS['login']}"
    for person, path in (("oncall", lab.people_kubeconfig), ("reader", lab.state / "reader.kubeconfig")):
        how = {
            "url": issuer,
            "ca_file": str(authority.ca_file),
            "person": person,
            "password_file": str(ldap_server.password_file(lab, person)),
        }
        file = lab.state / f"login-{person}.json"
        file.write_text(json.dumps(how))
        user = {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": str(Path(sys.executable).resolve()),
                "args": ["-I", "-S", str(program), "--config", str(file)],
                "interactiveMode": "Never",
            }
        }
        kubeconfig.write(path, control_plane.server_url(address), authority.ca_file, f"prompt-keda-{lab.name}", user)


def _authentication(issuer: str, ca: str) -> dict[str, Any]:
    """Return what the API server believes: the login server's tokens, names and groups with the prefix ``ldap:``."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [
            {
                "issuer": {
                    "url": issuer,
                    "audiences": [login_server.AUDIENCE],
                    "certificateAuthority": ca,
                },
                "claimMappings": {
                    "username": {"claim": "sub", "prefix": "ldap:"},
                    "groups": {"claim": "groups", "prefix": "ldap:"},
                },
            }
        ],
    }
