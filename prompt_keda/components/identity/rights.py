"""What this identity may do: read all that the checks look at, and redeploy."""

from __future__ import annotations

from prompt_keda.clients.kube.access_reviews import missing_rights
from prompt_keda.clients.systems import Systems, filled
from prompt_keda.components.identity.check_rights import rights_to_look
from prompt_keda.components.identity.redeploy_rights import redeploy_rights
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.outcomes import fail, ok, unknown, warn
from prompt_keda.core.rights import Right, named
from prompt_keda.delivery.choice import delivery
from prompt_keda.delivery.manifests import load_instrument_objects, load_keda_manifests, local_file
from prompt_keda.environment.model import Environment


@check(
    "identity/may-read",
    "The login may read everything that the checks look at",
    needs=("identity/who-am-i",),
    fix="Try again; if the API server is away, cluster/api-answers says so.",
    runbook="not-allowed",
)
def may_read(systems: Systems) -> Outcome:
    """One rules review for each namespace, and access reviews for what that does not prove.

    Cause: The Role in [environments/rbac/check-deps.yaml](../environments/rbac/check-deps.yaml), which gives these
    rights and no others, is not bound to this identity, or is an older one.

    Fix: The result names verbs and resources; ask the cluster's owners for the Role.
    """
    wanted = rights_to_look(systems.environment)
    missing = missing_rights(systems.kube, wanted)
    if missing:
        return fail(f"not allowed: {named(missing)}", "Ask for the Role in environments/rbac/check-deps.yaml.")
    return ok(f"{len(wanted)} rights, all that the checks need")


@check(
    "identity/may-redeploy",
    "The login may redeploy KEDA",
    needs=("identity/who-am-i",),
    fix="Try again; if the API server is away, cluster/api-answers says so.",
    runbook="not-allowed",
)
def may_redeploy(systems: Systems) -> Outcome:
    """Compare the rights that the steps of a redeploy need, by KEDA's manifests and the instruments', with what this
    identity has.

    Cause: WARN: this identity only looks, or lacks some rights. Whether it may apply KEDA's own roles, for which it
    must have their rights, only the preflight of a redeploy shows. UNKNOWN: the manifests are not on this machine.

    Fix: The result names verbs and resources; somebody who has them runs `./run redeploy`. The Role in
    [environments/rbac/redeploy.yaml](../environments/rbac/redeploy.yaml) gives them to those who are to.
    """
    environment = systems.environment
    try:
        wanted = sorted({*rights_to_redeploy(environment), *delivery(systems).rights()})
    except EnvironmentFileError as error:
        return unknown(f"what would be applied is not known: {error.what}", "./run prepare fetches KEDA's manifests.")
    missing = missing_rights(systems.kube, wanted)
    if missing:
        return warn(f"not allowed: {named(missing)}", "Somebody with these rights has to run ./run redeploy.")
    return ok(f"{len(wanted)} rights, all that a redeploy needs")


def rights_to_redeploy(environment: Environment) -> list[Right]:
    """Return every right that the steps of a redeploy need.

    Raises
    ------
    EnvironmentFileError
        When a manifest that would be applied cannot be read.
    Unfilled
        When the environment does not say where KEDA's manifests are, or their SHA-256.
    """
    manifests = environment.keda.manifests
    source = filled(manifests.source, "keda.manifests.source")
    sha256 = filled(manifests.sha256, "keda.manifests.sha256")
    own = {instrument.name: load_instrument_objects(instrument, _Anything()) for instrument in environment.instruments}
    return redeploy_rights(environment, load_keda_manifests(local_file(source, sha256), sha256), own)


class _Anything(dict[str, str]):
    """Fills every placeholder: which rights a manifest needs does not depend on the images that it names."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return key
