"""What every client promises of TLS: it is not left out, and a file of authorities that is no such file is named."""

from __future__ import annotations

import pytest

from prompt_keda.clients.http.download import download
from prompt_keda.clients.ldap import ldap_probe
from prompt_keda.clients.registry import Registry
from prompt_keda.clients.vault import Vault
from prompt_keda.core.errors import Missing, Refused
from tests.contracts.conftest import SECONDS

CLIENTS = {
    "vault": lambda url, ca_file, folder: Vault.connect(url.format("https"), ca_file, SECONDS).health(),
    "registry": lambda url, ca_file, folder: Registry.connect("h", url.format("https"), ca_file, None, SECONDS),
    "ldap": lambda url, ca_file, folder: ldap_probe(url.format("ldaps"), ca_file, SECONDS),
    "download": lambda url, ca_file, folder: download(url.format("https"), "0" * 64, folder / "m", ca_file, SECONDS),
}


@pytest.mark.parametrize("connect", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("content", [None, "", "hello", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_a_file_of_authorities_that_is_none_is_named(connect, content, tmp_path):
    """Absent, empty, or no PEM: Missing, with the file; nothing is sent."""
    ca_file = tmp_path / "authorities.crt"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(Missing, match=r"authorities\.crt") as caught:
        connect("{}://127.0.0.1:1", ca_file, tmp_path)
    assert "\n" not in caught.value.what and "ca_file" in caught.value.fix


@pytest.mark.parametrize("client", ["vault", "registry", "ldap"])
@pytest.mark.parametrize("url", ["http://user:canary-5@127.0.0.1:1", "ldap://user:canary-5@127.0.0.1:1", "127.0.0.1:1"])
def test_an_address_without_tls_is_refused(client, url, tmp_path):
    """The environment's file is strict; the clients do not rely on it. A password in the address is not shown."""
    with pytest.raises(Refused, match=r"its address is not (https|ldaps)") as caught:
        CLIENTS[client](url, None, tmp_path)
    assert "canary" not in caught.value.what
