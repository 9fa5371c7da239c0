"""Container registries, by the OCI distribution API (library `httpx`)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx

from prompt_keda.clients.http import proxied
from prompt_keda.clients.http.failures import find_reason, time_over
from prompt_keda.clients.http.tls import require, verified
from prompt_keda.clients.whole_answer import bounded
from prompt_keda.core.errors import BadAnswer, Missing, Refused, Unreachable
from prompt_keda.core.secret import Secret

SYSTEM = "registry"
ACCEPT = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
DEEPEST_INDEX = 2
"""An index in an index is rare, and one in that is asked for no further: an image could name itself forever."""
MOST_UNNAMED = 20
"""More entries of an index are not asked for one by one."""
NO_CONFIG = "the pull secret is no docker config with user and password"
REDIRECTS = (301, 302, 303, 307, 308)
LARGEST_CONFIG_BYTES = 4 * 2**20
"""An image's config is a few KiB; what is larger is not read (containerd reads 4 MiB at most: remotes/docker)."""
TOKEN_SERVICES = {"registry-1.docker.io": "auth.docker.io"}
"""Registry's host → its token service's, where they differ (Docker Hub's documentation of its registry API). A rule
such as "the same domain" would trust the neighbours under a shared domain, for example of a cloud's registries."""


@dataclass(frozen=True)
class ManifestInfo:
    """What a registry says of an image: its manifest's digest and media type, and for an index its platforms."""

    digest: str
    media_type: str
    platforms: tuple[str, ...] = ()
    """``linux/amd64``; empty for a manifest of one platform, which does not name it."""
    children: Mapping[str, str] = field(default_factory=dict, compare=False)
    """For an index: platform → the digest of its manifest."""
    unnamed: tuple[str, ...] = field(default=(), compare=False)
    """For an index: the digests of entries that name no platform, or are an index themselves."""
    blobs: tuple[str, ...] = field(default=(), compare=False)
    """For a manifest of one platform: the digests of its config, which comes first, and of its layers."""


@dataclass(frozen=True)
class ImageName:
    """An image's name, taken apart: ``host/repository:tag@digest``."""

    host: str
    repository: str
    reference: str
    """The digest if there is one, else the tag, else ``latest``."""
    tag: str = ""
    """As it stands in the name; empty if there is none."""

    @property
    def names_one(self) -> bool:
        """Whether the name says which image is meant, by tag or digest."""
        return bool(self.tag) or ":" in self.reference


def parse_image(name: str) -> ImageName:
    """Take an image's name apart by Docker's rules: without a host it is docker.io, without a tag ``latest``."""
    rest, _, digest = name.partition("@")
    first, slash, tail = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, rest = first, tail
    else:
        host, rest = "docker.io", rest if slash else f"library/{rest}"
    repository, _, tag = rest.partition(":")
    return ImageName(host, repository, digest or tag or "latest", tag)


def credentials_from_docker_config(config: Secret, host: str) -> tuple[str, Secret] | None:
    """Return user and password for a registry out of a docker config JSON; None if it has none for that host.

    Raises
    ------
    BadAnswer
        When it is no docker config.
    """
    entries = _entries(config, host)
    return _credentials(entries[host], host) if entries.get(host) else None


def credentials_for_image(config: Secret, image: ImageName) -> tuple[str, Secret] | None:
    """Return what a kubelet would take out of a docker config JSON for an image; None if nothing in it fits.

    An entry fits by host, whose parts may hold ``*``, and by the path that it names, if any; the longest comes first.
    Docker Hub is ``index.docker.io`` there, and schemes and ``/v1/`` or ``/v2/`` count for nothing (Kubernetes,
    "Specifying imagePullSecrets on a Pod", and pkg/credentialprovider/keyring.go).

    Raises
    ------
    BadAnswer
        When it is no docker config.
    """
    entries = _entries(config, image.host)
    for key in sorted(entries, reverse=True):
        if entries[key] and _fits(key, image):
            return _credentials(entries[key], image.host)
    return None


def _fits(key: str, image: ImageName) -> bool:
    host, _, path = re.sub("^https?://", "", key).partition("/")
    path = re.sub("^v[12](/|$)", "", path).strip("/")
    hosts = {image.host} if image.host != "docker.io" else {"docker.io", "index.docker.io"}
    matches = any(
        len(host.split(".")) == len(own_host.split("."))
        and all(fnmatchcase(part, glob) for part, glob in zip(own_host.split("."), host.split("."), strict=True))
        for own_host in hosts
    )
    return matches and image.repository.startswith(path)


def _entries(config: Secret, host: str) -> dict[str, Any]:
    try:
        entries = json.loads(config.reveal()).get("auths", {})
    except (ValueError, AttributeError):
        entries = None
    if isinstance(entries, dict):
        return entries
    raise BadAnswer(SYSTEM, host, NO_CONFIG)  # outside the handler: the cause would show a part of the secret


def _credentials(entry: Any, host: str) -> tuple[str, Secret]:
    try:
        if "auth" in entry:
            user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
            if colon:
                return user, Secret(password)
        else:
            return entry["username"], Secret(entry["password"])
    except (ValueError, KeyError, AttributeError, TypeError):
        pass
    raise BadAnswer(SYSTEM, host, NO_CONFIG)  # outside the handler, as above


class Registry:
    """One registry. Credentials go to its own host, or to its token service, and never elsewhere.

    A token service is on the same host, or stands in `TOKEN_SERVICES`. All are https; no redirect is followed.
    """

    def __init__(self, client: httpx.Client, host: str, credentials: tuple[str, Secret] | None) -> None:
        self._client = client
        self._credentials = credentials
        self._authorizations: dict[str, dict[str, str]] = {}  # repository → what the registry wanted to see for it
        self.pulls_left: int | None = None
        """How many pulls the registry lets through, as it said last; None where it does not say."""
        self.host = host
        self.endpoint = str(client.base_url)

    @classmethod
    def connect(
        cls,
        host: str,
        url: str,
        ca_file: Path | None,
        credentials: tuple[str, Secret] | None,
        timeout: timedelta,
        *,
        by_proxy: bool = False,
    ) -> Registry:
        """Make a client. Nothing is sent yet.

        Parameters
        ----------
        ca_file
            None: the system's certificate authorities.
        by_proxy
            Whether the environment's proxy is used, as whoever pulls would use it.

        Raises
        ------
        Refused
            When the address is not https.
        Missing
            When ``ca_file`` is missing, or holds no certificate.
        BadAnswer
            When the address makes no sense; and as `proxied.client` raises.
        """
        require("https", url, SYSTEM)
        context = bounded(verified(SYSTEM, url, ca_file))
        options: dict[str, Any] = {"follow_redirects": False, "trust_env": by_proxy}
        with suppress(httpx.InvalidURL):
            options["base_url"] = httpx.URL(url)
            client = proxied.client(SYSTEM, host, verify=context, timeout=timeout.total_seconds(), **options)
            return cls(client, host, credentials)
        raise BadAnswer(SYSTEM, host, "its address makes no sense")  # without the cause, which shows a part of it

    def manifest_digest(self, repository: str, reference: str) -> str:
        """Return the digest of an image's manifest; a HEAD request, so nothing is downloaded.

        Raises
        ------
        Unreachable
            When the registry does not answer.
        Refused
            When it wants other credentials; many registries say so of missing images too.
        Missing
            When it says that there is no such image.
        BadAnswer
            When it answers anything else, or says yes without the digest of a manifest: that is no registry.
        """
        return self._digest(self._manifest("HEAD", repository, reference), reference)

    def manifest(self, repository: str, reference: str) -> ManifestInfo:
        """Return what the manifest says. Raises as `manifest_digest` does."""
        answer = self._manifest("GET", repository, reference)
        document = self._json(answer)
        media_type = answer.headers.get("Content-Type", "").partition(";")[0]
        digest = self._digest(answer, reference)
        try:
            entries = [entry for entry in document.get("manifests", []) if not _is_attestation(entry)]
            placed = [(_platform(entry.get("platform") or {}), entry) for entry in entries]
            children = {
                platform: str(entry["digest"]) for platform, entry in placed if platform and not _is_index(entry)
            }
            unnamed = tuple(str(entry["digest"]) for platform, entry in placed if not platform or _is_index(entry))
            platforms = tuple(children)
            parts = [document["config"], *document.get("layers", [])] if "config" in document else []
            blobs = tuple(str(part["digest"]) for part in parts)
            if document.get("schemaVersion") == 1:
                platforms = (f"linux/{document['architecture']}",)
                blobs = tuple(str(part["blobSum"]) for part in document["fsLayers"])
        except (AttributeError, KeyError, TypeError):
            raise BadAnswer(SYSTEM, self.endpoint, f"the manifest of {repository} makes no sense") from None
        return ManifestInfo(digest, media_type, platforms, children, unnamed, blobs)

    def children(self, repository: str, info: ManifestInfo, depth: int = DEEPEST_INDEX) -> dict[str, str]:
        """Return the manifests of an index: platform → digest; empty for a manifest of one platform.

        What the index does not say is read in each entry: in its config, or where it is an index itself in that. An entry
        that says no platform either, as an artifact, is left out. Raises as `manifest` and `platforms` do.
        """
        children = dict(info.children)
        if len(info.unnamed) > MOST_UNNAMED:
            raise BadAnswer(SYSTEM, self.endpoint, f"an index of {repository} has too many entries without a platform")
        for digest in info.unnamed:
            entry = self.manifest(repository, digest)
            if (entry.children or entry.unnamed) and depth:
                children = {**self.children(repository, entry, depth - 1), **children}
            elif platform := self._platform_of_config(repository, entry):
                children.setdefault(platform, digest)
        return children

    def platforms(self, repository: str, info: ManifestInfo) -> tuple[str, ...]:
        """Return the platforms that an image is for; none where it does not say. A single manifest's config is read.

        Raises
        ------
        Missing
            When the config is missing.
        BadAnswer
            When it is not what its digest says, or no config; and as `manifest` raises.
        """
        if info.unnamed:
            return tuple(self.children(repository, info))
        if info.platforms:
            return info.platforms
        platform = self._platform_of_config(repository, info)
        return (platform,) if platform else ()

    def _platform_of_config(self, repository: str, info: ManifestInfo) -> str:
        if not info.blobs:
            return ""
        answer = self._blob("GET", repository, info.blobs[0])
        if f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != info.blobs[0]:
            raise BadAnswer(SYSTEM, self.endpoint, f"the config of {repository} is not what its digest says")
        return _platform(self._json(answer))

    def has_blob(self, repository: str, digest: str) -> bool:
        """Return whether a config or layer is there; a HEAD request, so nothing is downloaded. Raises as `manifest` does.

        A registry that keeps its blobs elsewhere redirects, and only for one that it has (OCI distribution API).
        """
        try:
            self._blob("HEAD", repository, digest)
        except Missing:
            return False
        return True

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _manifest(self, method: str, repository: str, reference: str) -> httpx.Response:
        path = f"/v2/{repository}/manifests/{reference}"
        answer = self._ask(method, path, repository, {"Accept": ACCEPT})
        return self._checked(answer, repository, f"{repository} has no {reference}")

    def _blob(self, method: str, repository: str, digest: str) -> httpx.Response:
        answer = self._ask(method, f"/v2/{repository}/blobs/{digest}", repository, {})
        if answer.status_code in REDIRECTS:
            if method == "HEAD":
                return answer
            # follow one redirect to where a blob is kept: by https alone, and without any credential
            try:
                place = answer.url.join(answer.headers.get("Location", ""))
            except httpx.InvalidURL:
                raise BadAnswer(SYSTEM, self.endpoint, "where it keeps its blobs makes no sense") from None
            if place.scheme != "https":
                raise Refused(SYSTEM, self.endpoint, "it keeps its blobs where no TLS is spoken")
            answer = self._request("GET", str(place.copy_with(userinfo=b"")))
        return self._checked(answer, repository, f"{repository} has no {digest}")

    def _ask(self, method: str, path: str, repository: str, headers: dict[str, str]) -> httpx.Response:
        """Send a request with what is known to open the repository; if that does not, answer its challenge, once."""
        answer = self._request(method, path, headers={**headers, **self._authorizations.get(repository, {})})
        if answer.status_code == 401:
            authorization = self._authorization(answer.headers.get("WWW-Authenticate", ""), repository)
            self._authorizations[repository] = authorization
            answer = self._request(method, path, headers={**headers, **authorization})
        return answer

    def _checked(self, answer: httpx.Response, repository: str, missing: str) -> httpx.Response:
        if answer.status_code in (401, 403):
            raise Refused(SYSTEM, self.endpoint, f"{repository}: unauthorised, or no such image")
        if answer.status_code == 404:
            raise Missing(SYSTEM, self.endpoint, missing)
        if answer.status_code != 200:
            raise BadAnswer(SYSTEM, self.endpoint, f"{repository}: HTTP {answer.status_code}")
        return answer

    def _digest(self, answer: httpx.Response, reference: str) -> str:
        """Return the digest that an answer names. A log-in page or a proxy's page says 200 as well, but has none."""
        digest = str(answer.headers.get("Docker-Content-Digest", ""))
        if not digest:
            what = answer.headers.get("Content-Type", "no type").partition(";")[0]
            raise BadAnswer(SYSTEM, self.endpoint, f"what it gives is no manifest but {what}: is this a registry?")
        if ":" in reference and digest != reference:
            raise BadAnswer(SYSTEM, self.endpoint, f"asked for {reference}, it gives {digest}")
        return digest

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise BadAnswer(SYSTEM, self.endpoint, f"no JSON object at {answer.url.host}{answer.url.path}")
        return document

    def _request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        """Send one request. A body that is larger than any that is asked for is not read."""
        try:
            with self._client.stream(method, url, **kwargs) as answer:
                if int(answer.headers.get("Content-Length") or 0) > LARGEST_CONFIG_BYTES and method != "HEAD":
                    raise BadAnswer(SYSTEM, self.endpoint, "it gives more than any manifest or config has")
                answer.read()
        except httpx.TimeoutException as error:
            reason = time_over(error, isinstance(error, httpx.ConnectTimeout))
            raise Unreachable(SYSTEM, self.endpoint, reason + self._way()) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = proxied.find_refusal(error, self.endpoint) or _reason(error) + self._way()
            raise Unreachable(SYSTEM, self.endpoint, reason) from error
        self._note_limits(answer)
        return answer

    def _way(self) -> str:
        return proxied.way(self.endpoint) if self._client.trust_env else ""

    def _note_limits(self, answer: httpx.Response) -> None:
        """Keep what it says of its limits (Docker Hub: ``ratelimit-remaining: 76;w=21600``).

        Raises
        ------
        Unreachable
            When it is asked too often (HTTP 429): it gives no answer now.
        """
        left = answer.headers.get("ratelimit-remaining", "").partition(";")[0].strip()
        if left.isdecimal():
            self.pulls_left = int(left)
        if answer.status_code == 429:
            wait = answer.headers.get("Retry-After", "")
            again = f"; it answers again in {int(wait)} s" if wait.isdecimal() else ""
            raise Unreachable(
                SYSTEM, self.endpoint, f"it is asked too often (HTTP 429){again}", "Wait, then try again."
            )

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
        own = self._client.base_url.host
        try:
            realm = httpx.URL(fields.get("realm", ""))
        except httpx.InvalidURL as error:
            raise BadAnswer(SYSTEM, self.endpoint, "the address of its token service makes no sense") from error
        if realm.scheme != "https" or realm.host not in (own, TOKEN_SERVICES.get(own)):
            raise Refused(SYSTEM, self.endpoint, f"its token service is at another host: {realm.host or 'none named'}")
        query = {"service": fields.get("service", ""), "scope": f"repository:{repository}:pull"}
        answer = self._request("GET", str(realm), params=query, headers=self._basic())
        if answer.status_code != 200:
            kind = Refused if answer.status_code in (400, 401, 403) else BadAnswer
            raise kind(SYSTEM, self.endpoint, f"its token service says HTTP {answer.status_code}")
        document = self._json(answer)
        return {"Authorization": f"Bearer {document.get('token') or document.get('access_token')}"}


def _platform(config: Any) -> str:
    """Return ``linux/amd64`` of what a config, or an index's entry, says; empty where it does not say."""
    system, architecture = config.get("os"), config.get("architecture")
    known = all(isinstance(part, str) and part not in ("", "unknown") for part in (system, architecture))
    return f"{system}/{architecture}" if known else ""


def _is_attestation(entry: Any) -> bool:
    """Whether an index's entry is no image, but describes one (Docker, "Attestation storage")."""
    return bool((entry.get("annotations") or {}).get("vnd.docker.reference.type"))


def _is_index(entry: Any) -> bool:
    return str(entry.get("mediaType", "")) in INDEX_TYPES


def _reason(error: Exception) -> str:
    """Return in one line whether name, TLS or TCP failed; httpx keeps it in the chain of causes."""
    if reason := find_reason(error):
        return reason
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause}"
        cause = cause.__cause__ or cause.__context__
    return f"no connection: {str(error).strip() or type(error).__name__}"
