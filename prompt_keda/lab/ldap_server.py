"""The stack's directory: slapd over TLS, with the people of the cluster and their groups."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from pathlib import Path

from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.secret import Secret
from prompt_keda.lab import packages, processes, state
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import PORTS, Lab

SLAPD, SLAPADD = Path("/usr/sbin/slapd"), Path("/usr/sbin/slapadd")
BASE_DN = "dc=slac,dc=test"
PEOPLE = {"oncall": "prompt-keda-operators", "reader": "prompt-keda-readers"}
"""Person → the group that gives the rights."""

_CONFIG = """\
include {root}/etc/ldap/schema/core.schema
include {root}/etc/ldap/schema/cosine.schema
include {root}/etc/ldap/schema/inetorgperson.schema
modulepath {root}/usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCACertificateFile {pki}/ca.crt
TLSCertificateFile {pki}/ldap.crt
TLSCertificateKeyFile {pki}/ldap.key
access to dn.base="" by * read
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
database mdb
maxsize 10485760
suffix "{base}"
directory {folder}/data
"""


def start(lab: Lab, address: str) -> None:
    """Make the directory's data if they are not there, and start slapd. Nothing in /etc/ldap is changed."""
    folder = lab.state / "ldap"
    if not (folder / "filled").exists():
        private_folder(folder / "data")
        (folder / "slapd.conf").write_text(
            _CONFIG.format(folder=folder, pki=lab.pki, base=BASE_DN, root=str(packages.root(lab)).rstrip("/"))
        )
        passwords = {person: state.ensure_secret(lab, f"ldap-{person}") for person in PEOPLE}
        argv = [packages.program(lab, SLAPADD), "-f", str(folder / "slapd.conf"), "-q"]
        run(argv, stdin=_entries(passwords))
        (folder / "filled").touch()
    slapd = packages.program(lab, SLAPD)
    argv = [slapd, "-f", str(folder / "slapd.conf"), "-h", f"ldaps://{address}:{PORTS['ldap']}/", "-d", "0"]
    processes.start(lab, "slapd", argv)


def person_dn(person: str) -> str:
    """Return the distinguished name of a person."""
    return f"uid={person},ou=people,{BASE_DN}"


def _entries(passwords: dict[str, Secret]) -> str:
    entries = [f"dn: {BASE_DN}\nobjectClass: dcObject\nobjectClass: organization\no: local stack\ndc: slac"]
    entries += [
        f"dn: ou={unit},{BASE_DN}\nobjectClass: organizationalUnit\nou: {unit}" for unit in ("people", "groups")
    ]
    for person, group in PEOPLE.items():
        entries.append(
            f"dn: {person_dn(person)}\nobjectClass: inetOrgPerson\nuid: {person}\ncn: {person}\nsn: {person}\n"
            f"userPassword: {_salted_hash(passwords[person])}"
        )
        entries.append(
            f"dn: cn={group},ou=groups,{BASE_DN}\nobjectClass: groupOfNames\ncn: {group}\nmember: {person_dn(person)}"
        )
    return "\n\n".join(entries) + "\n"


def _salted_hash(password: Secret) -> str:
    """Return the password in the form {SSHA}, the strongest that slapd knows without modules."""
    salt = secrets.token_bytes(8)
    digest = hashlib.sha1(password.reveal().encode() + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()


def password_file(lab: Lab, person: str) -> Path:
    """Return the file, with mode 0600, that holds a person's password."""
    path = state.secret_file(lab, f"ldap-{person}")
    os.chmod(path, 0o600)
    return path
