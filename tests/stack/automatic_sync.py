"""Argo CD syncs by itself during a test, and is found so at its end."""

from __future__ import annotations

from contextlib import contextmanager

from prompt_keda.clients.kube.resources import APPLICATIONS
from prompt_keda.delivery.argocd import SUSPENDED_BY
from prompt_keda.lab import argocd


@contextmanager
def automatic_sync(kube):
    """Switch it on, without self-heal: that would repair the test's fault, and end Jobs by it.

    What git has is synced first, without hooks: a commit that Argo CD has not tried yet would be a full sync, which deletes
    the ScaledJob. At the end it is switched on as it was, bears no run's mark, and both Applications are Synced and Healthy.
    """
    for name in argocd.APPLICATIONS:
        argocd.require(argocd.sync(kube, name, strategy="apply"))
        _set(kube, name, {})
    try:
        yield
        for name in argocd.APPLICATIONS:
            live = kube.get(APPLICATIONS, name, argocd.NAMESPACE)
            assert live["spec"]["syncPolicy"]["automated"] == {}
            assert SUSPENDED_BY not in (live["metadata"].get("annotations") or {})
            argocd.refresh(kube, name)
            argocd.wait_until_healthy(kube, name)
    finally:
        for name in argocd.APPLICATIONS:
            _set(kube, name, None)


def _set(kube, name, automated):
    kube.patch(APPLICATIONS, name, argocd.NAMESPACE, {"spec": {"syncPolicy": {"automated": automated}}})
