"""Pages that a pod serves, through the API server: on the double, and from a pod of the local stack."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import SimpleNamespace

import pytest

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import NAMESPACES, PODS, SECRETS
from prompt_keda.core.errors import BadAnswer, ClientError, Missing, Refused, Unreachable
from prompt_keda.lab import settings, state
from tests.contracts.conftest import SECONDS
from tests.contracts.fakes.kube import FakeKube

pytestmark = pytest.mark.stack_only
POD, PORT, CLOSED = "pages", 8080, 8081
PAGE = "# HELP keda_build_info\nkeda_build_info 1\n"
SERVE = f"printf '{PAGE}' > /www/metrics; exec /bin/busybox httpd -f -p {PORT} -h /www"


@pytest.fixture(scope="module", params=["fake", "real"])
def server(request):
    """A client, a namespace with a pod that serves one page, and a client that may not forward ports."""
    space = f"contract-{secrets.token_hex(4)}"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}
    if request.param == "fake":
        kube, reader = FakeKube(), FakeKube()
        for double in (kube, reader):
            double.apply(namespace)
            double.create(PODS, pod(space), space)
        kube.pages[space, POD, PORT, "/metrics"] = PAGE
        reader.denied.add(("get", "pods/portforward"))
    else:
        kube = Kube.connect(Path(state.endpoints()["kubeconfig"]), None, SECONDS)
        reader = Kube.connect(settings.current_lab().state / "reader.kubeconfig", None, SECONDS)
        kube.apply(namespace)
        start(kube, space)
    yield SimpleNamespace(kube=kube, reader=reader, space=space)
    kube.delete(NAMESPACES, space)


def pod(space):
    container = {
        "name": "pages",
        "image": f"{settings.REGISTRY_HOST}/busybox:1",
        "command": ["/bin/busybox", "sh", "-c", SERVE],
        "readinessProbe": {"httpGet": {"path": "/metrics", "port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "www", "mountPath": "/www"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "imagePullSecrets": [{"name": "pull-secret"}],
        "volumes": [{"name": "www", "emptyDir": {}}],
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": space, "name": POD}, "spec": spec}


def start(kube, space):
    """Start the pod with Redis' pull secret, and wait until it serves."""
    secret = kube.get(SECRETS, "pull-secret", "prompt-redis")
    metadata = {"namespace": space, "name": "pull-secret"}
    kube.create(SECRETS, {**secret, "metadata": metadata}, space)
    watch = kube.watch([(PODS, space)])
    try:
        kube.create(PODS, pod(space), space)
        while not is_ready(kube, space):
            assert watch.wait(60), "the pod does not serve"
    finally:
        watch.close()


def is_ready(kube, space):
    statuses = kube.get(PODS, POD, space).get("status", {}).get("containerStatuses") or []
    return any(status["ready"] for status in statuses)


def test_a_page_is_given_as_it_is(server):
    """Every line of it, and again."""
    for _ in range(2):
        assert server.kube.page(server.space, POD, PORT, "/metrics") == PAGE


def test_a_page_that_is_not_there_is_a_bad_answer(server):
    """The pod itself says 404: it is another thing than a pod that is not there."""
    with pytest.raises(BadAnswer, match="/nothing: HTTP 404"):
        server.kube.page(server.space, POD, PORT, "/nothing")


def test_a_pod_that_is_not_there_is_missing(server):
    """Also when it was there a moment ago."""
    with pytest.raises(Missing):
        server.kube.page(server.space, "nobody", PORT, "/metrics")


def test_a_port_where_nobody_listens_does_not_answer(server):
    """Nothing is known of the page then."""
    with pytest.raises(Unreachable):
        server.kube.page(server.space, POD, CLOSED, "/metrics")


@pytest.mark.parametrize("name", [POD, "nobody"])
def test_who_may_not_forward_a_port_is_refused(server, name):
    """403, and not whether there is such a pod."""
    with pytest.raises(Refused, match="403"):
        server.reader.page(server.space, name, PORT, "/metrics")


def test_a_pod_that_goes_is_an_error_of_the_project(server):
    """Last, because it deletes the pod: whatever the moment, it is no page and no foreign error."""
    server.kube.delete(PODS, POD, server.space)
    with pytest.raises(ClientError):
        for _ in range(1000):  # its end takes a moment
            server.kube.page(server.space, POD, PORT, "/metrics")
