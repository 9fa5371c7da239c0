"""An incident is told to a real https server; whatever that or Vault does, the response goes on, and no address is shown."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import pytest

from prompt_keda.clients.http import webhook
from prompt_keda.commands import incidents, runbooks
from prompt_keda.commands import session as sessions
from prompt_keda.components.round import unobserved
from prompt_keda.core.places import incidents_folder
from prompt_keda.environment.loading import load_environment
from prompt_keda.environment.model import Incidents, Webhook
from prompt_keda.records.incident import Incident
from prompt_keda.report.as_json import Began
from tests.chat_server import chat
from tests.contracts.conftest import authority  # noqa: F401  a fixture
from tests.leaks import leaks, planted
from tests.runs import cluster_of
from tests.unit.environment.test_environment_file import FOLDER
from tests.unit.world import World

from .test_response import GONE, GREEN, toolkits  # noqa: F401  a fixture

PATH, KEY = "rubin/prompt-keda-local/chat", "url"


class Told:
    """An environment that names a chat, and all that is said and written."""

    def __init__(self, monkeypatch, toolkits, authority, caplog):  # noqa: F811
        self.world, self.toolkits, self.events, self.authority = toolkits.world, toolkits, [], authority
        self.limits(timedelta(seconds=5))
        self.names({"path": PATH, "key": KEY})
        caplog.set_level(logging.DEBUG)
        self._caplog = caplog

    @property
    def session(self):
        return self.world.session

    def names(self, address, ca_file=None):
        """Let the environment name this place in Vault."""
        made = Incidents(webhook=Webhook(address=address, ca_file=ca_file or self.authority.ca_file))
        self._update(incidents=made)

    def limits(self, connect):
        self._update(limits=self.world.systems.environment.limits.model_copy(update={"connect": connect}))

    def _update(self, **fields):
        self.world.systems.environment = self.world.systems.environment.model_copy(update=fields)

    def vault_has(self, address, key=KEY):
        self.world.vault.contents[PATH] = {key: address}
        self.world.vault.allowed.add(PATH)
        self.world.vault.versions[PATH] = 1

    def respond(self, *looks):
        self.toolkits.looks = list(looks or (GONE, GREEN))
        return runbooks.respond(self.session, unobserved, self.events.append, None)

    @property
    def record(self):
        return Incident.find_newest(incidents_folder(), cluster_of("local"))

    @property
    def notes(self):
        return [entry["detail"] for entry in self.record.entries if entry["step"] == "note"]

    def leaks(self, result, token):
        """Return each place where a part of the address stands: results, events, files, pages, logs."""
        report = incidents.report(self.session, "").to_json(Began())
        files = [path.read_bytes() for path in incidents_folder().rglob("*") if path.is_file()]
        outputs = [
            result.to_json(Began()).encode(),
            report.encode(),
            repr(self.events).encode(),
            self._caplog.text.encode(),
        ]
        return leaks(b"\n".join(outputs + files), {"address": token})


@pytest.fixture
def notified(monkeypatch, toolkits, authority, caplog):  # noqa: F811
    return Told(monkeypatch, toolkits, authority, caplog)


def texts(there):
    return [document["text"] for _, _, document in there.posts]


def test_an_incident_is_reported_when_it_is_opened_and_when_it_is_closed(notified):
    """As few lines as for pasting; the record and the person know that it was posted; nobody sees the address."""
    with chat(notified.authority) as there:
        notified.vault_has(there.address.reveal())
        done = notified.respond()
    opened, closed = texts(there)
    assert opened.startswith("incident opened\nIncident in local: respond: keda-gone: fail keda/parts-ready")
    assert "open, not verified yet" in opened and "still open: fail keda/parts-ready" in opened
    assert closed.startswith("incident closed\n") and "verified after" in closed
    wanted = [f"posted to the chat at 127.0.0.1: incident {how}" for how in ("opened", "closed")]
    assert (
        notified.notes == wanted
        and [event.detail for event in notified.events if event.subject == "incident/chat"] == wanted
    )
    assert done.exit_code == 0 and notified.leaks(done, there.token) == []


def test_a_runbook_that_ends_badly_is_reported_and_the_next_one_opens_nothing(notified):
    """The incident is the same."""
    notified.toolkits.codes = {"redeploy": 1}
    with chat(notified.authority) as there:
        notified.vault_has(there.address.reveal())
        runbooks.run(notified.session, "keda-gone", "", "", notified.events.append, None)
        runbooks.run(notified.session, "keda-gone", "", "", notified.events.append, None)
    bad = "runbook keda-gone ended with exit code 1"
    assert [line.splitlines()[0] for line in texts(there)] == ["incident opened", bad, bad]


def test_what_a_person_stopped_is_not_reported(notified):
    """That person knows it."""
    notified.toolkits.codes = {"redeploy": 130}
    with chat(notified.authority) as there:
        notified.vault_has(there.address.reveal())
        runbooks.run(notified.session, "keda-gone", "", "", notified.events.append, None)
    assert len(there.posts) == 1


def test_a_note_that_opens_an_incident_is_reported(notified):
    """A second one is not."""
    with chat(notified.authority) as there:
        notified.vault_has(there.address.reveal())
        for text in ("first", "second"):
            incidents.note(notified.session, text, notified.events.append)
    assert len(there.posts) == 1 and notified.notes[1:] == ["first", "second"]


def test_what_a_cluster_says_mentions_nobody(notified):
    """It stands in the chat as it was written."""
    incident = Incident.open_(
        incidents_folder(), cluster_of("local"), "<!channel> & <https://evil.test|ours>", "me@here"
    )
    with chat(notified.authority) as there:
        notified.vault_has(there.address.reveal())
        incidents.post_to_chat(notified.session, incident, "incident opened", notified.events.append)
    assert "&lt;!channel&gt; &amp; &lt;https://evil.test|ours&gt;, by me@here" in texts(there)[0]


def test_where_no_chat_is_named_nothing_is_posted_or_noted(notified, monkeypatch):
    """Vault is not asked."""
    monkeypatch.setattr(sessions.Session, "post_to_chat", lambda *arguments: pytest.fail("it was posted"))
    notified._update(incidents=Incidents())
    notified.respond()
    assert notified.notes == []


def test_no_environment_that_is_shipped_names_a_chat(notified):
    """Drills and tests on the local stack post nowhere."""
    assert World().systems.environment.incidents.webhook is None
    for name in ("dev", "prod"):
        assert load_environment(FOLDER / f"{name}.yaml", None).incidents.webhook is None


def answers(**how):
    """Let the chat answer so."""

    @contextmanager
    def scene(notified, monkeypatch):
        with chat(notified.authority, **how) as there:
            notified.vault_has(there.address.reveal())
            yield there.token

    return scene


def without_a_chat(change):
    """Let something else be wrong; ``change`` is given a planted value."""

    @contextmanager
    def scene(notified, monkeypatch):
        token = planted("-_")
        notified.vault_has(f"https://127.0.0.1:9/services/{token}")
        change(notified, monkeypatch, token)
        yield token

    return scene


def late(notified, monkeypatch, token):
    monkeypatch.setattr(notified.world.vault, "read_keys", lambda *arguments: time.sleep(30))


def defective(notified, monkeypatch, token):
    def fails(address, *arguments):
        raise ValueError(address.reveal())

    monkeypatch.setattr(webhook, "post", fails)


def not_logged_in(notified, monkeypatch, token):
    notified.world.vault.use_token("")


HOST = "webhook at 127.0.0.1: "
PLACE = "webhook at incidents.webhook.address: "
SCENES = {
    "an error": (answers(status=500), f"{HOST}HTTP 500."),
    "a redirect": (answers(status=307, headers={"Location": "https://127.0.0.1:9/x"}), f"{HOST}HTTP 307: it redirects"),
    "an address that is gone": (answers(status=404), f"{HOST}HTTP 404: it does not take the post"),
    "no answer": (answers(status=None), f"{HOST}no answer in time."),
    "an answer without end": (answers(drips=True), "the post to the chat: not within 1 s"),
    "nobody there": (without_a_chat(lambda *_: None), f"{HOST}no connection"),
    "no TLS": (
        without_a_chat(lambda notified, _, token: notified.vault_has(f"http://127.0.0.1:9/{token}")),
        f"{HOST}its address is not https: nothing is sent.",
    ),
    "no address": (
        without_a_chat(lambda notified, _, token: notified.vault_has(token)),
        f"{PLACE}what Vault has there is no",
    ),
    "another key": (
        without_a_chat(lambda notified, _, token: notified.vault_has(token, "other")),
        f"{PLACE}its address cannot be read: Vault at https://vault.test:8200: {PATH} has no key url.",
    ),
    "Vault is sealed": (
        without_a_chat(lambda notified, *_: setattr(notified.world.vault, "sealed", True)),
        f"{PLACE}its address cannot be read: Vault at https://vault.test:8200: it is sealed. Unseal it",
    ),
    "Vault refuses": (without_a_chat(not_logged_in), f"{PLACE}its address cannot be read: Vault at"),
    "Vault is late": (without_a_chat(late), "the post to the chat: not within 1 s"),
    "not filled in": (
        without_a_chat(lambda notified, *_: notified.names({"path": "FILL-IN: ask", "key": KEY})),
        "the environment does not say incidents.webhook.address.path. Fill it in: ask",
    ),
    "no such authorities": (
        without_a_chat(lambda notified, *_: notified.names({"path": PATH, "key": KEY}, FOLDER / "nowhere.crt")),
        f"{HOST}{FOLDER / 'nowhere.crt'} cannot be read",
    ),
    "a defect": (without_a_chat(defective), "the post itself failed: ValueError. Please report this."),
}


@pytest.mark.parametrize("scene", SCENES)
def test_a_chat_or_vault_that_fails_stops_nothing(notified, monkeypatch, scene):
    """The runbook is run and closed by its verification; record and person are told why, where, and what to do; no address is."""
    setting, expected = SCENES[scene]
    monkeypatch.setattr(sessions, "CHAT", timedelta(seconds=1 if "not within 1 s" in expected else 10))
    notified.limits(timedelta(seconds=1))
    began = time.monotonic()
    with setting(notified, monkeypatch) as token:
        done = notified.respond()
        took_s = time.monotonic() - began
        assert (
            done.exit_code == 0 and notified.record.is_closed and "redeploy --env local" in notified.toolkits.commands
        )
        assert len(notified.notes) == 2 and took_s < 20
        for note, how in zip(notified.notes, ("opened", "closed"), strict=True):
            assert note.startswith(f"not posted to the chat: incident {how}. {expected}")
            assert note.endswith("Tell the chat yourself: ./run report --env local says what to paste.")
        assert [event.detail for event in notified.events if event.subject == "incident/chat"] == notified.notes
        assert "not posted to the chat" in incidents.report(notified.session, "").parts.html
        assert notified.leaks(done, token) == []


def test_the_search_for_the_address_finds_it(notified):
    """Otherwise the tests above would prove nothing."""
    token = planted("-_")
    incidents.note(notified.session, f"https://chat.test/{token}", notified.events.append)
    assert notified.leaks(SimpleNamespace(to_json=lambda began: ""), token) != []
