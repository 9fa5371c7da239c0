"""Do the pull secrets of the very pods open the registries that they pull from (failure mode F40)?"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import SECRETS, SERVICE_ACCOUNTS
from prompt_keda.clients.registry import ImageName, credentials_for_image, parse_image
from prompt_keda.clients.systems import Systems
from prompt_keda.components.images.places import Puller, live_pullers, shown
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.core.outcomes import fail, ok, unknown, warn, worst_of
from prompt_keda.core.secret import Secret
from prompt_keda.core.side_by_side import look_side_by_side

KEY = ".dockerconfigjson"
FIX = "Correct the Secret where it comes from (Vault, or whatever makes it)."
Credentials = tuple[str, Secret]


@dataclass(frozen=True)
class _Pull:
    """One image that some pods pull, and the names of the Secrets that they may use for it.

    ``account``: the service account whose Secrets they may use instead, because they name none; else empty.
    """

    owner: str
    namespace: str
    name: str
    secrets: tuple[str, ...]
    account: str

    @property
    def image(self) -> ImageName:
        return parse_image(self.name)

    def __str__(self) -> str:
        return f"{self.owner}: {shown(self.name)}"


@check(
    "images/pull-secrets-fit",
    "Every pod's own pull secret opens its images",
    needs=("images/keda-images-present",),
    runbook="image-not-pulled",
)
def pull_secrets_fit(systems: Systems) -> Outcome:
    """The pull secrets of each Deployment and ScaledJob (or of their service account) are read by name, and tried at
    the registry as a kubelet does. Their values are never shown.

    Cause: The Secret is missing, is for another registry, or is denied: told apart (F40). WARN: it is missing or
    broken, but the image opens without. UNKNOWN: the Secret may not be read here, or the registry does not answer.

    Fix: Correct the Secret where it comes from.
    """
    hosts = {registry.host for registry in systems.environment.registries}
    pulls = {str(pull): pull for puller in live_pullers(systems) for pull in _pulls(puller)}
    read, of_account = _reader(systems), _account_reader(systems)

    def look(pull: _Pull) -> Outcome:
        if pull.image.host not in hosts:
            return unknown(f"{pull}: the environment does not name {pull.image.host}", "Add it under registries.")
        names = of_account(pull.namespace, pull.account) if pull.account else pull.secrets
        fitting, broken, useless = _credentials(pull, names, read)
        if _opens(systems, pull.image, [credential for _, credential in fitting] or [None]):
            return warn(f"{pull}: {'; '.join(broken)}, and is not needed", FIX) if broken else ok(str(pull))
        denied = [f"Secret {name} is denied by {pull.image.host}" for name, _ in fitting]
        why = [*broken, *denied, *(useless if not fitting else [])]
        return fail(f"{pull}: {'; '.join(why) or 'the pods have no pull secret, and the registry wants one'}", FIX)

    outcomes = look_side_by_side(list(pulls.items()), look)
    return worst_of(outcomes, f"{len(pulls)} images open to the pods that pull them")


def _pulls(puller: Puller) -> list[_Pull]:
    """Return what one thing's pods pull. A pod that names no pull secret gets those of its service account."""
    named = tuple(str(reference.get("name")) for reference in puller.pod.get("imagePullSecrets") or [])
    account = "" if named else str(puller.pod.get("serviceAccountName") or "default")
    return [_Pull(puller.name, puller.namespace, name, named, account) for name in puller.images]


def _account_reader(systems: Systems) -> Callable[[str, str], tuple[str, ...]]:
    """Return a function that returns the names of a service account's pull secrets; each account is read once.

    It raises `Missing` where there is none: no pod can be made then. `Unreachable` where it may not be read.
    """
    accounts: dict[tuple[str, str], Object | None] = {}
    address = systems.kube.address

    def read(namespace: str, name: str) -> tuple[str, ...]:
        if (namespace, name) not in accounts:
            try:
                accounts[namespace, name] = systems.kube.find(SERVICE_ACCOUNTS, name, namespace)
            except Refused as error:
                message = f"the pods name no pull secret, and service account {namespace}/{name} may not be read here"
                raise Unreachable("Kubernetes", address, message, error.fix) from error
        names = accounts[namespace, name]
        if names is None:
            message = f"service account {namespace}/{name} is missing: no pod can be made"
            raise Missing("Kubernetes", address, message, "Make it where the workload comes from.")
        return tuple(str(reference.get("name")) for reference in names.get("imagePullSecrets") or [])

    return read


def _reader(systems: Systems) -> Callable[[str, str], Secret]:
    """Return a function that reads a pull secret, each once.

    It raises `Missing` where there is none, `BadAnswer` where it is none for a registry, and `Unreachable` where it
    may not be read: nothing is then known of it.
    """
    read_secrets: dict[tuple[str, str], Object | None] = {}
    address = systems.kube.address

    def read(namespace: str, name: str) -> Secret:
        if (namespace, name) not in read_secrets:
            try:
                read_secrets[namespace, name] = systems.kube.find(SECRETS, name, namespace)
            except Refused as error:
                raise Unreachable("Kubernetes", address, f"Secret {namespace}/{name} may not be read here") from error
        secret = read_secrets[namespace, name]
        if secret is None:
            raise Missing("Kubernetes", address, f"Secret {name} is missing")
        try:
            return Secret(base64.b64decode((secret.get("data") or {})[KEY]).decode())
        except (KeyError, ValueError):
            raise BadAnswer("Kubernetes", address, f"it has no {KEY}") from None

    return read


def _credentials(
    pull: _Pull, names: tuple[str, ...], read: Callable[[str, str], Secret]
) -> tuple[list[tuple[str, Credentials]], list[str], list[str]]:
    """Return what fits the image, each with its Secret's name; what is broken; and what holds nothing for its registry."""
    fitting, broken, useless = [], [], []
    for name in names:
        try:
            credentials = credentials_for_image(read(pull.namespace, name), pull.image)
        except Missing as error:
            broken.append(error.detail)
        except BadAnswer as error:
            broken.append(f"Secret {name}: {error.detail}")
        else:
            if credentials:
                fitting.append((name, credentials))
            else:
                useless.append(f"Secret {name} has nothing for {pull.image.host}")
    return fitting, broken, useless


def _opens(systems: Systems, image: ImageName, tries: list[Credentials | None]) -> bool:
    """Return whether one of these opens the image. A missing image is reported by other checks, and is open."""
    for credentials in tries:
        registry = systems.registry_as(image.host, credentials)
        try:
            registry.manifest_digest(image.repository, image.reference)
        except Missing:
            return True
        except Refused:
            continue
        finally:
            registry.close()
        return True
    return False
