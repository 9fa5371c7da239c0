"""Identity: is this the cluster that is meant, who am I and for how long, what may I do, does the directory answer?"""

from __future__ import annotations

from datetime import timedelta

from prompt_keda.clients.kube.resources import NAMESPACES
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.cluster.clock import server_now
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.outcomes import all_of, fail, ok, skipped, unknown, warn

LONGEST_REDEPLOY = timedelta(minutes=10)
"""A redeploy takes less than two minutes where nothing has to be waited for, and up to this with waiting."""
LEFT_WANTED = (
    (timedelta(days=30), timedelta(days=7)),
    (timedelta(hours=1), LONGEST_REDEPLOY),
    (timedelta(0), timedelta(minutes=2)),
)
"""A login that lives longer than the first has to have more than the second left.

A token of minutes cannot promise ten; its next one comes soon. A certificate of months is renewed by people, who need days.
"""


@check(
    "identity/expected-cluster",
    "The cluster is the one that the environment names",
    needs=("cluster/api-answers",),
    runbook="wrong-cluster",
)
def expected_cluster(systems: Systems) -> Outcome:
    """Compare CA and kube-system UID with the environment's.

    Cause: The kubeconfig's context leads elsewhere, or the vCluster was rebuilt.
    """
    expected = systems.environment.kubernetes.identity

    def ca() -> Outcome:
        wanted, live = filled(expected.ca_sha256, "kubernetes.identity.ca_sha256"), systems.kube.ca_sha256
        if live != wanted:
            return fail(f"its CA is {live}, expected {wanted}", "Check the kubeconfig's context.")
        return ok(f"CA {wanted[:12]}…")

    def uid() -> Outcome:
        uid = systems.kube.get(NAMESPACES, "kube-system")["metadata"]["uid"]
        wanted = filled(expected.kube_system_uid, "kubernetes.identity.kube_system_uid")
        if uid != wanted:
            return fail(f"kube-system has the UID {uid}, expected {wanted}", "Was the cluster rebuilt?")
        return ok(f"kube-system {uid}")

    return all_of((("CA", ca), ("kube-system", uid)), lambda look: look())


@check(
    "identity/who-am-i",
    "The API server accepts the login",
    needs=("cluster/api-answers",),
    runbook="cluster-unreachable",
)
def who_am_i(systems: Systems) -> Outcome:
    """Ask the API server whom it sees.

    Cause: The login gave no token, or it has expired.
    """
    user = systems.kube.whoami()
    if user["username"] == "system:anonymous":
        return fail("nobody: the API server sees an anonymous request", "Log in again.")
    return ok(f"{user['username']} in {', '.join(user.get('groups', []))}")


@check(
    "identity/token-lives-on",
    "The login outlives a redeploy",
    needs=("cluster/api-answers",),
    runbook="cluster-unreachable",
)
def token_lives_on(systems: Systems) -> Outcome:
    """The token (JWT), the exec plugin or the client certificate says until when; that is read, not verified, and
    nothing else of it is shown.

    Cause: FAIL: it has expired. WARN: a redeploy may outlive it: less than 10 minutes of a login of hours, 2 minutes
    of one of minutes (or of one that does not say since when it lives), 7 days of one of months; not where an exec
    plugin fetches the next. UNKNOWN: it does not say.

    Fix: Log in again.
    """
    fix = "Log in again."
    life = systems.kube.login_life()
    if life is None:
        return unknown("the login does not say when it expires", "If it expires in mid-run: log in, ./run resume.")
    if life.ends is None:
        return ok(f"the {life.kind} does not expire")
    now = server_now(systems)
    left = life.ends - now
    message = f"the {life.kind} expires in {_in_words(left)}, at {life.ends:%Y-%m-%d %H:%M:%S} UTC"
    if left <= timedelta(0):
        return fail(f"the {life.kind} expired at {life.ends:%Y-%m-%d %H:%M:%S} UTC", fix)
    whole = life.ends - (life.begins or now)
    wanted = next((least for longer, least in LEFT_WANTED if whole > longer), LEFT_WANTED[-1][1])
    if left < wanted and not life.renews:
        return warn(f"{message}: a redeploy may outlive it", fix)
    return ok(f"{message}{'; the next one is fetched by itself' if life.renews else ''}")


def _in_words(left: timedelta) -> str:
    if left > timedelta(days=2):
        return f"{left.days} days"
    minutes, seconds = divmod(int(left.total_seconds()), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"


@check(
    "identity/ldap-answers",
    "The login directory (LDAP) answers",
    fix="Nobody gets a new token while it is away. Ask the directory's owners.",
    runbook="cluster-unreachable",
)
def ldap_answers(systems: Systems) -> Outcome:
    """Read the root of the directory over TLS. SKIPPED when the environment names no directory.

    Cause: The directory is away, or it is another one than the environment's. Who has a token keeps it until it
    expires; nobody gets a new one.
    """
    settings = systems.environment.ldap
    if settings is None:
        return skipped("the environment names no directory")
    wanted = filled(settings.base_dn, "ldap.base_dn")
    contexts = systems.naming_contexts()
    if wanted.lower() not in (context.lower() for context in contexts):
        return fail(f"{settings.url} holds {', '.join(contexts) or 'nothing'}, not {wanted}")
    return ok(f"{settings.url} holds {wanted}")
