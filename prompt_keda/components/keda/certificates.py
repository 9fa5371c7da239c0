"""KEDA's certificates: are they valid, of one CA, and is that the one that is trusted (failure mode F10)?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature

from prompt_keda.clients.kube.resources import API_SERVICES, SECRETS, VALIDATING_WEBHOOKS
from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.components.keda.certificate_reading import read_certificate
from prompt_keda.components.keda.names import API_SERVICE, CERTIFICATES, WEBHOOK_CONFIGURATION
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import all_of, fail, ok, warn

SOON = timedelta(days=30)
"""KEDA renews a certificate 90 days before its end (cert-controller); one that ends sooner is not being renewed."""
RENEW = "./run redeploy makes new ones."
CORRECT = "./run redeploy corrects the bundles."


@check(
    "keda/certificates-agree",
    "KEDA's serving certificates are trusted and not about to expire",
    needs=("cluster/api-answers",),
    runbook="certificates-wrong",
)
def certificates_agree(systems: Systems) -> Outcome:
    """Are KEDA's certificates valid and of one CA, and do APIService and webhooks trust it (failure mode F10)? WARN
    when one ends within 30 days: KEDA renews 90 days before.

    Cause: The certificates have ended, or were rotated and a bundle was not (F10), or APIService or webhook is
    absent.
    """
    secret = systems.kube.find(SECRETS, CERTIFICATES, systems.environment.keda.namespace)
    data = (secret or {}).get("data") or {}
    if not data.get("ca.crt") or not data.get("tls.crt"):
        return fail(f"the Secret {CERTIFICATES} is absent or incomplete", "./run redeploy makes it.")
    ca = str(data["ca.crt"])
    looks: dict[str, Callable[[], Outcome]] = {
        "the certificates": lambda: _certificates(server_now(systems), ca, str(data["tls.crt"])),
        "the APIService": lambda: _api_service(systems, ca),
        "the webhook configuration": lambda: _webhooks(systems, ca),
    }
    return all_of(looks.items(), lambda look: look(), "valid; APIService and webhooks trust KEDA's CA")


def _certificates(now: datetime, *texts: str) -> Outcome:
    try:
        ca, certificate = map(read_certificate, texts)
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return fail("its certificate is not signed by its CA", RENEW)
    begins = max(ca.not_valid_before_utc, certificate.not_valid_before_utc)
    ends = min(ca.not_valid_after_utc, certificate.not_valid_after_utc)
    if begins > now:
        return fail(f"they are valid only from {begins:%Y-%m-%d %H:%M} UTC on", "Compare the clocks, then redeploy.")
    if ends < now:
        return fail(f"they ended on {ends:%Y-%m-%d}", RENEW)
    return warn(f"they end on {ends:%Y-%m-%d}", RENEW) if ends < now + SOON else ok(f"valid until {ends:%Y-%m-%d}")


def _api_service(systems: Systems, ca: str) -> Outcome:
    found = systems.kube.find(API_SERVICES, API_SERVICE)
    if found is None:
        return fail("the APIService is absent", CORRECT)
    same = found["spec"].get("caBundle") == ca
    return ok("the APIService") if same else fail("the APIService trusts another CA", CORRECT)


def _webhooks(systems: Systems, ca: str) -> Outcome:
    found = systems.kube.find(VALIDATING_WEBHOOKS, WEBHOOK_CONFIGURATION)
    if found is None:
        return fail("the webhook configuration keda-admission is absent", CORRECT)
    hooks: list[dict[str, Any]] = found.get("webhooks") or []
    if not hooks:
        return fail("the webhook configuration keda-admission has no webhook", CORRECT)
    same = all(one["clientConfig"].get("caBundle") == ca for one in hooks)
    return ok("the webhooks") if same else fail("the webhook configuration trusts another CA", CORRECT)
