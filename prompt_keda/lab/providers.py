"""Which provider runs a stack's cluster: the one that it has, the one that is asked for, else the one that fits this machine."""

from __future__ import annotations

import os

from prompt_keda.core.errors import Refusal
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab.kind.cluster import Kind
from prompt_keda.lab.native import Native
from prompt_keda.lab.provider import NATIVE, Provider
from prompt_keda.lab.settings import Lab

PROVIDERS: tuple[Provider, ...] = (Native(), Kind())
VARIABLE = "PROMPT_KEDA_LAB_PROVIDER"


def of(lab: Lab) -> Provider:
    """Return the provider of a stack; the native one's if there is no stack."""
    return _named(lab.find_provider() or NATIVE)


def choose(lab: Lab, asked: str) -> tuple[Provider, str]:
    """Return who is to run a stack, and why.

    Parameters
    ----------
    asked
        What ``--provider`` names; empty: nothing.

    Raises
    ------
    Refusal
        When there is none of that name, or the stack has another one.
    """
    has = lab.find_provider()
    wanted = asked or os.environ.get(VARIABLE, "")
    if wanted:
        provider = _named(wanted)
        if asked and has and has != asked:
            fix = f"./run lab.down, or another stack: PROMPT_KEDA_LAB=another ./run lab.up --provider {asked}"
            raise Refusal(f"the local stack has the provider {has}", fix)
        if not has:
            return provider, "--provider names it" if asked else f"${VARIABLE} names it"
    if has:
        return _named(has), "the stack that stands has it"
    return _named(NATIVE), "root on Debian needs no container engine"


def keep(lab: Lab, provider: Provider) -> None:
    """Note who runs a stack, before anything of it is made. Idempotent: yes."""
    (private_folder(lab.state) / "provider").write_text(provider.name)


def _named(name: str) -> Provider:
    for provider in PROVIDERS:
        if provider.name == name:
            return provider
    known = ", ".join(provider.name for provider in PROVIDERS)
    raise Refusal(f"there is no provider {name!r} of local stacks", f"Known are: {known}.")
