"""Helm delivers too: the marks of a release, and its record that is kept true. Real Helm: tests/stack/test_delivery_helm.py."""

from __future__ import annotations

import base64
import gzip
import json
from types import SimpleNamespace

import yaml

from prompt_keda.clients.kube.resources import NAMESPACES, SECRETS
from prompt_keda.core.plan import State
from prompt_keda.delivery import helm
from prompt_keda.delivery.helm import HelmDelivery
from tests.contracts.fakes.kube import FakeKube

WORKERS = SimpleNamespace(name="LSSTCam", namespace="prompt-keda-lsstcam", release="workers")
OTHER = SimpleNamespace(name="HSC", namespace="prompt-keda-hsc", release=None)
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "keda-operator", "namespace": "keda"}}
CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"}}


def delivery():
    kube = FakeKube()
    for name in ("keda", WORKERS.namespace):
        kube.create(NAMESPACES, {"metadata": {"name": name}})
    keda = SimpleNamespace(namespace="keda", release="keda", version="2.16.1")
    environment = SimpleNamespace(keda=keda, instruments=(WORKERS, OTHER))
    return kube, HelmDelivery(SimpleNamespace(environment=environment, kube=kube))


def revision(kube, number, status, namespace="keda", name="keda"):
    labels = {"owner": "helm", "name": name, "status": status, "version": str(number)}
    kube.create(SECRETS, {"metadata": {"name": f"sh.helm.release.v1.{name}.v{number}", "labels": labels}}, namespace)


def test_what_is_applied_bears_the_marks_of_its_release():
    """KEDA's of KEDA's, an instrument's of its own; one without a release is somebody else's."""
    _, made = delivery()
    assert made.marked(SERVICE)["metadata"]["annotations"][helm.RELEASE_NAME] == "keda"
    workers = made.marked(SERVICE, WORKERS)["metadata"]["annotations"]
    assert (workers[helm.RELEASE_NAME], workers[helm.RELEASE_NAMESPACE]) == ("workers", WORKERS.namespace)
    assert made.marked(SERVICE, OTHER) is SERVICE


def test_a_release_that_went_with_its_namespace_is_recorded_anew():
    """Helm's list and status find it; no CRD stands in it, so that no upgrade removes one."""
    kube, made = delivery()
    assert made.agreement().state is State.TODO
    made.agree({"": [CRD, SERVICE], "LSSTCam": []})
    assert made.agreement().state is State.DONE
    secret = kube.get(SECRETS, "sh.helm.release.v1.keda.v1", "keda")
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    record = json.loads(gzip.decompress(packed))
    assert record["info"]["status"] == "deployed" and record["chart"]["metadata"]["version"] == "2.16.1"
    assert list(yaml.safe_load_all(record["manifest"])) == [SERVICE]


def test_a_release_without_a_deployed_revision_gets_the_next_one():
    """Helm upgrades from the newest: one that is pending or has failed would refuse."""
    kube, made = delivery()
    revision(kube, 7, "failed")
    revision(kube, 3, "deployed", WORKERS.namespace, "workers")
    made.agree({})
    assert kube.get(SECRETS, "sh.helm.release.v1.keda.v8", "keda")
    assert len(kube.names(SECRETS, WORKERS.namespace, "owner=helm")) == 1


def test_the_rights_are_of_the_releases_namespaces():
    """A Secret that is made has no name yet for RBAC."""
    _, made = delivery()
    assert {(right.verb, right.namespace) for right in made.rights()} == {
        (verb, space) for verb in ("list", "create") for space in ("keda", WORKERS.namespace)
    }
