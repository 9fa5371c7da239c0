"""The stack's own certificate authority (library `cryptography`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.whole_file import write_whole

LIFETIME = timedelta(days=30)
"""A local stack does not live longer; `lab.up` makes what is missing."""


class Authority:
    """A certificate authority in a folder: ``ca.crt`` and ``ca.key``, and a ``.crt`` and ``.key`` for each name.

    Parameters
    ----------
    folder
        Made with mode 0700; an authority that is there is used again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = private_folder(folder)
        if not (folder / "ca.crt").exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(folder / "ca.key", key)
            write_whole(folder / "ca.crt", _pem(_ca_certificate(key)))
        self._key = _read_key(folder / "ca.key")
        self._certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())

    @property
    def ca_file(self) -> Path:
        """The CA's certificate, in PEM form."""
        return self.folder / "ca.crt"

    def ca_sha256(self) -> str:
        """Return the SHA-256 of the CA certificate's DER form, in lower-case hex."""
        return self._certificate.fingerprint(hashes.SHA256()).hex()

    def ensure_server(self, name: str, hosts: Sequence[str]) -> None:
        """Make ``name.crt`` and ``name.key`` for a server unless they are there for just these names and addresses."""
        alternatives = [_alternative(host) for host in hosts]
        if not self._serves(name, alternatives):
            self._issue(name, name, (), ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def ensure_client(self, name: str, user: str, groups: Sequence[str] = ()) -> None:
        """Make ``name.crt`` and ``name.key`` for a client of the API server, unless they are there."""
        if not (self.folder / f"{name}.crt").exists():
            self._issue(name, user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def ensure_key_pair(self, name: str) -> None:
        """Make ``name.key`` and ``name.pub``, for signing service accounts' tokens, unless they are there."""
        if not (self.folder / f"{name}.pub").exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(self.folder / f"{name}.key", key)
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_whole(self.folder / f"{name}.pub", public)

    def _serves(self, name: str, alternatives: list[x509.GeneralName]) -> bool:
        path = self.folder / f"{name}.crt"
        if not path.exists():
            return False
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == alternatives

    def _issue(
        self,
        name: str,
        common_name: str,
        organisations: Sequence[str],
        usage: x509.ObjectIdentifier,
        alternatives: list[x509.GeneralName],
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation) for organisation in organisations]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
        builder = _builder(x509.Name(subject), self._certificate.subject, key.public_key())
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        _write_key(self.folder / f"{name}.key", key)
        write_whole(self.folder / f"{name}.crt", _pem(builder.sign(self._key, hashes.SHA256())))


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "prompt-keda local stack")])
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_whole(path, pem)
