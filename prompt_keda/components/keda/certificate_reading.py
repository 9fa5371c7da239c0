"""KEDA's certificates, as its Secret holds them."""

from __future__ import annotations

import base64
import warnings

from cryptography import x509

# KEDA's operator gives its CA the serial number 0 (open-policy-agent/cert-controller, pkg/rotator). The library warns of that
# on each look, on standard error; the version in requirements.lock reads it all the same.
warnings.filterwarnings("ignore", message="Parsed a serial number which wasn't positive")


def read_certificate(text: str) -> x509.Certificate:
    """Read a certificate: base64 of PEM. Raises `ValueError` or `TypeError` when it is something else."""
    return x509.load_pem_x509_certificate(base64.b64decode(text))
