"""A post to a chat: what arrives, what is refused, and that of its address the host alone is ever told."""

from __future__ import annotations

import logging
import socket
import traceback
from datetime import timedelta
from types import SimpleNamespace

import pytest

from prompt_keda.clients.http.webhook import MOST_CHARACTERS, escaped, post
from prompt_keda.core.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.core.secret import Secret
from tests.chat_server import chat
from tests.contracts.conftest import SECONDS, free_port
from tests.leaks import leaks, planted

SHORT = timedelta(seconds=0.3)


def refused(kind, address, authority, timeout=SECONDS):
    """Post, and give what is said about it. Neither it nor its traceback shows more of the address than its host."""
    with pytest.raises(kind) as caught:
        post(address, "text", authority and authority.ca_file, timeout)
    values = {"address": address.reveal().rpartition("/")[2]}
    text = "".join(traceback.format_exception(caught.value)) + caught.value.what + caught.value.fix
    assert leaks(text.encode(), values) == []
    return caught.value.what


def test_a_text_arrives_as_slack_takes_it(authority, caplog):
    """One JSON document with the text, at the whole address; no library writes that into its log."""
    caplog.set_level(logging.DEBUG)
    with chat(authority) as there:
        assert post(there.address, "a\nb", authority.ca_file, SECONDS) == "127.0.0.1"
    ((path, headers, document),) = there.posts
    assert path == f"/services/{there.token}?key={there.token}" and document == {"text": "a\nb"}
    assert headers["Content-Type"] == "application/json"
    assert leaks(caplog.text.encode(), {"address": there.token}) == []


def test_the_end_of_a_line_that_a_file_brought_into_vault_does_not_count(authority):
    """`vault kv put … KEY=@FILE` takes it along."""
    with chat(authority) as there:
        post(Secret(f"{there.address.reveal()}\n"), "text", authority.ca_file, SECONDS)
    assert len(there.posts) == 1


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (
            "<!channel> & <@U1> <https://evil.test|ours>",
            "&lt;!channel&gt; &amp; &lt;@ U1&gt; &lt;https://evil.test|ours&gt;",
        ),
        ("&lt;!here&gt;", "&amp;lt;!here&amp;gt;"),
        ("@channel, (@here) @all", "@ channel, (@ here) @ all"),
        ("by me@host: image@sha256:1", "by me@host: image@sha256:1"),
    ],
)
def test_a_text_of_a_cluster_mentions_nobody_and_links_nothing(written, sent):
    """Neither in Slack's way, nor in that of others; what is no mention stays as it is."""
    assert escaped(written) == sent


def test_a_text_that_is_too_long_is_cut_off_before_it_is_escaped():
    """No half of an escape is left."""
    assert escaped("<" * MOST_CHARACTERS + "end") == "&lt;" * MOST_CHARACTERS


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (500, BadAnswer, "HTTP 500"),
        (503, BadAnswer, "HTTP 503"),
        (403, Refused, "HTTP 403: it does not take the post"),
        (404, Refused, "HTTP 404: it does not take the post"),
        (429, Unreachable, "it is asked too often"),
    ],
)
def test_what_is_not_taken_is_reported(authority, status, kind, message):
    """With the host and the status."""
    with chat(authority, status) as there:
        assert f"webhook at 127.0.0.1: {message}" in refused(kind, there.address, authority)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(authority, status):
    """Not even to the same server: the text would go to who knows whom."""
    with chat(authority) as elsewhere, chat(authority, status, {"Location": elsewhere.address.reveal()}) as there:
        assert "it redirects" in refused(BadAnswer, there.address, authority)
    assert len(there.posts) == 1 and elsewhere.posts == []


def test_a_server_that_does_not_answer_is_not_waited_for(authority):
    """The wait has its limit."""
    with chat(authority, None) as there:
        assert "no answer in time" in refused(Unreachable, there.address, authority, SHORT)


def test_nobody_there_is_unreachable(authority):
    """And a name that nobody has."""
    token = planted("-_")
    assert "no connection" in refused(Unreachable, Secret(f"https://127.0.0.1:{free_port()}/{token}"), authority)
    assert "cannot be resolved" in refused(Unreachable, Secret(f"https://chat.invalid/{token}"), authority)


def test_tls_is_never_weakened(authority):
    """An authority that is not known is no answer."""
    with chat(authority) as there:
        assert "certificate verify failed" in refused(Unreachable, there.address, None)
    assert there.posts == []


def test_another_name_than_the_certificates_is_no_answer(authority, tmp_path):
    """The certificate has to name the host of the address."""
    other = SimpleNamespace(folder=tmp_path, ca_file=authority.ca_file)
    authority.ensure_server("other", ["chat.test"])
    for ending in ("crt", "key"):
        (tmp_path / f"server.{ending}").write_bytes((authority.folder / f"other.{ending}").read_bytes())
    with chat(other) as there:
        assert "certificate verify failed" in refused(Unreachable, there.address, authority)
    assert there.posts == []


def test_a_file_of_authorities_that_is_none_is_named(authority, tmp_path):
    """Nothing is sent."""
    with chat(authority) as there:
        assert "nowhere.crt" in refused(Missing, there.address, SimpleNamespace(ca_file=tmp_path / "nowhere.crt"))
    assert there.posts == []


@pytest.mark.parametrize("scheme", ["http", "ftp", "HTTP"])
def test_plain_http_is_not_spoken(authority, scheme):
    """Not even a connection is made."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = Secret(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/{planted('-_')}")
        assert "its address is not https: nothing is sent" in refused(Refused, address, authority)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "chat.test/{}",
        "https:///{}",
        "https://chat.test:{}",
        "https://[chat.test/{}",
        "https://chat.test/a {}",
        "https://chat.test/a\n{}",
        "https://chat.test/ä{}",
        '{{"url": "https://chat.test/{}"}}',
    ],
)
def test_what_is_no_address_is_reported_without_it(authority, form):
    """By the key of the environment that names it."""
    address = Secret(form.format(planted("-_")))
    assert "webhook at incidents.webhook.address: what Vault has there is no address" in refused(
        BadAnswer, address, authority
    )


def test_a_password_in_an_address_is_not_reported(authority):
    """It is not sent either: nothing asks for it."""
    token = planted("-_")
    with chat(authority) as there:
        post(Secret(there.address.reveal().replace("//", f"//me:{token}@")), "text", authority.ca_file, SECONDS)
        assert "Authorization" not in there.posts[0][1]


def test_what_speaks_no_http_is_a_bad_answer(authority):
    """Its words are not told."""
    with chat(authority, 42) as there:
        assert "it does not answer in HTTP" in refused(BadAnswer, there.address, authority)
