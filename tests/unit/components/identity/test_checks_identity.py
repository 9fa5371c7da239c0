"""The checks of identity, login and rights: each is seen red for its reason, and green where nothing is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.kube.expiry import LoginLife
from prompt_keda.environment.model import FillIn
from tests.unit.faults import (
    HOUR,
    attribute,
    both,
    broken_verdict,
    clock,
    denied,
    environment,
    fails_for,
    remove,
    turns_red,
    without_manifests,
)
from tests.unit.world import METRICS, SPACE


def identity(**fields):
    """Let the environment expect another cluster."""

    def apply(world):
        known = world.systems.environment.kubernetes
        identity = known.identity.model_copy(update=fields)
        environment(kubernetes=known.model_copy(update={"identity": identity}))(world)

    return apply


def login(left, whole=None, kind="token", renews=False):
    """Let the login be one that has some time left of the whole that it was given."""

    def apply(world):
        ends = datetime.now(UTC) + left
        world.kube.life = LoginLife(kind, ends, ends - whole if whole else None, renews)

    return apply


LOGIN, READ, REDEPLOY = "identity/token-lives-on", "identity/may-read", "identity/may-redeploy"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
RED = [
    ("identity/expected-cluster", attribute("kube", ca_sha256="1" * 64), "fail", "its CA is 111"),
    (
        "identity/expected-cluster",
        both(remove(kinds.NAMESPACES, "kube-system"), lambda world: world.put(kinds.NAMESPACES, "kube-system")),
        "fail",
        "kube-system has the UID",
    ),
    (
        "identity/expected-cluster",
        both(attribute("kube", ca_sha256="1" * 64), identity(kube_system_uid=FillIn("FILL-IN: x"))),
        "fail",
        "its CA is 111",
    ),
    (
        "identity/expected-cluster",
        identity(ca_sha256=FillIn("FILL-IN: x")),
        "unknown",
        "does not say kubernetes.identity.ca_sha256",
    ),
    ("identity/who-am-i", attribute("kube", whoami=lambda: {"username": "system:anonymous"}), "fail", "nobody"),
    (
        "identity/ldap-answers",
        attribute("directory", contexts=["dc=other"]),
        "fail",
        "holds dc=other, not dc=slac,dc=test",
    ),
    ("identity/ldap-answers", attribute("directory", contexts=[]), "fail", "holds nothing, not dc=slac,dc=test"),
    ("identity/ldap-answers", attribute("directory", down=True), "unknown", "connection refused"),
    ("identity/ldap-answers", attribute("directory", wants_a_name=True), "fail", "without a name"),
    ("identity/ldap-answers", environment(ldap=None), "skipped", "names no directory"),
    (LOGIN, both(clock(hours=2), login(HOUR, 8 * HOUR)), "fail", "the token expired at 20"),
    (LOGIN, attribute("kube", life=None), "unknown", "does not say when it expires"),
    (LOGIN, login(-MINUTE, HOUR), "fail", "the token expired at 20"),
    (LOGIN, login(-MINUTE, HOUR, renews=True), "fail", "the token expired at 20"),
    (LOGIN, login(9.5 * MINUTE, 8 * HOUR), "warn", "the token expires in 9 min"),
    (LOGIN, login(1.5 * MINUTE, 15 * MINUTE), "warn", "the token expires in 1 min"),
    (LOGIN, login(1.5 * MINUTE), "warn", "the token expires in 1 min"),
    (LOGIN, login(6.5 * DAY, 365 * DAY, "client certificate"), "warn", "the client certificate expires in 6 days"),
    (READ, denied("list", "nodes"), "fail", "not allowed: list nodes"),
    (READ, denied("get", "secrets"), "fail", "get secrets kedaorg-certs in keda; get secrets pull-secret in keda"),
    (READ, fails_for("kube", "rules", "keda"), "unknown", "no answer in time"),
    (REDEPLOY, denied("delete", "apiservices"), "warn", f"not allowed: delete apiservices {METRICS}"),
    (REDEPLOY, denied("patch", "jobs"), "warn", f"not allowed: patch jobs in {SPACE}"),
    (REDEPLOY, without_manifests, "unknown", "what would be applied is not known"),
]


test_a_check_turns_red_for_its_reason = turns_red(RED)


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        (LOGIN, login(2.5 * MINUTE, 15 * MINUTE)),
        (LOGIN, login(MINUTE, 15 * MINUTE, renews=True)),
        (LOGIN, login(11 * MINUTE, 8 * HOUR)),
        (LOGIN, login(8 * DAY, 365 * DAY, "client certificate")),
        (LOGIN, attribute("kube", life=LoginLife("token", None))),
    ],
)
def test_a_login_that_lives_on_is_green(check, fault):
    """A login gets its time, as long as it is."""
    outcome = broken_verdict(check, fault)
    assert outcome.verdict.value == "ok", outcome
