"""The clients of one environment: who looks, and how they are closed."""

from __future__ import annotations

import getpass
import os
import threading
from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube import Kube
from prompt_keda.clients.systems import Systems
from prompt_keda.errors import Refused, Unreachable

LIMITS = SimpleNamespace(connect=None)


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
def test_a_user_without_a_name_is_told_by_number(monkeypatch, kind):
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
    systems = Systems(SimpleNamespace(kubernetes=SimpleNamespace(context="c", kubeconfig=None), limits=LIMITS))
    for _ in range(3):
        with pytest.raises(error, match="no"):
            getattr(systems, name)
    assert len(tried) == tries
