"""What lies on this machine for a redeploy, and what a rendering of it has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prompt_keda.components.compare import FieldChange
from prompt_keda.delivery.rendering import Chart
from prompt_keda.report.as_json import WithoutNone


@dataclass(frozen=True)
class ObjectChange:
    """An object that is created, removed or changed, the last with its fields."""

    change: str
    kind: str
    namespace: str
    name: str
    fields: Sequence[FieldChange]


@dataclass(frozen=True)
class Rendered:
    """What one Application's chart has given.

    Parameters
    ----------
    before_sha256
        The digest that stands in the environment's file; empty: none.
    before_is_known
        Whether what was prepared before is on this machine: else nothing can be said of changes.
    """

    application: str
    path: str
    target_revision: str
    arguments: Sequence[str]
    value_files: Sequence[str]
    charts: Sequence[Chart]
    left_out: Sequence[str]
    before_sha256: str
    before_is_known: bool
    changes: Sequence[ObjectChange]


@dataclass(frozen=True)
class Prepared(WithoutNone):
    """Manifests in this machine's cache. ``rendered``: by Helm, now."""

    what: str
    file: str
    sha256: str
    objects_count: int
    fetched: bool
    rendered: Rendered | None = None


@dataclass(frozen=True)
class EnvironmentFile(WithoutNone):
    """Whether the digests were written into the environment's file; if not, why."""

    file: str
    written: bool
    why: str | None = None


@dataclass(frozen=True)
class Preparation(WithoutNone):
    """All of it. ``phalanx``: the commit that was rendered, and by what; None: nothing was rendered. ``digest``: what would
    approve what was refused."""

    prepared: Sequence[Prepared]
    phalanx: Mapping[str, str | None] | None = None
    environment_file: EnvironmentFile | None = None
    digest: str | None = None
