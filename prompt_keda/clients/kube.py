"""The Kubernetes API: kubeconfig, authentication and TLS from the `kubernetes` package, requests raw.

The package's typed classes are left alone: their import and first use cost about a second, more than all checks together.
"""

from __future__ import annotations

import hashlib
import json
import logging
import ssl
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from prompt_keda.clients.kube_resources import Resource
from prompt_keda.errors import BadAnswer, ClientError, Missing, Refused, Unreachable

SYSTEM = "Kubernetes"
FIELD_MANAGER = "prompt-keda"
Object = dict[str, Any]


class Kube:
    """One API server, as one identity. Its methods can be called from several threads.

    Make it with `Kube.connect`.
    """

    def __init__(self, configuration: Any, pool: Any, timeout: timedelta) -> None:
        self._configuration = configuration
        self._pool = pool
        self._timeout_s = timeout.total_seconds()
        self._plurals: dict[str, list[Object]] = {}
        self._lock = threading.Lock()
        self.address: str = configuration.host

    @classmethod
    def connect(cls, kubeconfig: Path | None, context: str | None, timeout: timedelta) -> Kube:
        """Read a kubeconfig, and log in as it says. No request is sent yet, unless an exec plugin sends one.

        Parameters
        ----------
        kubeconfig
            None: what kubectl would take.
        context
            None: the kubeconfig's current one.
        timeout
            For each request.

        Raises
        ------
        Missing
            When there is no such file, context or key in it.
        Refused
            When the exec plugin gives no token; with its own words.
        """
        from kubernetes import client, config
        from kubernetes.client.rest import RESTClientObject

        configuration = client.Configuration()
        configuration.connection_pool_maxsize = 32
        configuration.retries = False
        said = _LogText()
        root = logging.getLogger()
        root.addHandler(said)
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                str(kubeconfig) if kubeconfig else None, context=context, client_configuration=configuration
            )
        except (config.ConfigException, OSError, ValueError) as error:
            where = str(kubeconfig or "the default kubeconfig")
            raise Missing(SYSTEM, where, _one_line(error), "Check the file and the context's name.") from error
        finally:
            root.removeHandler(said)
        if said.text and not configuration.api_key:
            fix = "Log in again, or look at the exec plugin that the kubeconfig names."
            raise Refused(SYSTEM, configuration.host, f"the kubeconfig's login gave no token: {said.text}", fix)
        return cls(configuration, RESTClientObject(configuration).pool_manager, timeout)

    @property
    def ca_sha256(self) -> str | None:
        """The SHA-256 of the DER form of the first CA certificate that the kubeconfig trusts, in lower-case hex."""
        path = self._configuration.ssl_ca_cert
        if not path:
            return None
        end = "-----END CERTIFICATE-----"
        first = Path(path).read_text().partition(end)[0] + end
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[first.index("-----BEGIN") :])).hexdigest()

    def get_raw(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """Give the JSON at a path. Raises as `request` does."""
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
        """Send one request, and give its JSON.

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
        try:
            found: Object = json.loads(answer.data)
        except json.JSONDecodeError:
            return {"text": answer.data.decode(errors="replace")}
        return found

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
    ) -> Any:
        """Send one request, and give urllib3's answer: for watches and logs. Raises as `request` does."""
        import urllib3

        url = f"{self.address}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": content_type}
        token = self._token()
        if token:
            headers["Authorization"] = token
        wait = urllib3.Timeout(connect=self._timeout_s, read=timeout_s or self._timeout_s)
        try:
            answer = self._pool.request(
                method, url, body=data, headers=headers, timeout=wait, retries=False, preload_content=not stream
            )
        except urllib3.exceptions.SSLError as error:
            raise Unreachable(SYSTEM, self.address, f"TLS: {_one_line(error)}") from error
        except urllib3.exceptions.NameResolutionError as error:
            raise Unreachable(SYSTEM, self.address, "its name cannot be resolved") from error
        except urllib3.exceptions.TimeoutError as error:
            raise Unreachable(SYSTEM, self.address, f"no answer within {self._timeout_s:.0f} s") from error
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(SYSTEM, self.address, f"no connection: {_one_line(error)}") from error
        if answer.status >= 400:
            raise _failure(self.address, method, path, answer.status, answer.data)
        return answer

    def _token(self) -> str | None:
        """Give the value of the Authorization header. An expired token is renewed by the exec plugin, once."""
        with self._lock:
            token: str | None = self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
            return token

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """Give one object. Raises `Missing` when it is not there, and as `request` does."""
        return self.get_raw(resource.path(namespace, name))

    def find(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        """Give one object, or None. Raises as `request` does, but never `Missing`."""
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
            items: list[Object] = self.get_raw(resource.path(namespace), query)["items"]
        except Missing:
            return []
        return items

    def create(self, resource: Resource, body: Object, namespace: str | None = None) -> Object:
        """Create one object. Raises as `request` does; `BadAnswer` when it is there already."""
        return self.request("POST", resource.path(namespace), query={"fieldManager": FIELD_MANAGER}, body=body)

    def apply(self, obj: Object, force: bool = False) -> Object:
        """Apply one object server-side. Idempotent: yes.

        Raises
        ------
        BadAnswer
            When another field manager owns a field that differs (unless ``force``), or the object is invalid.
        """
        resource = self.resource_of(obj)
        path = resource.path(obj["metadata"].get("namespace"), obj["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return self.request("PATCH", path, query=query, body=obj, content_type="application/apply-patch+yaml")

    def patch(self, resource: Resource, name: str, namespace: str | None, body: Object) -> Object:
        """Change one object by a JSON merge patch. Raises as `request` does."""
        path = resource.path(namespace, name)
        query = {"fieldManager": FIELD_MANAGER}
        return self.request("PATCH", path, query=query, body=body, content_type="application/merge-patch+json")

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        uid: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Delete one object; one that is gone, or that is another one than ``uid``, is fine. Idempotent: yes."""
        body: Object = {"propagationPolicy": propagation}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self.request("DELETE", resource.path(namespace, name), body=body)
        except Missing:
            return
        except BadAnswer as error:
            if not (uid and "409" in error.detail):
                raise

    def resource_of(self, obj: Object) -> Resource:
        """Give the kind of an object, asked of the server's discovery. Raises `Missing` when it is not served."""
        api_version, kind = obj["apiVersion"], obj["kind"]
        if api_version not in self._plurals:
            root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            self._plurals[api_version] = self.get_raw(root)["resources"]
        for one in self._plurals[api_version]:
            if one["kind"] == kind and "/" not in one["name"]:
                return Resource(api_version, kind, one["name"], one["namespaced"])
        del self._plurals[api_version]
        raise Missing(SYSTEM, self.address, f"the kind {kind} of {api_version} is not served")

    def logs(self, namespace: str, pod: str, tail: int = 20, previous: bool = False) -> str:
        """Give the last lines of a pod's only container. Raises as `request` does."""
        query = {"tailLines": str(tail), "previous": str(previous).lower()}
        answer = self.open("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query=query)
        text: str = answer.data.decode(errors="replace")
        return text

    def version(self) -> str:
        """Give the server's version: ``v1.35.4``. Raises as `request` does."""
        return str(self.get_raw("/version")["gitVersion"])

    def whoami(self) -> Object:
        """Give the name and groups that the server sees (SelfSubjectReview). Raises as `request` does."""
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = self.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=kind)
        user: Object = answer["status"]["userInfo"]
        return user

    def port_forward(self, namespace: str, pod: str, port: int) -> Any:
        """Give a socket to a port of a pod, through the API server.

        Raises
        ------
        Unreachable
            When the API server or the kubelet does not make the connection.
        """
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream.ws_client import portforward_call

        url = f"{self.address}/api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        token = self._token()
        headers = {"authorization": token} if token else {}
        try:
            forward = portforward_call(  # type: ignore[no-untyped-call]
                self._configuration, "GET", url, query_params=[("ports", str(port))], headers=headers
            )
        except ApiException as error:
            raise Unreachable(SYSTEM, f"{self.address} → {namespace}/{pod}:{port}", _one_line(error.reason)) from error
        return forward.socket(port)


class _LogText(logging.Handler):
    """Keeps what the `kubernetes` package logs instead of raising."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        self.text = lines[-1] if lines else self.text


def _failure(address: str, method: str, path: str, status: int, data: bytes) -> ClientError:
    try:
        message = json.loads(data)["message"]
    except (ValueError, KeyError, TypeError):
        message = data.decode(errors="replace").strip()[:200] or "no reason given"
    kind = {401: Refused, 403: Refused, 404: Missing}.get(status, BadAnswer)
    fix = "Log in again: the token is missing or has expired." if status == 401 else ""
    return kind(SYSTEM, address, f"{status} on {method} {path}: {message}", fix)


def _one_line(error: object) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
