"""TLS to Redis on a real redis-server: verified by authority, name and date, by TCP and through a port-forward."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.stream.ws_client import PortForward

from prompt_keda.clients.http.tls import Tls, authorities, trusting, verified
from prompt_keda.clients.redis_streams import RedisStreams
from prompt_keda.core.errors import Missing, Unreachable, Untrusted
from prompt_keda.core.secret import Secret
from prompt_keda.lab import pki
from prompt_keda.lab.pki import Authority
from tests.contracts.conftest import SECONDS, free_port, serving

SERVICE = "prompt-redis.prompt-redis"
PASSWORD = "canary-7"


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    """A CA of Redis' own: certificates for its Service, for another name, and one that has expired."""
    made = Authority(tmp_path_factory.mktemp("redis") / "pki")
    made.ensure_server("redis", [SERVICE])
    made.ensure_server("other", ["other.test"])
    made.ensure_server("expired", [SERVICE])
    _expire(made, "expired")
    return made


def _expire(authority, name):
    path = authority.folder / f"{name}.crt"
    old, begin = x509.load_pem_x509_certificate(path.read_bytes()), datetime.now(UTC) - timedelta(days=9)
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), old.serial_number)
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=8))
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    key = pki._read_key(authority.folder / "ca.key")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    path.write_bytes(pki._pem(builder.sign(key, hashes.SHA256())))


@contextmanager
def redis_server(folder, owner, pair="redis", line="tls-auth-clients no"):
    """Run a Redis with a password that speaks TLS, or plain TCP where ``pair`` is None; gives its port."""
    port, config = free_port(), folder / "redis.conf"
    listens = f"port {port}"
    if pair:
        files = f"tls-cert-file {owner.folder / pair}.crt\ntls-key-file {owner.folder / pair}.key"
        listens = f"port 0\ntls-port {port}\n{files}\ntls-ca-cert-file {owner.ca_file}\n{line}"
    config.write_text(f'bind 127.0.0.1\n{listens}\ndir {folder}\nsave ""\nrequirepass {PASSWORD}\n')
    with serving(["redis-server", config], port, folder / "redis.log"):
        yield port


def direct(port, tls):
    return RedisStreams.direct("127.0.0.1", port, Secret(PASSWORD), SECONDS, tls)


def forwarded(port, tls):
    """Reach a port of this machine over a socket as the library of port-forwards gives it."""

    def forward(namespace, pod, asked):
        made = PortForward._Port._Socket(socket.create_connection(("127.0.0.1", asked)))
        made.why = lambda: ""
        return made

    pod = {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "p"}}
    kube = SimpleNamespace(list=lambda *asked: [{"endpoints": [pod]}], port_forward=forward)
    return RedisStreams.through(kube, "prompt-redis", "prompt-redis", port, Secret(PASSWORD), SECONDS, tls)


each_way = pytest.mark.parametrize("reach", [direct, forwarded])


def trust(ca_file, name=SERVICE):
    return Tls(verified("Redis", "here", ca_file), name)


def refusal(redis, kind=Untrusted):
    with pytest.raises(kind) as caught:
        redis.ping()
    redis.close()
    assert PASSWORD not in caught.value.what and "\n" not in caught.value.what
    return caught.value.detail


@each_way
def test_a_certificate_of_the_services_name_is_taken(reach, owner, tmp_path):
    """The name is that of the Service, whatever the address that was connected to; the endpoint says TLS."""
    with redis_server(tmp_path, owner) as port:
        redis = reach(port, trust(owner.ca_file))
        redis.ensure_group("s", "g", "0")
        redis.add("s", [{"a": "1" * 100_000}] * 3)
        assert redis.group_info("s", "g").lag == 3 and " by TLS" in redis.endpoint
        redis.close()


@each_way
@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("other", "TLS: its certificate is for another name (Hostname mismatch"),
        ("expired", "TLS: its certificate has expired (certificate has expired)"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_reported(reach, pair, message, owner, tmp_path):
    """Another name, or expired."""
    with redis_server(tmp_path, owner, pair) as port:
        assert refusal(reach(port, trust(owner.ca_file))).startswith(message)


@each_way
def test_a_redis_without_tls_is_reported(reach, owner, tmp_path, monkeypatch):
    """It is silent: it waits for the end of a line. The message names the key of the environment."""
    monkeypatch.setattr(sys.modules[__name__], "SECONDS", timedelta(seconds=1))
    with redis_server(tmp_path, owner, None) as port:
        error = refusal(reach(port, trust(owner.ca_file)), Unreachable)
    assert error.startswith("it connected, but gave no answer in time (a Redis without TLS does so: see redis.tls")


def test_another_server_without_tls_is_reported(owner):
    """One that answers in plain text, as a web server does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"-ERR unknown command\r\n")

        threading.Thread(target=answer, daemon=True).start()
        assert refusal(direct(listener.getsockname()[1], trust(owner.ca_file))) == "TLS: it answers without TLS"


@each_way
def test_an_authority_that_is_not_trusted_is_reported(reach, owner, authority, tmp_path):
    """Another CA than the environment's, and the system's, which does not know it."""
    with redis_server(tmp_path, owner) as port:
        for ca_file in (authority.ca_file, None):
            error = refusal(reach(port, trust(ca_file)))
            assert error.startswith("TLS: the authority of its certificate is not trusted (")


def test_the_password_is_sent_to_nobody_who_is_not_trusted(owner, authority):
    """A server that takes down what it is sent, with a certificate of another authority."""
    received = bytearray()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(owner.folder / "redis.crt", owner.folder / "redis.key")

    def listen(listener):
        connection, _ = listener.accept()
        with connection, pytest.raises((ssl.SSLError, OSError)):
            inside = context.wrap_socket(connection, server_side=True)
            received.extend(inside.recv(65536))
            raise OSError

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen, args=(listener,), daemon=True)
        thread.start()
        refusal(direct(listener.getsockname()[1], trust(authority.ca_file)))
        thread.join(5)
    assert not received


@each_way
def test_a_redis_that_wants_tls_is_told_to_a_client_without(reach, owner, tmp_path):
    """It closes the connection silently; the message names the key of the environment."""
    with redis_server(tmp_path, owner) as port:
        assert "a Redis that wants TLS does so: see redis.tls" in refusal(reach(port, None), Unreachable)


def test_a_redis_that_asks_for_a_clients_certificate_is_reported(owner, tmp_path):
    """The toolkit has none to show: that is said, also where Redis' word of it is lost with the connection."""
    with redis_server(tmp_path, owner, line="tls-auth-clients yes") as port:
        assert "asks for a certificate of its client" in refusal(direct(port, trust(owner.ca_file)), Unreachable)


def test_another_login_may_verify_in_another_way(owner, authority, tmp_path):
    """As KEDA does: by its own authority, under the host of its address; the first client is as before."""
    with redis_server(tmp_path, owner) as port:
        redis = direct(port, trust(owner.ca_file))
        keda = redis.logged_in_as(
            None, Secret(PASSWORD), Tls(trusting("Redis", "h", owner.ca_file.read_text()), SERVICE)
        )
        assert keda.denied("s") == []
        for tls in (trust(authority.ca_file), trust(owner.ca_file, "other.test")):
            refusal(redis.logged_in_as(None, Secret(PASSWORD), tls))
        redis.ping()
        for client in (redis, keda):
            client.close()


def test_what_is_handed_on_is_certificates_alone(owner, tmp_path):
    """A private key that stands in the same file stays there."""
    both = tmp_path / "both.pem"
    both.write_bytes((owner.folder / "ca.key").read_bytes() + owner.ca_file.read_bytes())
    handed = authorities("Redis", "here", both)
    assert handed.strip() == owner.ca_file.read_text().strip() and "PRIVATE" not in handed
    with pytest.raises(Missing, match="holds no certificate"):
        trusting("Redis", "here", "hello")
