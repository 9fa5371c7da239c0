"""Makes the Secret ``kedaorg-certs`` before KEDA starts.

KEDA's operator makes it itself when it is missing, and then exits once to load it; made beforehand, the first Job comes
sooner (by hand, before this project: 3.8 s after the apply against 20.9 s). Form and names are those of
open-policy-agent/cert-controller as KEDA 2.16.1 uses it (pkg/certificates/certificate_manager.go): an RSA CA ``KEDA`` of
``KEDAORG``, and one certificate for the three Services.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from prompt_keda.clients.kube.objects import Object
from prompt_keda.components.keda.certificate_reading import read_certificate
from prompt_keda.components.keda.names import CERTIFICATES, PARTS
from prompt_keda.core.check import Outcome
from prompt_keda.core.outcomes import fail, ok, warn

LIFETIME = timedelta(days=3650)
"""As cert-controller's own default: ten years."""
LOOK_AHEAD = timedelta(days=90)
"""cert-controller renews a certificate that expires within 90 days: one that does is not being renewed."""
RENEW = "./run redeploy makes new ones."
KEYS = ("ca.crt", "ca.key", "tls.crt", "tls.key")


def make(namespace: str) -> Object:
    """Return a new Secret with a CA and a certificate for KEDA's Services in ``namespace``."""
    ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    ca_name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "KEDAORG"), x509.NameAttribute(NameOID.COMMON_NAME, "KEDA")]
    )
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("KEDA")]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    hosts = [host for part in PARTS for host in _names(part, namespace)]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _builder(subject, ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    data = dict(
        zip(KEYS, (ca.public_bytes(pem), _key_pem(ca_key), certificate.public_bytes(pem), _key_pem(key)), strict=True)
    )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CERTIFICATES, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "keda"}},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def is_whole(secret: Object | None) -> bool:
    """Return whether a Secret has every key that KEDA needs."""
    return secret is not None and all((secret.get("data") or {}).get(key) for key in KEYS)


def look(secret: Object | None, namespace: str, now: datetime) -> Outcome:
    """Return how KEDA's certificates stand: FAIL or WARN where they have to be recreated, and why.

    Parameters
    ----------
    now
        By the API server's clock.
    """
    if secret is None:
        return fail(f"the Secret {CERTIFICATES} is missing", RENEW)
    if not is_whole(secret):
        return fail(f"the Secret {CERTIFICATES} is incomplete", RENEW)
    data = secret["data"]
    try:
        ca, certificate = (read_certificate(data[key]) for key in ("ca.crt", "tls.crt"))
        certificate.verify_directly_issued_by(ca)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return fail("KEDA's serving certificate is not signed by its CA", RENEW)
    begins = max(ca.not_valid_before_utc, certificate.not_valid_before_utc)
    expires = min(ca.not_valid_after_utc, certificate.not_valid_after_utc)
    if begins > now:
        return fail(
            f"KEDA's certificates are valid only from {begins:%Y-%m-%d %H:%M} UTC on", f"Compare clocks. {RENEW}"
        )
    if expires < now:
        return fail(f"KEDA's certificates expired on {expires:%Y-%m-%d}", RENEW)
    missing = {_names(part, namespace)[2] for part in PARTS} - set(names.get_values_for_type(x509.DNSName))
    if missing:
        return fail(f"KEDA's serving certificate is not for {sorted(missing)[0]}", RENEW)
    if expires < now + LOOK_AHEAD:
        days = (expires - now).days
        return warn(f"KEDA's certificates expire on {expires:%Y-%m-%d} (in {days} days), and are not renewed", RENEW)
    return ok(f"valid until {expires:%Y-%m-%d}")


def ca_bundle(secret: Object) -> str:
    """Return the CA in the form that APIService and webhook configuration want."""
    return str(secret["data"]["ca.crt"])


def _names(service: str, namespace: str) -> list[str]:
    return [service, f"{service}.{namespace}", f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local"]


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, True, False, False, sign, False, False, False)


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    """Return the key in PKCS#1 form, the only one that cert-controller reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + LIFETIME)
