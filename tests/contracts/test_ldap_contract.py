"""What the directory client promises, on a real slapd with TLS."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest

from prompt_keda.clients.ldap import ldap_probe
from prompt_keda.core.errors import BadAnswer, Refused, Unreachable
from tests.contracts.conftest import SECONDS, free_port, serving
from tests.contracts.fakes.ldap import FakeDirectory

CONFIG = """\
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCACertificateFile {pki}/ca.crt
TLSCertificateFile {pki}/{name}.crt
TLSCertificateKeyFile {pki}/{name}.key
{more}
database mdb
maxsize 1048576
suffix "dc=test"
directory {folder}/data
"""


@pytest.fixture(params=[("server", "")], ids=["plain"])
def directory(request, authority, tmp_path):
    """A slapd on loopback; the parameter is its certificate's name and more of its configuration. Gives its address."""
    name, more = request.param
    authority.ensure_server("other", ["other.test"])
    (tmp_path / "data").mkdir()
    config, port = tmp_path / "slapd.conf", free_port()
    config.write_text(CONFIG.format(folder=tmp_path, pki=authority.folder, name=name, more=more))
    url = f"ldaps://127.0.0.1:{port}"
    with serving(["/usr/sbin/slapd", "-f", config, "-h", f"{url}/", "-d", "0"], port, tmp_path / "slapd.log"):
        yield url


def test_it_reports_its_naming_contexts_to_anybody(directory, authority):
    """Over TLS, without a name or password; the double does the same."""
    contexts = ldap_probe(directory, authority.ca_file, SECONDS)
    assert contexts == FakeDirectory(["dc=test"]).probe(directory) == ["dc=test"]


def test_the_certificate_is_verified(directory, authority):
    """An unknown CA."""
    with pytest.raises(Unreachable, match="TLS"):
        ldap_probe(directory, None, SECONDS)


@pytest.mark.parametrize("directory", [("other", "")], indirect=True, ids=["other.test"])
def test_the_certificate_has_to_name_the_host(directory, authority):
    """A certificate of the right CA for another host is not taken."""
    with pytest.raises(Unreachable, match="TLS"):
        ldap_probe(directory, authority.ca_file, SECONDS)


@pytest.mark.parametrize("directory", [("server", "disallow bind_anon\nrequire authc")], indirect=True, ids=["authc"])
def test_one_that_wants_a_name_is_refused(directory, authority):
    """It answers, and lets nobody read: that is no outage. The double says so in the same words."""
    double = FakeDirectory(["dc=test"])
    double.wants_a_name = True
    for probe in (ldap_probe, double.probe):
        with pytest.raises(Refused, match="without a name"):
            probe(directory, authority.ca_file, SECONDS)


@pytest.mark.parametrize("directory", [("server", 'access to dn.base="" by * none')], indirect=True, ids=["hidden"])
def test_one_that_hides_its_root_is_reported(directory, authority):
    """No entry comes back: never an empty list that looks like an answer. The double gives none either."""
    double = FakeDirectory(["dc=test"])
    double.hidden = True
    for probe in (ldap_probe, double.probe):
        with pytest.raises((Refused, BadAnswer)):
            probe(directory, authority.ca_file, SECONDS)


def test_tcp_name_and_silence_are_told_apart(authority):
    """Each with the address that was tried; silence ends with the time-out."""
    with pytest.raises(Unreachable, match="refused"):
        ldap_probe(f"ldaps://127.0.0.1:{free_port()}", authority.ca_file, SECONDS)
    with pytest.raises(Unreachable, match="cannot be resolved"):
        ldap_probe("ldaps://directory.invalid", authority.ca_file, SECONDS)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreachable, match="gave no answer"):
        ldap_probe(f"ldaps://127.0.0.1:{silent.getsockname()[1]}", authority.ca_file, timedelta(seconds=0.5))


def test_an_address_that_makes_no_sense_is_a_bad_answer(authority):
    """And not a traceback."""
    with pytest.raises(BadAnswer):
        ldap_probe("ldaps://127.0.0.1:notaport", authority.ca_file, SECONDS)
