"""Which provider runs a stack's cluster: the one that it has, the one that is asked for, else the one that fits this machine."""

from __future__ import annotations

import os

from prompt_keda.core.errors import Refusal
from prompt_keda.core.private_folder import private_folder
from prompt_keda.lab import engines, image_list, requirements, users_engine
from prompt_keda.lab.kind import engine, in_users_engine, ways
from prompt_keda.lab.kind.built import Built
from prompt_keda.lab.kind.cluster import KindProvider
from prompt_keda.lab.native import NativeProvider
from prompt_keda.lab.provider import KIND, NATIVE, Provider
from prompt_keda.lab.settings import Lab

PROVIDERS: tuple[Provider, ...] = (NativeProvider(), KindProvider(engine, Built()))
IN_USERS_ENGINE = KindProvider(in_users_engine, Built())
"""What kind is for whoever is not root, or root on no Debian."""
VARIABLE = "PROMPT_KEDA_LAB_PROVIDER"


def of(lab: Lab) -> Provider:
    """Return the provider of a stack; the native one's if there is no stack."""
    return IN_USERS_ENGINE if lab.is_users else _named(lab.find_provider() or NATIVE)


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
            mine = IN_USERS_ENGINE if provider.name == KIND and _is_in_users_engine() else provider
            return mine, "--provider names it" if asked else f"${VARIABLE} names it"
    if has:
        return of(lab), "the stack that stands has it"
    if _is_in_users_engine():
        here, spared = engines.find_for_kind(), "root" if os.geteuid() else "Debian"
        return (
            IN_USERS_ENGINE,
            f"{here.name} is here, and kind in it needs no {spared}" if here else "native needs root",
        )
    return _named(NATIVE), "root on Debian needs no container engine"


def _is_in_users_engine() -> bool:
    """Return whether kind's engine is not the stack's own: for who is not root, and for root on a system that is no Debian.

    Root without an engine that fits is told that it is no Debian.
    """
    return os.geteuid() != 0 or (not requirements.is_debian() and engines.find_for_kind() is not None)


def with_images(provider: Provider) -> tuple[Provider, str]:
    """Return the provider with where its images come from, and a word on that; empty where there is nothing to say.

    Raises
    ------
    Refusal
        When images are to be pulled, and this provider does not.
    """
    if not provider.needs_root:
        images, why = ways.choose()
        return KindProvider(in_users_engine, images), f"{images.name}: {why}" if why else ""
    if os.environ.get(image_list.IMAGES, "") not in ("", image_list.BUILT):
        what = f"${image_list.IMAGES}: images are pulled into a container engine of yours, and this stack of root's takes none"
        raise Refusal(what, "Unset it, or bring the stack up as a user with the right to Docker.")
    return provider, ""


def keep(lab: Lab, provider: Provider) -> None:
    """Note who runs a stack, before anything of it is made. Idempotent: yes."""
    if not provider.needs_root and not lab.is_users and (here := engines.find_for_kind()):
        users_engine.keep(lab, here)
    (private_folder(lab.state) / "provider").write_text(provider.name)


def _named(name: str) -> Provider:
    for provider in PROVIDERS:
        if provider.name == name:
            return provider
    names = ", ".join(provider.name for provider in PROVIDERS)
    raise Refusal(f"there is no provider {name!r} of local stacks", f"Known: {names}.")
