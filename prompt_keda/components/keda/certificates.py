"""KEDA's certificates: are they valid, of one CA, and is that the one that is trusted (failure mode F10)?"""

from __future__ import annotations

from collections.abc import Callable

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import API_SERVICES, SECRETS, VALIDATING_WEBHOOKS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.components.keda import serving_certificate
from prompt_keda.components.keda.names import API_SERVICE, CERTIFICATES, WEBHOOK_CONFIGURATION
from prompt_keda.core.check import Outcome, Verdict, check
from prompt_keda.core.outcomes import all_of, fail, ok

CORRECT = "./run redeploy corrects the bundles."


@check(
    "keda/certificates-agree",
    "KEDA's serving certificates are trusted and not about to expire",
    needs=("cluster/api-answers",),
    runbook="certificates-wrong",
)
def certificates_agree(systems: Systems) -> Outcome:
    """Are KEDA's certificates valid and of one CA, and do APIService and webhooks trust it (failure mode F10)? WARN
    when one expires within 90 days: KEDA's operator renews before that, so it does not.

    Cause: The certificates have expired, or were rotated and a bundle was not (F10), or APIService or webhook is
    missing.
    """
    standing = serving(systems)
    if standing.verdict is not Verdict.OK:
        return standing
    ca = serving_certificate.ca_bundle(systems.kube.get(SECRETS, CERTIFICATES, systems.environment.keda.namespace))
    looks: dict[str, Callable[[], Outcome]] = {
        "the APIService": lambda: _api_service(systems, ca),
        "the webhook configuration": lambda: _webhooks(systems, ca),
    }
    good = f"{standing.observed}; APIService and webhooks trust KEDA's CA"
    return all_of(looks.items(), lambda look: look(), good)


def serving(systems: Systems) -> Outcome:
    """Return how KEDA's certificates stand by the API server's clock: the one look of check, plan and repair.

    Raises as `Kube.find` and `server_now` do.
    """
    secret = systems.kube.find(SECRETS, CERTIFICATES, systems.environment.keda.namespace)
    return serving_certificate.look(secret, systems.environment.keda.namespace, server_now(systems))


def _api_service(systems: Systems, ca: str) -> Outcome:
    api_service = systems.kube.find(API_SERVICES, API_SERVICE)
    if api_service is None:
        return fail("the APIService is missing", CORRECT)
    same = api_service["spec"].get("caBundle") == ca
    return ok("the APIService") if same else fail("the APIService trusts another CA", CORRECT)


def _webhooks(systems: Systems, ca: str) -> Outcome:
    configuration = systems.kube.find(VALIDATING_WEBHOOKS, WEBHOOK_CONFIGURATION)
    if configuration is None:
        return fail("the webhook configuration keda-admission is missing", CORRECT)
    hooks: list[Object] = configuration.get("webhooks") or []
    if not hooks:
        return fail("the webhook configuration keda-admission has no webhook", CORRECT)
    same = all(hook["clientConfig"].get("caBundle") == ca for hook in hooks)
    return ok("the webhooks") if same else fail("the webhook configuration trusts another CA", CORRECT)
