"""A registry in memory: images by repository and reference, and one password."""

from __future__ import annotations

from prompt_keda.clients.registry import ManifestInfo
from prompt_keda.errors import Missing, Refused


class FakeRegistry:
    """Behaves as `Registry` does. ``wanted`` is what the server wants, ``given`` what the client has; None: nothing."""

    def __init__(self, host="registry.test", wanted=None, given=None):
        self.host, self.endpoint = host, f"https://{host}"
        self.wanted, self.given = wanted, given
        self.images = {}  # (repository, reference) → ManifestInfo

    def put(self, repository, tag, digest, media_type="application/vnd.oci.image.manifest.v1+json", platforms=()):
        """Push an image, under its tag and its digest."""
        self.images[repository, tag] = self.images[repository, digest] = ManifestInfo(digest, media_type, platforms)

    def manifest(self, repository, reference):
        if self.wanted is not None and self.given != self.wanted:
            raise Refused("registry", self.endpoint, f"{repository}: unauthorised, or no such image")
        if (repository, reference) not in self.images:
            raise Missing("registry", self.endpoint, f"{repository} has no {reference}")
        return self.images[repository, reference]

    def manifest_digest(self, repository, reference):
        return self.manifest(repository, reference).digest

    def close(self):
        pass
