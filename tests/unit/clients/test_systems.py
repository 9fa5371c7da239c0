"""The clients of one environment: who looks, and how they are closed."""

from __future__ import annotations

import getpass
import os
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from prompt_keda.clients.http.tls import require
from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.ldap import ldap_probe
from prompt_keda.clients.libraries import ONE_AT_A_TIME
from prompt_keda.clients.systems import Systems
from prompt_keda.components.round import choose, run_round
from prompt_keda.core.errors import Refused, Unreachable
from prompt_keda.core.event import nobody
from tests.unit.world import World

LIMITS, NO_VCLUSTER = SimpleNamespace(connect=None, answer=None), SimpleNamespace(syncer=None)


class Opened:
    """Something that was opened; closing it may fail, or let a late check connect meanwhile."""

    def __init__(self, meanwhile=lambda: None):
        self.closed, self._meanwhile = False, meanwhile

    def close(self):
        self.closed = True
        self._meanwhile()


def broken():
    raise OSError("the connection has ended already")


@pytest.mark.parametrize("kind", [KeyError, OSError])
def test_a_user_without_a_name_is_reported_by_number(monkeypatch, kind):
    """A container may run as a user that stands in no passwd file."""

    def nameless():
        raise kind("no such user")

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert Systems(None).viewpoint.startswith(f"{os.getuid()}@")


def test_one_that_cannot_be_closed_does_not_stop_the_others():
    """Nor does it hide why the work ended."""
    systems, last = Systems(None), Opened()
    systems._made = {"first": Opened(broken), "vault": object(), "last": last}
    systems.close()
    assert last.closed


def test_a_check_that_comes_too_late_does_not_disturb_closing():
    """Its thread connects while the others are closed."""
    systems, last = Systems(None), Opened()

    def late():
        thread = threading.Thread(target=lambda: systems._once("late", Opened))
        thread.start()
        thread.join()

    systems._made = {"first": Opened(late), "last": last}
    systems.close()
    assert last.closed and "late" in systems._made


@pytest.mark.parametrize(("error", "tries"), [(Refused, 1), (Unreachable, 3)])
@pytest.mark.parametrize(("name", "log_in"), [("vault", "_log_in_to_vault"), ("kube", None)])
def test_a_refused_login_is_not_tried_again(monkeypatch, name, log_in, error, tries):
    """Each use says so; but Vault or a directory locks out who fails several times. What did not answer may answer now."""
    tried = []

    def fails(*arguments):
        tried.append(arguments)
        raise error(name, "https://x.test", "no")

    monkeypatch.setattr(Systems, log_in, fails) if log_in else monkeypatch.setattr(Kube, "connect", fails)
    systems = Systems(
        SimpleNamespace(kubernetes=SimpleNamespace(context="c", kubeconfig=None), limits=LIMITS, capacity=NO_VCLUSTER)
    )
    for _ in range(3):
        with pytest.raises(error, match="no"):
            getattr(systems, name)
    assert len(tried) == tries


NOWHERE = SimpleNamespace(
    kubernetes=SimpleNamespace(context="c", kubeconfig=Path("nowhere")),
    vault=SimpleNamespace(url="https://127.0.0.1:9", ca_file=None),
    redis=SimpleNamespace(password=None, tls=None, reach="direct", service="127.0.0.1", port=9),
    registries=[],
    limits=SimpleNamespace(connect=timedelta(seconds=1), answer=None),
    capacity=NO_VCLUSTER,
)
FIRST_USES = {
    "kubernetes": lambda: Systems(NOWHERE).kube,
    "kubernetes, later": lambda: Kube(lambda: None, timedelta(seconds=1)),
    "hvac": lambda: Systems(NOWHERE)._vault(),
    "redis": lambda: Systems(NOWHERE).redis,
    "httpx": lambda: Systems(NOWHERE).registry_as("x.test", None),
    "ldap3": lambda: ldap_probe("ldaps://127.0.0.1:9", None, timedelta(seconds=1)),
}


@pytest.mark.parametrize("library", FIRST_USES)
def test_libraries_are_imported_by_one_thread_at_a_time(library):
    """Two threads that import hvac and kubernetes at once may get halves of requests: each of them then fails."""

    def use():
        with suppress(Exception):
            FIRST_USES[library]()

    thread = threading.Thread(target=use, daemon=True)
    with ONE_AT_A_TIME:
        thread.start()
        thread.join(0.3)
        waits = thread.is_alive()
    thread.join(10)
    assert waits and not thread.is_alive()


@pytest.mark.parametrize("url", ["https://me:hunter2@vault.test", "http://me:hunter2@vault.test"])
def test_an_address_with_a_login_is_refused_and_not_shown(url):
    """It stands in every message and header."""
    with pytest.raises(Refused) as refused:
        require("https", url, "Vault")
    assert (
        "hunter2" not in f"{refused.value}{refused.value.what}{refused.value.fix}"
        and "vault.test" in refused.value.what
    )


@pytest.mark.parametrize(
    ("only", "connected"), [("cluster/api-answers", ["login", "drawn"]), ("vault/unsealed", ["drawn"])]
)
def test_who_logs_in_by_a_program_sees_its_words_before_anything_is_drawn(only, connected):
    """An exec plugin writes on the terminal itself, and would tear the live table. No look needs no login."""
    order = []

    class Logins(Systems):
        @property
        def kube(self):
            order.append("login")
            raise Unreachable("Kubernetes", "nowhere", "no")

        redis = vault = kube

    @contextmanager
    def drawn(ids):
        order.append("drawn")
        yield nobody

    run_round(Logins(World().systems.environment), choose(only), drawn)
    assert order[: len(connected)] == connected
