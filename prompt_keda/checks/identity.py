"""Identity: is this the cluster that is meant, who am I, and does the directory answer?"""

from __future__ import annotations

from prompt_keda.checks.outcomes import fail, ok, skipped
from prompt_keda.clients.kube_resources import NAMESPACES
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.model.check import Check, Outcome

API = "cluster/api-answers"


def expected_cluster(systems: Systems) -> Outcome:
    """Compare CA and kube-system UID with the environment's."""
    wanted = systems.environment.kubernetes.identity
    uid = systems.kube.get(NAMESPACES, "kube-system")["metadata"]["uid"]
    ca = filled(wanted.ca_sha256, "kubernetes.identity.ca_sha256")
    expected_uid = filled(wanted.kube_system_uid, "kubernetes.identity.kube_system_uid")
    if systems.kube.ca_sha256 != ca:
        return fail(f"its CA is {systems.kube.ca_sha256}, expected {ca}", "Check the kubeconfig's context.")
    if uid != expected_uid:
        return fail(f"kube-system has the UID {uid}, expected {expected_uid}", "Was the cluster rebuilt?")
    return ok(f"CA {ca[:12]}…, kube-system {uid}")


def who_am_i(systems: Systems) -> Outcome:
    """Ask the API server whom it sees."""
    user = systems.kube.whoami()
    if user["username"] == "system:anonymous":
        return fail("nobody: the API server sees an anonymous request", "Log in again.")
    return ok(f"{user['username']} in {', '.join(user.get('groups', []))}")


def ldap_answers(systems: Systems) -> Outcome:
    """Read the root of the directory over TLS."""
    settings = systems.environment.ldap
    if settings is None:
        return skipped("the environment names no directory")
    wanted = filled(settings.base_dn, "ldap.base_dn")
    contexts = systems.naming_contexts()
    if wanted.lower() not in (one.lower() for one in contexts):
        return fail(f"{settings.url} holds {', '.join(contexts) or 'nothing'}, not {wanted}")
    return ok(f"{settings.url} holds {wanted}")


CHECKS: tuple[Check[Systems], ...] = (
    Check("identity/cluster-is-the-expected-one", "this is the cluster that is meant", expected_cluster, (API,)),
    Check("identity/who-am-i", "the API server knows who I am", who_am_i, (API,), runbook="cluster-unreachable"),
    Check(
        "identity/ldap-answers",
        "the directory that people log in with answers",
        ldap_answers,
        fix="Nobody gets a new token while it is away. Ask the directory's owners.",
        runbook="cluster-unreachable",
    ),
)
