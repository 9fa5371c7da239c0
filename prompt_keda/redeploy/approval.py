"""Whether a person wants what is about to be done, as the environment asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prompt_keda import __version__
from prompt_keda.clients.kube.resources import CONFIG_MAPS
from prompt_keda.components.run import Context
from prompt_keda.core.decisions import digest_of
from prompt_keda.core.errors import Refusal
from prompt_keda.environment.model import Environment

MARKER = "prompt-keda-lab"
"""ConfigMap in kube-system that `lab.up` puts there: only such a cluster needs no approval."""
Ask = Callable[[str], str]
"""Asks a person on a terminal, and gives the answer."""


def smoke_digest(environment: Environment) -> str:
    """Return the digest that approves a smoke test in an environment."""
    return digest_of({"task": "smoke", "toolkit": __version__, "environment": environment.portable()})


def full_smoke_digest(environment: Environment, case_ids: Sequence[str]) -> str:
    """Return the digest that approves these cases of the acceptance suite, and the smoke test before them."""
    asked = {"task": "smoke --full", "cases": list(case_ids), "toolkit": __version__}
    return digest_of({**asked, "environment": environment.portable()})


@dataclass(frozen=True)
class Unapproved:
    """What would approve what was refused."""

    digest: str


def approve_or_refuse(context: Context, digest: str, what: str, approve: str, ask: Ask | None) -> None:
    """Make sure that a person wants this, as the environment asks for it.

    Parameters
    ----------
    digest
        Of what is approved.
    what
        The same in words.

    Raises
    ------
    Refusal
        When nobody approves; or when no approval is asked for, and the cluster is no local stack.
    """
    environment = context.environment
    if environment.approval == "none":
        if context.systems.kube.find(CONFIG_MAPS, MARKER, "kube-system") is None:
            raise Refusal(
                f"environment {environment.name} needs no approval, but this cluster is no local stack",
                "Set approval to confirm or digest in the environment.",
            )
        return
    refusal = _unapproved(environment, digest, what, approve, ask)
    if refusal:
        refusal.parts = Unapproved(digest)
        raise refusal


def _unapproved(environment: Environment, digest: str, what: str, approve: str, ask: Ask | None) -> Refusal | None:
    if approve:
        message = f"--approve {approve} is not the digest of this {what}, which is {digest}"
        return None if approve == digest else Refusal(message, f"Look at ./run plan --env {environment.name}.")
    if ask is None:
        message = f"the {what} with the digest {digest} is not approved, and there is no terminal to ask"
        return Refusal(message, f"If you want it: --approve {digest}")
    if environment.approval == "confirm":
        agreed = ask(f"Run the {what} in {environment.name}, digest {digest}? yes/no: ").strip() == "yes"
    else:
        question = f"The {what} in {environment.name}, digest {digest}. Type the environment's name: "
        agreed = ask(question).strip() == environment.name
    return None if agreed else Refusal("not approved")
