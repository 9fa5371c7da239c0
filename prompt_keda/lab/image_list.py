"""The list of images that are pulled by digest: kind/pulled.yaml, or a list of one's own in its form."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from prompt_keda.core.errors import Refusal
from prompt_keda.core.untrusted import one_line

IMAGES, MIRROR = "PROMPT_KEDA_LAB_IMAGES", "PROMPT_KEDA_LAB_MIRROR"
"""``built``, ``pulled`` or the file of a list of one's own; and ``HOST[/PREFIX]``, where the same digests are pulled instead."""
BUILT, PULLED = "built", "pulled"
API_HOSTS = {"docker.io": "registry-1.docker.io"}
"""Registry as it stands in image names → where it answers, where they differ."""
SHIPPED = Path(__file__).parent / "kind" / "pulled.yaml"
FIX = f"It looks as {SHIPPED.name} of this project does."
NODE, GO, DEBIAN, VAULT = "node", "go", "debian", "vault"
KEDA = ("keda", "keda-metrics-apiserver", "keda-admission-webhooks")
NAMES = (NODE, GO, DEBIAN, VAULT, *KEDA)
"""What can be pulled; the rest is built."""
HOST = r"(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)(:[0-9]+)?"
PATH = r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)"
FORMS = {
    "name": r"[a-z-]+",
    "image": f"{HOST}{PATH}+",
    "tag": r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
    "digest": r"sha256:[0-9a-f]{64}",
    "licence": r"[A-Za-z0-9][A-Za-z0-9.+-]*( (AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*",
    "use": r"\S.*",
    "sources": r"https://\S+",
}
"""Key → what it has to look like; ``image`` names its registry, ``licence`` is an SPDX expression."""


@dataclass(frozen=True)
class PulledImage:
    """An image of the list.

    Parameters
    ----------
    image
        Registry and repository.
    digest
        Empty: not pinned, so built.
    sources
        Public pages that state the digest.
    """

    name: str
    image: str
    tag: str
    digest: str
    licence: str
    use: str
    sources: tuple[str, ...]

    @property
    def registry(self) -> str:
        """Host of its own registry."""
        return self.image.partition("/")[0]

    @property
    def api_host(self) -> str:
        """Where its own registry answers."""
        return API_HOSTS.get(self.registry, self.registry)

    @property
    def repository(self) -> str:
        """Path in its registry."""
        return self.image.partition("/")[2]

    def reference(self, mirror: str = "") -> str:
        """Return what an engine is asked for: by digest, from a mirror (``HOST[/PREFIX]``) or from its own registry."""
        return f"{mirror.rstrip('/')}/{self.repository}@{self.digest}" if mirror else f"{self.image}@{self.digest}"


def chosen() -> Mapping[str, PulledImage]:
    """Return the images of the list that the variable names, else of the project's own.

    Raises
    ------
    Refusal
        When the variable says something else, and as `read` does.
    """
    wanted = os.environ.get(IMAGES, "")
    if wanted in ("", BUILT, PULLED):
        return read()
    if not Path(wanted).is_file():
        what = f"${IMAGES} is {one_line(wanted)[:80]}: neither {BUILT} nor {PULLED}, and no file"
        raise Refusal(what, "Unset it, or name the file of a list of images.")
    return read(Path(wanted))


def mirror() -> str:
    """Return the mirror that the variable names; empty: none. Raises `Refusal` when it is of another form."""
    value = os.environ.get(MIRROR, "")
    if value and not re.fullmatch(f"{HOST}{PATH}*/?", value):
        what = f"${MIRROR} is {one_line(value)[:80]}, which is not HOST[/PREFIX]"
        raise Refusal(what, "Name it as it stands in image names, without https://.")
    return value


def read(path: Path = SHIPPED) -> Mapping[str, PulledImage]:
    """Return the images of a list by their names.

    Raises
    ------
    Refusal
        When the list cannot be read, or an image of it lacks something; with which, and what.
    """
    try:
        document = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        entries = document["images"]
        images = {image.name: image for image in map(_image, entries)}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no YAML with a list images"
        raise Refusal(f"{path} is no list of images: {why}", FIX) from error
    except ValueError as error:
        raise Refusal(f"{path}: {error}", FIX) from error
    if len(images) != len(entries):
        raise Refusal(f"{path} names an image twice", "Let each stand once.")
    if NODE not in images or not images[NODE].digest:
        raise Refusal(f"{path} has no image {NODE} with a digest", "It is what kind's cluster is made of.")
    return images


def to_yaml(images: Mapping[str, PulledImage]) -> str:
    """Return a list as its file has it."""
    entries = [{key: value for key, value in asdict(image).items() if value} for image in images.values()]
    plain = [{**entry, "sources": list(entry.get("sources", ()))} for entry in entries]
    return yaml.safe_dump({"images": plain}, sort_keys=False, width=200)


def _image(entry: Any) -> PulledImage:
    """Return an image; what it does not say is empty. Raises `ValueError` with the first thing that is wrong."""
    name = one_line(str(entry["name"]))[:40]
    if name not in NAMES:
        raise ValueError(f"nothing is made of an image {name}; known are {', '.join(NAMES)}")
    keys = [field.name for field in fields(PulledImage)]
    for key in entry:
        if key not in keys:
            raise ValueError(f"image {name} has {one_line(str(key))[:40]}, which is not known")
    pinned = bool(entry.get("digest"))
    for key in keys:
        given = entry.get(key) or []
        values = given if isinstance(given, list) else [given]
        if isinstance(given, list) != (key == "sources") and given:
            values = [None]
        if not values and (pinned or key not in ("digest", "sources")):
            raise ValueError(f"image {name} has no {key}")
        for value in values:
            if not isinstance(value, str) or not re.fullmatch(FORMS[key], value):
                raise ValueError(f"image {name} has a {key} of another form")
    whole = {key: entry.get(key) or "" for key in keys} | {"sources": tuple(entry.get("sources") or ())}
    return PulledImage(**whole)
