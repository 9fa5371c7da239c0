"""discover: the values of an environment that its cluster shows, as a diff to its file; or a first file for a cluster."""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prompt_keda.commands.session import OWN_ENVIRONMENTS, Session, open_file
from prompt_keda.components.discovery import discover as look
from prompt_keda.core.errors import EnvironmentFileError, Refusal
from prompt_keda.core.places import ENVIRONMENTS
from prompt_keda.core.strict_yaml import read_text
from prompt_keda.core.untrusted import one_line
from prompt_keda.environment.edit import PLACE, edited, key_of, write_values
from prompt_keda.environment.loading import unfilled
from prompt_keda.environment.model import NAME, NAME_WANTED, Environment, FillIn
from prompt_keda.environment.proposals import Proposal, propose
from prompt_keda.redeploy.approval import Ask
from prompt_keda.report.discovery_as_text import DiscoveryReport, Gap, KeyChange
from prompt_keda.report.result import Result

FIRST = """\
# Written by ./run discover --new on {date}, from what the cluster shows. Look at each value once: who runs the cluster
# decides what belongs there. What it does not show says FILL-IN; environments/README.md says what each key means.
name: {name}
description: A cluster with KEDA, first seen on {date}
approval: digest
kubernetes:
  {kubeconfig}context: {context}
  identity: # as the cluster showed it that day: compare it once with what its owners say
    ca_sha256: "FILL-IN: SHA-256 of the DER form of the cluster's CA certificate; its owners know it"
    kube_system_uid: "FILL-IN: kubectl get namespace kube-system -o jsonpath={{.metadata.uid}}"
  accepted_versions: ["FILL-IN: the minor version of the API server"]
vault:
  url: "FILL-IN: https address of the Vault that holds the secrets"
  mount: secret
  kv_version: 2 # cannot be seen: vault secrets list -detailed (options: version)
  login: {{method: token}} # your own token: $VAULT_TOKEN, or what "vault login" left
redis:
  namespace: "FILL-IN: the namespace of Redis' Service"
  service: "FILL-IN: the name of Redis' Service"
registries: []
keda:
  version: "FILL-IN: KEDA's version"
  namespace: keda
  delivery: manifests
  manifests:
    source: "FILL-IN: KEDA's manifests, a path or an https address"
    sha256: "FILL-IN: their SHA-256"
secrets: []
instruments: []
smoke:
  image: "FILL-IN: a small worker image by digest that this cluster can pull, see docs/local-stack.md"
"""


def discover(session: Session, write: bool, differing: bool, ask: Ask | None) -> Result[DiscoveryReport]:
    """Propose every value that an environment's cluster shows. It reads the cluster, and writes the file alone.

    A value that a person has written, and that differs, is shown and left alone: it says what should be, and the cluster
    may be what is broken.

    Parameters
    ----------
    write
        Write the file without a question.
    differing
        Take what differs as well: after an upgrade, say, which the file should follow.
    ask
        None: there is no terminal; then nothing is written unless ``write``.

    Raises
    ------
    Refusal
        When the cluster is another one than the file names: its identity is changed by enrol alone.
    EnvironmentFileError
        When the file cannot be changed safely.
    ClientError
        When the cluster cannot be asked.
    """
    file, environment, placeholders = session.file, session.environment, session.systems.placeholders
    discovered = look(session.systems.kube, environment)
    proposals, refused = propose(file, environment, placeholders, discovered.seen)
    _refuse_another_cluster(session, proposals)
    chosen = [proposal for proposal in proposals if differing or not proposal.differs]
    values = {proposal.where: proposal.proposed for proposal in chosen}
    before = read_text(file)
    diff = _diff(file, before, edited(before, values, file))
    if chosen and (write or (ask is not None and _agrees(ask, file, diff))):
        write_values(file, environment, values, placeholders, "proposed values")
        write = True
    parts = DiscoveryReport(
        file=str(file),
        changes=[_change(proposal, proposal in chosen) for proposal in proposals],
        diff=diff,
        written=bool(chosen) and write,
        not_seen=discovered.not_seen + refused,
        notes=discovered.notes,
        open=[Gap(key, wanted) for key, wanted in _open(environment, chosen)],
    )
    return Result("discover", environment.name, session.header(), parts)


def discover_new(name: str, context: str, kubeconfig: str) -> Result[DiscoveryReport]:
    """Write a first environment file, ``environments/NAME.yaml``, for any cluster with KEDA on it.

    Parameters
    ----------
    name
        The environment's name.
    context
        The context of the cluster in the kubeconfig.
    kubeconfig
        Its path; empty: what kubectl would take.

    Raises
    ------
    Refusal
        When the name cannot be an environment's, is one already, or no context is named.
    EnvironmentFileError
        When the file cannot be written.
    ClientError
        When the cluster cannot be asked.
    """
    place = OWN_ENVIRONMENTS / f"{name}.yaml"
    if not re.fullmatch(NAME, name):
        raise Refusal(f"--new {name!r} cannot name an environment", f"{NAME_WANTED} expected.")
    if not context:
        raise Refusal("say which cluster: --context NAME", "kubectl config get-contexts names them.")
    for file in (place, ENVIRONMENTS / place.name):
        if os.path.lexists(file):
            raise Refusal(f"{file} already exists", f"./run discover --env {name} compares it with its cluster.")
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / place.name
        where = json.dumps(os.path.abspath(os.path.expanduser(kubeconfig)), ensure_ascii=False)
        words = {
            "name": name,
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "context": json.dumps(context, ensure_ascii=False),
        }
        draft.write_text(FIRST.format(kubeconfig=f"kubeconfig: {where}\n  " if kubeconfig else "", **words))
        with open_file(name, draft) as session:
            result = discover(session, True, True, None)
        _place(place, read_text(draft))
    return replace(result, parts=replace(result.parts, file=str(place), diff=[]))


def _change(proposal: Proposal, chosen: bool) -> KeyChange:
    key = key_of(proposal.where)
    return KeyChange(key, proposal.now, proposal.proposed, proposal.source, proposal.differs, chosen)


def _place(file: Path, text: str) -> None:
    """Write a new file; one that came meanwhile is left alone."""
    try:
        file.parent.mkdir(exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise EnvironmentFileError(f"{file} cannot be written: {error.strerror}") from error


def _refuse_another_cluster(session: Session, proposals: Sequence[Proposal]) -> None:
    """Refuse to compare a file with another cluster than its own: everything would be proposed from there."""
    for proposal in proposals:
        if proposal.where[:-1] == PLACE and proposal.differs:
            raise Refusal(
                f"this is another cluster than {session.file} names: its {proposal.where[-1]} is {proposal.proposed}",
                f"Correct kubernetes.context; or, if the cluster was rebuilt: ./run enrol --env {session.name}",
            )


def _diff(file: Path, before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(file), str(file), n=1, lineterm="")
    return list(lines)


def _agrees(ask: Ask, file: Path, diff: Sequence[str]) -> bool:
    """Show the diff, and ask whether to write it."""
    question = [*map(one_line, diff), f"Write this into {one_line(str(file))}? yes/no: "]
    return ask("\n".join(question)).strip() == "yes"


def _open(environment: Environment, chosen: Sequence[Proposal]) -> Iterator[tuple[str, str]]:
    """Yield what is still to be filled in once the chosen values are written."""
    written = {key_of(proposal.where) for proposal in chosen}
    yield from ((key, wanted) for key, wanted in unfilled(environment) if key not in written)
    for proposal in chosen:
        yield from _open_in(proposal.proposed, key_of(proposal.where))


def _open_in(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, FillIn):
        yield key, value.wanted
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _open_in(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _open_in(inner, f"{key}[{index}]")
