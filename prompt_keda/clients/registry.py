"""Container registries, by the OCI distribution API (library `httpx`)."""

from __future__ import annotations

import base64
import json
import re
import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx

from prompt_keda.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.model.secret import Secret

SYSTEM = "registry"
ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)


@dataclass(frozen=True)
class ImageName:
    """An image's name, taken apart: ``host/repository:tag@digest``."""

    host: str
    repository: str
    reference: str
    """The digest if there is one, else the tag."""


def parse_image(name: str) -> ImageName:
    """Take an image's name apart by Docker's rules: without a host it is docker.io, without a tag ``latest``."""
    rest, _, digest = name.partition("@")
    first, slash, tail = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, rest = first, tail
    else:
        host, rest = "docker.io", rest if slash else f"library/{rest}"
    repository, _, tag = rest.partition(":")
    return ImageName(host, repository, digest or tag or "latest")


def credentials_from_docker_config(config: Secret, host: str) -> tuple[str, Secret] | None:
    """Give user and password for a registry out of a docker config JSON; None if it has none for that host."""
    entry = json.loads(config.reveal()).get("auths", {}).get(host)
    if not entry:
        return None
    if "auth" in entry:
        user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        return user, Secret(password)
    return entry["username"], Secret(entry["password"])


class Registry:
    """One registry. Credentials go to its own host, or to a token service on the same host, and never elsewhere."""

    def __init__(self, client: httpx.Client, host: str, credentials: tuple[str, Secret] | None) -> None:
        self._client = client
        self._credentials = credentials
        self.host = host
        self.endpoint = str(client.base_url)

    @classmethod
    def connect(
        cls, host: str, url: str, ca_file: Path | None, credentials: tuple[str, Secret] | None, timeout: timedelta
    ) -> Registry:
        """Make a client. Nothing is sent yet. ``ca_file`` None: the system's certificate authorities."""
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        client = httpx.Client(
            base_url=url, verify=context, timeout=timeout.total_seconds(), follow_redirects=False, trust_env=False
        )
        return cls(client, host, credentials)

    def manifest_digest(self, repository: str, reference: str) -> str:
        """Give the digest of an image's manifest; a HEAD request, so nothing is downloaded.

        Raises
        ------
        Unreachable
            When the registry does not answer.
        Refused
            When it wants other credentials; many registries say so of absent images too.
        Missing
            When it says that there is no such image.
        """
        path = f"/v2/{repository}/manifests/{reference}"
        answer = self._send(path, {})
        if answer.status_code == 401:
            answer = self._send(path, self._authorization(answer.headers.get("WWW-Authenticate", ""), repository))
        if answer.status_code in (401, 403):
            raise Refused(SYSTEM, self.endpoint, f"{repository}: unauthorised, or no such image")
        if answer.status_code == 404:
            raise Missing(SYSTEM, self.endpoint, f"{repository} has no {reference}")
        if answer.status_code != 200:
            raise BadAnswer(SYSTEM, self.endpoint, f"{repository}: HTTP {answer.status_code}")
        return str(answer.headers.get("Docker-Content-Digest", reference))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _send(self, path: str, headers: dict[str, str]) -> httpx.Response:
        return self._request("HEAD", path, headers={"Accept": ACCEPT, **headers})

    def _request(self, method: str, url: str, **kwargs: object) -> httpx.Response:
        try:
            return self._client.request(method, url, **kwargs)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            detail = str(error).strip() or type(error).__name__
            raise Unreachable(SYSTEM, self.endpoint, f"no connection: {detail}") from error

    def _basic(self) -> dict[str, str]:
        if self._credentials is None:
            return {}
        user, password = self._credentials
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password.reveal()}".encode()).decode()}

    def _authorization(self, challenge: str, repository: str) -> dict[str, str]:
        """Answer a challenge: Basic, or the token flow of the distribution API."""
        if challenge.lower().startswith("basic"):
            return self._basic()
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = httpx.URL(fields.get("realm", ""))
        if realm.scheme != "https" or realm.host != self._client.base_url.host:
            raise Refused(SYSTEM, self.endpoint, f"its token service is at another host: {realm.host or 'none named'}")
        query = {"service": fields.get("service", ""), "scope": f"repository:{repository}:pull"}
        answer = self._request("GET", str(realm), params=query, headers=self._basic())
        if answer.status_code != 200:
            raise Refused(SYSTEM, self.endpoint, f"its token service says HTTP {answer.status_code}")
        document = answer.json()
        return {"Authorization": f"Bearer {document.get('token') or document.get('access_token')}"}
