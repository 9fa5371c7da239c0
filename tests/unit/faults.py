"""Faults that are injected into a world that is as it should be, for the tests of more than one category of checks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.core.errors import Unreachable
from prompt_keda.environment.model import ArgoCdSettings

from .world import KEDA_IMAGE, SCALED_JOB, SPACE, World, now

HOUR = timedelta(hours=1)
EVERY_KIND = [{"group": "*", "kind": "*"}]
DELIVERED = {
    "support": {"group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keda-operator"},
    "prompt": {"kind": "ServiceAccount", "namespace": SPACE, "name": "default"},
}
"""One object of the Application in each project, as Argo CD lists what it delivers."""


def change(resource, name, namespace=None, **fields):
    return lambda world: world.change(resource, name, namespace, **fields)


def remove(resource, name, namespace=None):
    return lambda world: world.remove(resource, name, namespace)


def scaled_job(**fields):
    return change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, **fields)


def without_parts(world):
    for deployment in world.kube.list(kinds.DEPLOYMENTS, "keda"):
        world.remove(kinds.DEPLOYMENTS, deployment["metadata"]["name"], "keda")


def denied(verb, plural):
    return lambda world: world.kube.denied.add((verb, plural))


def attribute(where, **values):
    return lambda world: [setattr(getattr(world, where), key, value) for key, value in values.items()]


def clock(**ahead):
    """Let the API server's clock be ahead of this machine's, or behind it."""
    return attribute("kube", server_time=lambda: datetime.now(UTC) + timedelta(**ahead))


def environment(**changes):
    def apply(world):
        world.systems.environment = world.systems.environment.model_copy(update=changes)

    return apply


def known(**changes):
    """Let the environment say something else about what cannot be read."""
    return lambda world: environment(capacity=world.systems.environment.capacity.model_copy(update=changes))(world)


def latiss(*faults, **fields):
    """Return what adds a second instrument after the first, and injects the faults; its ScaledJob has ``fields``."""

    def apply(world):
        world.add_instrument("latiss", **fields)
        for inject in faults:
            inject(world)

    return apply


def unreachable(*arguments, **options):
    raise Unreachable("here", "there", "no answer in time")


def fails_for(where, method, *names):
    """Let a method of a double fail for one thing that it is asked for, as if the connection broke there."""

    def apply(world):
        double = getattr(world, where)
        original = getattr(double, method)

        def asked(*arguments, **options):
            broken = any(word in names for word in arguments)
            return unreachable() if broken else original(*arguments, **options)

        setattr(double, method, asked)

    return apply


def keda_runs(image=KEDA_IMAGE, init=()):
    """Let one part of KEDA run other images."""
    pod = {"containers": [{"image": image}], "initContainers": [{"image": container} for container in init]}
    return change(kinds.DEPLOYMENTS, "keda-operator", "keda", spec={"template": {"spec": pod}})


def both(*faults):
    return lambda world: [inject(world) for inject in faults]


def keda_settings(**fields):
    """Let the environment say something else of KEDA."""

    def apply(world):
        environment(keda=world.systems.environment.keda.model_copy(update=fields))(world)

    return apply


def without_manifests(world):
    manifests = world.systems.environment.keda.manifests.model_copy(update={"source": "/nowhere/keda.json"})
    keda_settings(manifests=manifests)(world)


def own_secret(**fields):
    return change(kinds.SECRETS, "prompt-redis-auth", SPACE, **fields)


def broken_verdict(check, fault):
    """Return what a check says of a world in which one thing is broken."""
    world = World()
    fault(world)
    return world.verdict(check)


def turns_red(rows):
    """Return the test that runs for each row: a check, the fault of the world, the verdict, and what is then said."""

    @pytest.mark.parametrize(("check", "fault", "verdict", "message"), rows, ids=[f"{row[0]}-{row[3]}" for row in rows])
    def test(check, fault, verdict, message):
        """One thing is broken; the verdict fits, and names it."""
        outcome = broken_verdict(check, fault)
        assert (outcome.verdict.value, message in outcome.observed) == (verdict, True), outcome

    return test


def job(name="late", seconds=40, going=False, begun=None, resumed=None, spec=None, **status):
    """Make a Job ``seconds`` ago that was taken up ``begun`` s ago, and resumed ``resumed`` s ago."""

    def apply(world):
        own_status = dict(status)
        if begun is not None:
            own_status["startTime"] = now(seconds=begun)
        if resumed is not None:
            own_status["conditions"] = [
                {"type": "Suspended", "status": "False", "lastTransitionTime": now(seconds=resumed)}
            ]
        world.put(kinds.JOBS, name, SPACE, spec=spec or {}, status=own_status)
        times = {"creationTimestamp": now(seconds=max(seconds, begun or 0))}
        world.change(kinds.JOBS, name, SPACE, metadata=times | ({"deletionTimestamp": now()} if going else {}))

    return apply


def delivered_by_argo_cd(world):
    """Let Argo CD deliver, and agree."""
    (instrument,) = world.systems.environment.instruments
    known = world.systems.environment
    world.systems.environment = known.model_copy(
        update={
            "keda": known.keda.model_copy(update={"delivery": "argocd"}),
            "argocd": ArgoCdSettings(tracking="label"),
            "instruments": (instrument.model_copy(update={"application": SCALED_JOB}),),
        }
    )
    world.put(kinds.NAMESPACES, "argocd")
    project_spec = {"destinations": [{"server": "*", "namespace": "*"}], "clusterResourceWhitelist": EVERY_KIND}
    for name, project in (("keda", "support"), (SCALED_JOB, "prompt")):
        status = {"sync": {"status": "Synced"}, "reconciledAt": now(seconds=20), "resources": [DELIVERED[project]]}
        destination = {"server": "https://kubernetes.default.svc", "namespace": name}
        spec = {"project": project, "destination": destination, "syncPolicy": {}}
        world.put(kinds.APPLICATIONS, name, "argocd", spec=spec, status=status)
        world.put(kinds.APP_PROJECTS, project, "argocd", spec=project_spec)
    data = {
        "application.resourceTrackingMethod": "label",
        "application.instanceLabelKey": "argocd.argoproj.io/instance",
    }
    world.put(kinds.CONFIG_MAPS, "argocd-cm", "argocd", data=data)
