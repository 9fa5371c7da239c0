"""A kubeconfig's `as`, on a loopback server that plays an API server: kubectl acts as that user, and so does the toolkit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import JOBS
from prompt_keda.core.errors import BadAnswer, Missing, Refused
from tests.contracts.conftest import SECONDS, recording
from tests.contracts.test_kube_login import plugin, text_of

WATCHED = 200, {}, b'{"type": "ADDED", "object": {}}\n'
OK = 200, {}, b'{"gitVersion": "v1.35.4"}'
NO_POD = 404, {}, b"{}"
FORBIDDEN = {
    "message": 'users "reader" is forbidden: User "me" cannot impersonate resource "users" in API group "" at the cluster scope'
}


def asked(headers):
    """Return the impersonation headers of a request, as the server reads them: UTF-8, each name with its values."""
    names = {name.lower() for name in headers if name.lower().startswith("impersonate-")}
    return {name: [value.encode("latin-1").decode() for value in headers.get_all(name)] for name in sorted(names)}


@pytest.fixture
def serve(authority, tmp_path):
    """Serve, and return a function that connects with a user of a kubeconfig; it keeps what each request asked for."""
    requests = []

    def answer(path, headers):
        requests.append((path, headers.get("Authorization"), asked(headers)))
        return WATCHED if path.endswith("/jobs") else NO_POD if path.endswith("/portforward") else OK

    with recording(authority, answer) as (port, _):

        def connect(user):
            cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority.ca_file)}
            (tmp_path / "kubeconfig").write_text(text_of(cluster, user))
            return Kube.connect(tmp_path / "kubeconfig", None, SECONDS)

        connect.requests = requests
        yield connect


WHOLE = {
    "as": "jürgen",
    "as-uid": "7",
    "as-groups": ["a", "b c"],
    "as-user-extra": {"reason": ["drill", "night"], "acme.com/one%": ["x"]},
}
HEADERS = {
    "impersonate-extra-acme.com%2fone%25": ["x"],
    "impersonate-extra-reason": ["drill", "night"],
    "impersonate-group": ["a", "b c"],
    "impersonate-uid": ["7"],
    "impersonate-user": ["jürgen"],
}


def test_every_request_acts_as_the_user_of_the_kubeconfig(serve):
    """Reads, writes, watches, logs and port-forwards carry the headers that kubectl sends (client-go, impersonation)."""
    kube = serve({"token": "t", **WHOLE})
    kube.version()
    kube.request("POST", "/api/v1/namespaces", body={})
    kube.logs("n", "p")
    list(kube.open("GET", JOBS.path("n"), query={"watch": "true"}, stream=True))
    with pytest.raises(Missing):
        kube.port_forward("n", "p", 1)
    assert [path.rpartition("/")[2] for path, *_ in serve.requests] == [
        "version",
        "namespaces",
        "log",
        "jobs",
        "portforward",
    ]
    assert all((token, headers) == ("Bearer t", HEADERS) for _, token, headers in serve.requests)


def users(tmp_path, authority):
    """Return each way to log in, by its name, and the Authorization that is sent for it."""
    (tmp_path / "token").write_text("t")
    authority.ensure_client("person", "me", ())
    certificate = {"client-certificate": "person.crt", "client-key": "person.key"}
    plugin_of = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", plugin(tmp_path / "token")],
    }
    return {
        "token": ({"token": "t"}, "Bearer t"),
        "tokenFile": ({"tokenFile": str(tmp_path / "token")}, "Bearer t"),
        "exec plugin": ({"exec": plugin_of}, "Bearer t"),
        "certificate": ({key: str(authority.folder / name) for key, name in certificate.items()}, None),
        "none": ({}, None),
    }


@pytest.mark.parametrize("way", ["token", "tokenFile", "exec plugin", "certificate", "none"])
def test_whatever_the_login_is_it_acts_as_the_user(way, serve, tmp_path, authority):
    """The server decides whether this login may impersonate; a login that it does not know may not."""
    user, token = users(tmp_path, authority)[way]
    serve({**user, "as": "reader"}).version()
    assert serve.requests == [("/version", token, {"impersonate-user": ["reader"]})]


def test_a_new_login_still_acts_as_the_user(authority, tmp_path):
    """401: the plugin runs again, and what is sent again carries the header too."""
    (tmp_path / "token").write_text("old")
    requests = []

    def answer(path, headers):
        requests.append((headers.get("Authorization"), asked(headers)))
        return OK if headers.get("Authorization") == "Bearer new" else (401, {}, b"{}")

    with recording(authority, answer) as (port, _):
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority.ca_file)}
        script = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", plugin(tmp_path / "token")],
        }
        (tmp_path / "kubeconfig").write_text(text_of(cluster, {"exec": script, "as": "reader"}))
        kube = Kube.connect(tmp_path / "kubeconfig", None, SECONDS)
        (tmp_path / "token").write_text("new")
        kube.version()
    reader = {"impersonate-user": ["reader"]}
    assert requests == [("Bearer old", reader), ("Bearer new", reader)]


@pytest.mark.parametrize("nobody", [{}, {"as": ""}, {"as": None}, {"as-groups": []}, {"as": "", "as-user-extra": {}}])
def test_without_a_user_to_act_as_nothing_is_sent(nobody, serve):
    """Empty is left out, as kubectl does."""
    serve({"token": "t", **nobody}).version()
    assert serve.requests == [("/version", "Bearer t", {})]


def test_empty_parts_are_left_out(serve):
    """As kubectl does: no uid, no groups, an extra without values."""
    empty = {"as-uid": "", "as-groups": None, "as-user-extra": {"a": [], "b": None}}
    serve({"token": "t", "as": "reader", **empty}).version()
    assert serve.requests == [("/version", "Bearer t", {"impersonate-user": ["reader"]})]


REFUSED = {
    "groups without a user": ({"as-groups": ["a"]}, "as-groups"),
    "uid without a user": ({"as-uid": "7"}, "as-uid"),
    "extra without a user": ({"as": "", "as-user-extra": {"a": ["b"]}}, "as-user-extra"),
    "a number": ({"as": 5}, "as"),
    "a list": ({"as": ["reader"]}, "as"),
    "blanks": ({"as": "  "}, "as"),
    "a line end": ({"as": "reader\r\nImpersonate-Group: system:masters"}, "as"),
    "half a letter": ({"as": "a\ud800"}, "as"),
    "nought": ({"as": 0}, "as"),
    "no": ({"as": False}, "as"),
    "a uid that is a number": ({"as": "reader", "as-uid": 0}, "as-uid"),
    "groups that are a text": ({"as": "reader", "as-groups": "a"}, "as-groups"),
    "a group that is a number": ({"as": "reader", "as-groups": ["a", 5]}, "as-groups"),
    "a group that is empty": ({"as": "reader", "as-groups": [""]}, "as-groups"),
    "extra that is a list": ({"as": "reader", "as-user-extra": ["a"]}, "as-user-extra"),
    "an extra that is a text": ({"as": "reader", "as-user-extra": {"a": "b"}}, "as-user-extra"),
    "an extra without a name": ({"as": "reader", "as-user-extra": {"": ["b"]}}, "as-user-extra"),
    "an extra with a line end": ({"as": "reader", "as-user-extra": {"a": ["b\nc"]}}, "as-user-extra"),
}


@pytest.mark.parametrize(("user", "key"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_honoured_is_refused_by_its_key(user, key, tmp_path):
    """Before anything is sent: acting as the full user would be worse than not at all."""
    (tmp_path / "kubeconfig").write_text(text_of(user={"token": "canary", **user}))
    with pytest.raises(BadAnswer, match=f"`{key}`") as caught:
        Kube.connect(Path(tmp_path / "kubeconfig"), None, SECONDS)
    assert "\n" not in caught.value.what and "canary" not in caught.value.what and caught.value.fix


@pytest.mark.parametrize("ask", [lambda kube: kube.version(), lambda kube: kube.port_forward("n", "p", 1)])
def test_a_login_that_may_not_impersonate_is_reported(ask, authority, tmp_path):
    """403, in the server's words, and what to do: it is no right of the toolkit's Role that is missing."""
    with recording(authority, lambda path, headers: (403, {}, json.dumps(FORBIDDEN).encode())) as (port, _):
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority.ca_file)}
        (tmp_path / "kubeconfig").write_text(text_of(cluster, {"token": "t", "as": "reader"}))
        kube = Kube.connect(tmp_path / "kubeconfig", None, SECONDS)
        with pytest.raises(Refused, match="cannot impersonate") as caught:
            ask(kube)
    assert "take `as` out of the kubeconfig" in caught.value.fix
