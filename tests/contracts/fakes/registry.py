"""A registry in memory: images by repository and reference, and one password."""

from __future__ import annotations

from prompt_keda.clients.registry import ManifestInfo
from prompt_keda.core.errors import Missing, Refused

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class FakeRegistry:
    """Behaves as `Registry` does. ``wanted`` is what the server wants, ``given`` what the client has; None: nothing."""

    def __init__(self, host="registry.test", wanted=None, given=None):
        self.host, self.endpoint = host, f"https://{host}"
        self.wanted, self.given = wanted, given
        self.images = {}  # (repository, reference) → ManifestInfo
        self.lost = set()  # digests of blobs that are not there any more
        self.configs = {}  # digest of a config → its platform
        self.pulls_left = None

    def put(self, repository, tag, digest, media_type=MANIFEST, platforms=(), blobs=(), unnamed=()):
        """Push an image, under its tag and its digest; with ``platforms`` it is an index of manifests.

        ``unnamed``: digests of entries for which the index names no platform, each pushed before.
        """
        children = {platform: f"{digest}-{platform}" for platform in platforms}
        for child in children.values():
            self.images[repository, child] = ManifestInfo(child, MANIFEST, blobs=blobs)
        is_index = platforms or unnamed
        info = ManifestInfo(digest, media_type, tuple(platforms), children, tuple(unnamed), () if is_index else blobs)
        self.images[repository, tag] = self.images[repository, digest] = info

    def manifest(self, repository, reference):
        self._allow(repository)
        if (repository, reference) not in self.images:
            raise Missing("registry", self.endpoint, f"{repository} has no {reference}")
        return self.images[repository, reference]

    def manifest_digest(self, repository, reference):
        return self.manifest(repository, reference).digest

    def platforms(self, repository, info):
        if info.unnamed:
            return tuple(self.children(repository, info))
        if info.platforms or not info.blobs:
            return info.platforms
        if not self.has_blob(repository, info.blobs[0]):
            raise Missing("registry", self.endpoint, f"{repository} has no {info.blobs[0]}")
        platform = self.configs.get(info.blobs[0], "linux/amd64")
        return (platform,) if platform else ()

    def children(self, repository, info, depth=2):
        children = dict(info.children)
        for digest in info.unnamed:
            entry = self.manifest(repository, digest)
            if (entry.children or entry.unnamed) and depth:
                children = {**self.children(repository, entry, depth - 1), **children}
            else:
                children.update(dict.fromkeys(self.platforms(repository, entry), digest))
        return children

    def has_blob(self, repository, digest):
        self._allow(repository)
        known = {blob for (name, _), info in self.images.items() if name == repository for blob in info.blobs}
        return digest in known - self.lost

    def close(self):
        pass

    def _allow(self, repository):
        if self.wanted is not None and self.given != self.wanted:
            raise Refused("registry", self.endpoint, f"{repository}: unauthorised, or no such image")
