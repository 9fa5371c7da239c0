"""The Kubernetes API: kubeconfig, authentication and TLS from the `kubernetes` package, requests raw.

The package's typed classes are left alone: their import and first use cost about a second, more than all checks together.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from prompt_keda.clients.kube.errors import SYSTEM, failure, is_conflict, retry_after_s, unreachable
from prompt_keda.clients.kube.expiry import LoginLife, login_life
from prompt_keda.clients.kube.login import ca_sha256, log_in
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.port_forward import open_port
from prompt_keda.clients.kube.resources import Resource
from prompt_keda.clients.libraries import ONE_AT_A_TIME
from prompt_keda.clients.whole_answer import bounded
from prompt_keda.core.errors import BadAnswer, ClientError, Missing

if TYPE_CHECKING:
    from prompt_keda.clients.kube.watch import Watch

READY = "/readyz"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
FIELD_MANAGER = "prompt-keda"
Explain = Callable[[ClientError], None]
"""Says in an error what it means at this API server."""


def as_it_is(error: ClientError) -> None:
    """Leave an error as it is: it means what it says."""


class Kube:
    """One API server, as one identity. Its methods can be called from several threads.

    Make it with `Kube.connect`.
    """

    def __init__(
        self,
        log_in_again: Callable[[], Any],
        timeout: timedelta,
        explain: Explain = as_it_is,
        write_timeout: timedelta | None = None,
    ) -> None:
        self._log_in_again, self._explain = log_in_again, explain
        self._write_timeout_s = (write_timeout or timeout).total_seconds()
        self._timeout_s = timeout.total_seconds()
        self._plurals: dict[str, Sequence[Object]] = {}
        self._lock = threading.Lock()
        self._set_login()
        self.address: str = self._configuration.host

    @classmethod
    def connect(
        cls,
        kubeconfig: Path | None,
        context: str | None,
        timeout: timedelta,
        explain: Explain = as_it_is,
        write_timeout: timedelta | None = None,
    ) -> Kube:
        """Read a kubeconfig, and log in as it says. No request is sent yet, unless the login needs one.

        Parameters
        ----------
        kubeconfig
            None: what kubectl would take.
        context
            None: the kubeconfig's current one.
        timeout
            For each wait for the server, and for a refresh of the login at its issuer; the whole of an answer is bounded as well
            (`whole_answer`). An exec plugin has none: it may wait for a person.
        explain
            Given each error of a request before it is raised.
        write_timeout
            For each wait for the answer to what is written, or tried by a dry run; None: as ``timeout``.

        Raises
        ------
        Missing
            When there is no such file, context or key in it.
        BadAnswer
            When the file is no kubeconfig, or its certificate authority is no certificate.
        Refused
            When it does without TLS or its verification; `LoggedOut` when exec plugin or issuer give no token.
        """
        return cls(lambda: log_in(kubeconfig, context, timeout), timeout, explain, write_timeout)

    @property
    def ca_sha256(self) -> str | None:
        """The SHA-256 of the DER form of the CA certificates that the kubeconfig trusts, in lower-case hex.

        Raises as `prompt_keda.clients.kube.login.ca_sha256` does.
        """
        return ca_sha256(self._configuration)

    def get_raw(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """Return the JSON at a path. Raises as `request` does."""
        return self.request("GET", path, query=query)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> Object:
        """Send one request, and return its JSON.

        Raises
        ------
        Unreachable
            When no answer comes: name, TCP, TLS or time-out, told apart.
        Refused
            On 401 and 403; with what was denied.
        Missing
            On 404.
        BadAnswer
            On any other error; with the server's words.
        """
        data = None if body is None else json.dumps(body).encode()
        answer = self.open(method, path, query=query, data=data, content_type=content_type, timeout_s=timeout_s)
        return self._object(answer.data)

    def _write(self, method: str, path: str, **request: Any) -> Object:
        """Send a request that writes, or tries to by a dry run: its answer may take longer than a connection."""
        return self.request(method, path, timeout_s=self._write_timeout_s, **request)

    def _object(self, data: bytes) -> Object:
        """Read an answer. What is no object of Kubernetes' is not known, and never "nothing there"."""
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise BadAnswer(SYSTEM, self.address, "it did not answer with a JSON object: is it an API server?")
        return document

    def _items(self, answer: Object) -> list[Object]:
        if "items" not in answer:
            raise BadAnswer(SYSTEM, self.address, "it was asked for a list, and gave none")
        items: list[Object] = answer["items"] or []
        return items

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        data: bytes | None = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
        stream: bool = False,
        accept: str = "application/json",
        whatever_it_says: bool = False,
    ) -> Any:
        """Send one request, and return urllib3's answer: for watches and logs. Raises as `request` does.

        A server that is busy (429), as while the storage of a new CRD is made, is asked again when it says, until the
        client's time-out.

        Parameters
        ----------
        whatever_it_says
            Give an answer of any status, and raise for none.
        """
        url = f"{self.address}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": content_type}
        token = self._token()
        answer = self._send(method, url, data, headers, token, timeout_s, stream)
        if answer.status == 401 and self._log_in_instead_of(token):  # the token was withdrawn before its time
            answer = self._send(method, url, data, headers, self._token(), timeout_s, stream)
        end = time.monotonic() + self._timeout_s
        while answer.status == 429 and (pause := retry_after_s(answer.headers)) < end - time.monotonic():
            time.sleep(pause)  # the server says how long; nothing else says when it takes requests again
            answer = self._send(method, url, data, headers, self._token(), timeout_s, stream)
        if answer.status >= 300 and not whatever_it_says:
            raise self._explained(failure(self.address, method, path, answer.status, answer.data))
        return answer

    def _explained(self, error: ClientError) -> ClientError:
        self._explain(error)
        return error

    def _send(
        self,
        method: str,
        url: str,
        data: bytes | None,
        headers: dict[str, str],
        token: str | None,
        timeout_s: float | None,
        stream: bool,
    ) -> Any:
        import urllib3

        whole = urllib3.HTTPHeaderDict(headers)
        if token:
            whole["Authorization"] = token
        for name, value in self._configuration.impersonation:
            whole.add(name, value.encode().decode("latin-1"))  # kubectl sends UTF-8, http.client Latin-1
        read_s = timeout_s or self._timeout_s
        wait = urllib3.Timeout(connect=self._timeout_s, read=read_s)
        options: dict[str, Any] = {"redirect": False, "retries": False, "preload_content": not stream}
        try:
            return self._pool.request(method, url, body=data, headers=whole, timeout=wait, **options)
        except urllib3.exceptions.HTTPError as error:
            proxy = self._configuration.named_proxy
            raise self._explained(unreachable(error, self.address, self._timeout_s, read_s, proxy)) from error

    def _set_login(self) -> None:
        with ONE_AT_A_TIME:
            from kubernetes.client.rest import RESTClientObject
            from urllib3.util.ssl_ import create_urllib3_context

        self._configuration = self._log_in_again()
        self._pool = RESTClientObject(self._configuration).pool_manager
        # how the server is verified, and the client's certificate, stand in the pool's settings
        context = bounded(create_urllib3_context())
        if not self._configuration.ssl_ca_cert:
            context.load_default_certs()  # as urllib3 does with a context of its own alone
        self._pool.connection_pool_kw["ssl_context"] = context

    def _token(self) -> str | None:
        """Return the value of the Authorization header. An expired token is renewed by exec plugin or issuer, once."""
        with self._lock:
            return self._known_token()

    def _known_token(self) -> str | None:
        token: str | None = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return token

    def _log_in_instead_of(self, token: str | None) -> bool:
        """Log in again, unless another thread has done so meanwhile; False if that gives nothing new."""
        with self._lock:
            if self._known_token() == token:
                self._set_login()
            return self._known_token() != token

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """Return one object. Raises `Missing` when it is not found, and as `request` does."""
        return self.get_raw(resource.path(namespace, name))

    def find(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        """Return one object, or None. Raises as `request` does, but never `Missing`."""
        try:
            return self.get(resource, name, namespace)
        except Missing:
            return None

    def list(
        self, resource: Resource, namespace: str | None = None, label_selector: str = "", field_selector: str = ""
    ) -> list[Object]:
        """List objects of one kind, of all namespaces if ``namespace`` is None. A kind that is not served: none."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        try:
            return self._items(self.get_raw(resource.path(namespace), query))
        except Missing:
            return []

    def names(self, resource: Resource, namespace: str | None = None, label_selector: str = "") -> Sequence[Object]:
        """List the metadata of objects alone, of all namespaces if ``namespace`` is None: what they hold is not sent.

        Raises as `request` does.

        Source: Kubernetes, "API concepts": PartialObjectMetadataList.
        """
        query = {"labelSelector": label_selector}
        answer = self.open("GET", resource.path(namespace), query=query, accept=METADATA_ONLY)
        return self._items(self._object(answer.data))

    def each(
        self,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str = "",
        page_count: int = 250,
        field_selector: str = "",
    ) -> Iterator[Object]:
        """Yield objects of one kind one after another, asked for in pages: thousands of pods need no memory at once.

        Raises as `request` does, but a kind that is not served has none; `BadAnswer` (410) when reading takes minutes.
        """
        query = {"limit": str(page_count), "labelSelector": label_selector, "fieldSelector": field_selector}
        while True:
            try:
                page = self.get_raw(resource.path(namespace), query)
            except Missing:
                return
            yield from self._items(page)
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return
            query["continue"] = more

    def create(self, resource: Resource, body: Object, namespace: str | None = None, dry_run: bool = False) -> Object:
        """Create one object; with ``dry_run`` the server only says whether it would.

        Raises as `request` does; `BadAnswer` when it already exists.
        """
        query = {"fieldManager": FIELD_MANAGER, **_dry(dry_run)}
        return self._write("POST", resource.path(namespace), query=query, body=body)

    def apply(
        self, obj: Object, force: bool = False, dry_run: bool = False, field_manager: str = FIELD_MANAGER
    ) -> Object:
        """Apply one object server-side; with ``dry_run`` the server only says what it would do. Idempotent: yes.

        Raises
        ------
        BadAnswer
            When another field manager owns a field that differs (unless ``force``), or the object is invalid.
        """
        resource = self.resource_of(obj)
        path = resource.path(obj["metadata"].get("namespace"), obj["metadata"]["name"])
        query = {"fieldManager": field_manager, "force": "true" if force else "false", **_dry(dry_run)}
        return self._write("PATCH", path, query=query, body=obj, content_type="application/apply-patch+yaml")

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        body: Object,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Change one object, or its subresource, by a JSON merge patch. Raises as `request` does.

        With ``dry_run`` the server only says whether it would.
        """
        path = resource.path(namespace, name) + (f"/{subresource}" if subresource else "")
        query = {"fieldManager": FIELD_MANAGER, **_dry(dry_run)}
        return self._write("PATCH", path, query=query, body=body, content_type="application/merge-patch+json")

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        uid: str | None = None,
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> None:
        """Delete one object; one that is gone, or that is another one than ``uid``, is fine. Idempotent: yes.

        With ``dry_run`` the server only says whether it would.
        """
        body: Object = {"propagationPolicy": propagation}
        if dry_run:
            body["dryRun"] = ["All"]  # where there is a body, the server reads no query
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._write("DELETE", resource.path(namespace, name), body=body)
        except Missing:
            return
        except BadAnswer as error:
            if not (uid and is_conflict(error)):
                raise

    def resource_of(self, obj: Object) -> Resource:
        """Return the kind of an object, asked of the server's discovery. Raises `Missing` when it is not served.

        What was asked before may be older than a CRD that came since: the server is asked again before that is said.
        """
        api_version, kind = obj["apiVersion"], obj["kind"]
        for ask in (api_version not in self._plurals, True):
            if ask:
                root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
                resources: Sequence[Object] = self.get_raw(root)["resources"]
                self._plurals[api_version] = resources
            for served in self._plurals[api_version]:
                if served["kind"] == kind and "/" not in served["name"]:
                    return Resource(api_version, kind, served["name"], served["namespaced"])
        raise Missing(SYSTEM, self.address, f"the kind {kind} of {api_version} is not served")

    def watch(self, targets: Sequence[tuple[Resource, str | None]]) -> Watch:
        """Open a watch for each kind, each with a namespace (None: all). The caller closes it."""
        from prompt_keda.clients.kube.watch import Watch

        return Watch(self, targets)

    def logs(self, namespace: str, pod: str, tail: int = 20, previous: bool = False, container: str = "") -> str:
        """Return the last lines of a pod's container; empty: its only one. Raises as `request` does."""
        query = {"tailLines": str(tail), "previous": str(previous).lower()}
        if container:
            query["container"] = container
        answer = self.open("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query=query)
        return str(answer.data.decode(errors="replace"))

    def version(self) -> str:
        """Return the server's version: ``v1.35.4``. Raises as `request` does."""
        return str(self.get_raw("/version")["gitVersion"])

    def not_ready(self) -> tuple[str, ...]:
        """Return the parts of the API server that are not ready, as ``etcd``, or what else it says; none when it is ready.

        It says its version while nothing can be read or written: that comes from no storage.

        Raises
        ------
        Refused, Missing
            When whether it is ready may not be asked: by default every login may.
        BadAnswer
            When what answers is not an API server's, for example a balancer's own page.
        ClientError
            As `request` does, when it does not answer.

        Source: Kubernetes, "API health endpoints": ``/readyz`` says ``ok``, or has a line for each part, ``[-]`` before one
        that is not ready.
        """
        answer = self.open("GET", READY, whatever_it_says=True)
        text = answer.data.decode(errors="replace")
        if answer.status == 200 and text.strip() == "ok":
            return ()
        parts = tuple(line[3:].split()[0] for line in text.splitlines() if line.startswith("[-]") and line[3:].strip())
        if parts:
            return parts
        error = failure(self.address, "GET", READY, answer.status, answer.data)
        if answer.status >= 500:
            return (error.detail,)
        raise error

    def server_time(self) -> datetime:
        """Return the server's clock, exact to a second. Raises as `request` does."""
        answer = self.open("GET", "/version")
        try:
            return parsedate_to_datetime(answer.headers["Date"])
        except (KeyError, ValueError) as error:
            raise BadAnswer(SYSTEM, self.address, "its answer has no date") from error

    def whoami(self) -> Object:
        """Return the name and groups that the server sees (SelfSubjectReview). Raises as `request` does."""
        version = "authentication.k8s.io/v1"
        body = {"apiVersion": version, "kind": "SelfSubjectReview"}
        user: Object = self.request("POST", f"/apis/{version}/selfsubjectreviews", body=body)["status"]["userInfo"]
        return user

    def may(self, account: tuple[str, str], asked: Mapping[str, str]) -> bool:
        """Return whether the server would allow a request of a service account (SubjectAccessReview).

        Parameters
        ----------
        account
            Its namespace and name.
        asked
            ``verb``, ``group``, ``resource``, ``subresource``, ``namespace``, ``name``; what is left out is empty.

        Raises as `request` does: this needs a right of its own.
        """
        namespace, name = account
        version = "authorization.k8s.io/v1"
        spec = {
            "user": f"system:serviceaccount:{namespace}:{name}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
            "resourceAttributes": dict(asked),
        }
        body = {"apiVersion": version, "kind": "SubjectAccessReview", "spec": spec}
        return bool(self.request("POST", f"/apis/{version}/subjectaccessreviews", body=body)["status"]["allowed"])

    def can_i(
        self, verb: str, group: str, plural: str, namespace: str = "", name: str = "", subresource: str = ""
    ) -> bool:
        """Return whether the server would allow a request (SelfSubjectAccessReview). Raises as `request` does."""
        asked = {"verb": verb, "group": group, "resource": plural, "namespace": namespace}
        attributes = {**asked, "name": name, "subresource": subresource}
        version = "authorization.k8s.io/v1"
        body = {"apiVersion": version, "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        return bool(self.request("POST", f"/apis/{version}/selfsubjectaccessreviews", body=body)["status"]["allowed"])

    def rules(self, namespace: str) -> Sequence[Object]:
        """Return the rules that hold for this identity in a namespace (SelfSubjectRulesReview). Raises as `request` does.

        They may be incomplete: what they do not allow `can_i` has to say. Where the namespace is missing, only what
        holds in the whole cluster is among them (RBAC looks at its RoleBindings by its name).
        """
        version = "authorization.k8s.io/v1"
        body = {"apiVersion": version, "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
        answer = self.request("POST", f"/apis/{version}/selfsubjectrulesreviews", body=body)
        rules: Sequence[Object] = answer["status"].get("resourceRules") or []
        return rules

    def login_life(self) -> LoginLife | None:
        """Return how long this login lives, read from it and not verified; None if it is not known."""
        token = self._token()  # an expired one is renewed by its plugin here
        return login_life(self._configuration, token)

    def port_forward(self, namespace: str, pod: str, port: int) -> Any:
        """Return a socket to a port of a pod, through the API server. Raises as `open_port` does."""
        token = self._token()
        try:
            return open_port(self._configuration, self.address, token, namespace, pod, port, self._timeout_s)
        except ClientError as error:
            self._explain(error)
            raise

    def page(self, namespace: str, pod: str, port: int, path: str) -> str:
        """Return a page that a pod serves by plain HTTP, through a port-forward. Raises as `open_port` and `read_page` do."""
        from prompt_keda.clients.kube.pages import read_page

        connection = self.port_forward(namespace, pod, port)
        return read_page(connection, f"{namespace}/{pod}:{port}", path, self._timeout_s)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
