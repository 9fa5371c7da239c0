"""prepare: what a redeploy needs from elsewhere, put on this machine before an incident."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.systems import filled
from prompt_keda.commands.session import Session
from prompt_keda.components.compare import FieldChange, field_changes
from prompt_keda.core.decisions import digest_of
from prompt_keda.core.errors import EnvironmentFileError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.private_folder import private_folder
from prompt_keda.core.strict_yaml import Where
from prompt_keda.delivery.application import APP_OF_APPS, Application, read_applications
from prompt_keda.delivery.chart_dependencies import place_charts
from prompt_keda.delivery.checkout import Checkout, open_checkout
from prompt_keda.delivery.helm_program import find_helm
from prompt_keda.delivery.manifests import (
    load_instrument_objects,
    load_keda_manifests,
    local_file,
    prepared_file,
)
from prompt_keda.delivery.rendering import Rendering, render
from prompt_keda.environment.edit import placeholders_at, write_values
from prompt_keda.environment.model import PREPARED, Environment, FillIn, Instrument, Phalanx
from prompt_keda.redeploy.approval import Ask
from prompt_keda.report.preparation import EnvironmentFile, ObjectChange, Preparation, Prepared, Rendered
from prompt_keda.report.result import Result

KEDA = "keda"
"""The Application of Phalanx that delivers KEDA, unless the environment names another."""
MOST_NAMED = 5


@dataclass(frozen=True)
class PhalanxOptions:
    """Which Phalanx is rendered, and by what.

    Parameters
    ----------
    checkout
        The top of a clone; empty: nothing is rendered.
    revision
        Empty: what is checked out, which has to be what the Applications follow.
    helm
        Path or name of Helm; empty: the one on the PATH.
    """

    checkout: str = ""
    revision: str = ""
    helm: str = ""


def prepare(session: Session) -> Result[Preparation]:
    """Fetch what a redeploy needs into this machine's cache, so that an incident needs no internet. Idempotent: yes.

    Raises
    ------
    Unfilled
        When the environment does not say where the manifests are, or their SHA-256.
    ClientError
        When they cannot be fetched, or are others than the environment pins.
    EnvironmentFileError
        When the file on this machine cannot be read, is another one, or holds no manifests.
    """
    environment = session.environment
    manifests = environment.keda.manifests
    source = filled(manifests.source, "keda.manifests.source")
    sha256 = filled(manifests.sha256, "keda.manifests.sha256")
    file = local_file(source, sha256)
    was_there = file.exists()
    if source.startswith("https://") and not was_there:
        from prompt_keda.clients.http.download import download

        download(source, sha256, file, manifests.ca_file, environment.limits.connect)
    rows = [_row("KEDA's manifests", file, sha256, load_keda_manifests(file, sha256), not was_there)]
    for instrument in environment.instruments:
        if instrument.prepared is not None:
            objects = load_instrument_objects(instrument, None)
            kept = prepared_file(instrument.prepared.sha256)
            rows.append(_row(f"manifests of {instrument.name}", kept, instrument.prepared.sha256, objects, False))
    return Result("prepare", environment.name, f"environment {environment.name}", Preparation(rows))


def _row(what: str, file: Path, sha256: str, objects: Sequence[Object], fetched: bool) -> Prepared:
    return Prepared(what, str(file), sha256, len(objects), fetched)


@dataclass(frozen=True)
class _Target:
    """One digest of the environment's file: which Application it is of, and where it stands.

    Parameters
    ----------
    instrument
        None: it is KEDA's own.
    before
        The digest that stands there; empty: none.
    """

    name: str
    instrument: Instrument | None
    before: str
    place: Where

    @property
    def what(self) -> str:
        return f"manifests of {self.instrument.name}" if self.instrument else "KEDA's manifests"


def prepare_from_phalanx(
    session: Session, options: PhalanxOptions, approve: str, observer: Observer, ask: Ask | None
) -> Result[Preparation]:
    """Render what Argo CD would apply, keep it, and write its digests into the environment's file. Idempotent: yes.

    Parameters
    ----------
    approve
        The digest that a refusal named; empty: ask the person for the environment's name.
    ask
        None: there is no terminal.

    Raises
    ------
    Refusal
        When the checkout is dirty, is at another revision than the Applications', or does not know the environment; when a
        chart is pinned by nothing; when Helm is missing; when a rendering holds what must not be kept; when nobody approves.
    EnvironmentFileError
        When the environment's file cannot be changed safely.
    ClientError
        When git or Helm fail.
    """
    targets = list(_targets(session.environment))
    about, renderings = _render(session.environment, targets, options)
    files = [rendering.keep(about) for rendering in renderings]
    rows = [
        replace(
            _row(target.what, file, rendering.sha256, rendering.objects, False), rendered=_rendered(target, rendering)
        )
        for target, rendering, file in zip(targets, renderings, files, strict=True)
    ]
    made = Preparation(rows, about, EnvironmentFile(str(session.file), written=False))
    for line in _lines(rows, about):
        observer(Event(EventKind.NOTE, "prepare", "", line))
    made = replace(made, environment_file=_write_digests(session, targets, renderings, approve, ask, made))
    return Result("prepare", session.environment.name, f"environment {session.environment.name}", made)


def _render(
    environment: Environment, targets: Sequence[_Target], options: PhalanxOptions
) -> tuple[dict[str, str | None], list[Rendering]]:
    """Render the chart of each Application from one commit. Return where that stands, and the renderings."""
    phalanx, kube_version = _phalanx(environment), _kube_version(environment)
    name = filled(phalanx.environment, "phalanx.environment")
    revision = filled(phalanx.revision or "", "phalanx.revision")
    with TemporaryDirectory(prefix="prompt-keda-") as scratch:
        home, tree = (private_folder(Path(scratch).resolve() / name) for name in ("helm", "tree"))
        helm = find_helm(options.helm, home)
        checkout = open_checkout(Path(options.checkout).expanduser())
        commit = _commit(checkout, options.revision)
        links = checkout.export(commit, tree)
        names = [target.name for target in targets]
        applications = read_applications(helm, tree, name, revision, kube_version, names)
        _refuse_links(links, [APP_OF_APPS])
        renderings = []
        for target, application in zip(targets, applications, strict=True):
            _refuse_other_revision(checkout, commit, application, options.revision)
            connect = environment.limits.connect
            folders = place_charts(tree, application.path, checkout.folder, phalanx.charts, connect)
            _refuse_links(links, folders)
            renderings.append(render(helm, tree, application, kube_version))
            _refuse_another_scaled_job(target, renderings[-1])
        dates = {"committed_at": checkout.committed_at(commit), "fetched_at": checkout.fetched_at()}
    about: dict[str, str | None] = {
        "commit": commit,
        "environment": name,
        "helm": helm.version,
        "kube_version": kube_version,
    }
    about |= {key: at.isoformat(timespec="seconds") if at else None for key, at in dates.items()}
    return {**about, "checkout": str(checkout.folder)}, renderings


def _phalanx(environment: Environment) -> Phalanx:
    if environment.phalanx is None:
        raise Refusal(
            f"environment {environment.name} does not say where it stands in Phalanx",
            "Write it into its file: phalanx: {environment: NAME}, and application: NAME for each instrument.",
        )
    return environment.phalanx


def _targets(environment: Environment) -> Iterator[_Target]:
    """Yield what is rendered: KEDA's Application, and that of each instrument which has no manifest of its own."""
    manifests = environment.keda.manifests
    is_prepared = manifests.source == PREPARED and not isinstance(manifests.sha256, FillIn)
    name = environment.argocd.application if environment.argocd else KEDA
    yield _Target(name, None, manifests.sha256 if is_prepared else "", ("keda", "manifests", "sha256"))
    for number, instrument in enumerate(environment.instruments):
        if instrument.application is not None and instrument.manifest is None:
            kept = instrument.prepared.sha256 if instrument.prepared else ""
            before = "" if isinstance(kept, FillIn) else kept
            own = filled(instrument.application, f"instruments[{number}].application")
            yield _Target(own, instrument, before, ("instruments", number, "prepared", "sha256"))


def _kube_version(environment: Environment) -> str:
    """Return the newest version that is accepted: what is rendered must not depend on which Helm renders it."""
    versions = [filled(version, "kubernetes.accepted_versions") for version in environment.kubernetes.accepted_versions]
    return max(versions, key=lambda version: tuple(map(int, version.split(".")))) + ".0"


def _commit(checkout: Checkout, revision: str) -> str:
    if changes := checkout.changes():
        more = f" and {len(changes) - MOST_NAMED} more" if len(changes) > MOST_NAMED else ""
        raise Refusal(
            f"{checkout.folder} is not clean: {', '.join(changes[:MOST_NAMED])}{more} are not as committed",
            "Argo CD renders what is committed. Commit or stash it there (git status), then try again.",
        )
    if not revision:
        return checkout.head()
    if commit := checkout.commit_of(revision):
        return commit
    raise Refusal(f"{checkout.folder} has no revision {revision}", "Fetch it there: git fetch")


def _refuse_other_revision(checkout: Checkout, commit: str, application: Application, revision: str) -> None:
    """Make sure that what is rendered is what Argo CD follows, unless a person has named another revision."""
    target = application.target_revision
    wanted = checkout.target_commit(target)
    if revision or wanted == commit:
        return
    if not wanted:
        raise Refusal(
            f"Application {application.name} follows {target}, which {checkout.folder} does not know",
            "Fetch it there (git fetch), or name what to render: --revision R",
        )
    raise Refusal(
        f"{checkout.folder} is at {commit[:12]}, and Application {application.name} follows {target}, "
        f"which is {wanted[:12]} as of the last fetch",
        f"Check it out there, or name what to render: --revision {commit[:12]}",
    )


def _refuse_links(links: Sequence[str], folders: Sequence[str]) -> None:
    for link in links:
        if any(link == folder or link.startswith(f"{folder}/") for folder in folders):
            raise Refusal(
                f"{link} is a symbolic link or a submodule, and neither is rendered", "Commit a file in its place."
            )


def _refuse_another_scaled_job(target: _Target, rendering: Rendering) -> None:
    """Make sure that an instrument's Application brings the ScaledJob that the environment names, and that one alone."""
    if target.instrument is None:
        return
    wanted = f"{target.instrument.namespace}/{target.instrument.scaled_job}"
    made = [
        f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
        for obj in rendering.objects
        if obj["kind"] == "ScaledJob"
    ]
    if made != [wanted]:
        raise Refusal(
            f"Application {target.name} renders ScaledJob {', '.join(made) or 'none'}, "
            f"and instrument {target.instrument.name} is {wanted}",
            "Correct the environment's file: namespace and scaled_job.",
        )


def _rendered(target: _Target, rendering: Rendering) -> Rendered:
    application = rendering.application
    before = _objects_before(target)
    return Rendered(
        application=application.name,
        path=application.path,
        target_revision=application.target_revision,
        arguments=list(application.parameters),
        value_files=application.value_files,
        charts=rendering.charts,
        left_out=rendering.left_out,
        before_sha256=target.before,
        before_is_known=before is not None,
        changes=list(_object_changes(before, rendering.objects)) if before is not None else [],
    )


def _objects_before(target: _Target) -> list[Object] | None:
    """Return the objects of the last preparation; None if there was none, or it is not in this cache."""
    with suppress(OSError, ValueError, EnvironmentFileError):
        if target.before:
            return load_keda_manifests(prepared_file(target.before), target.before)
    return None


def _object_changes(before: Sequence[Object], now: Sequence[Object]) -> Iterator[ObjectChange]:
    """Yield each object that is created, removed or changed, the last with its fields."""
    old, new = ({_identity(obj): obj for obj in objects} for objects in (before, now))
    for identity in sorted({**old, **new}):
        fields: list[FieldChange] = []
        if identity in old and identity in new:
            fields = list(field_changes(old[identity], new[identity]))
            if not fields:
                continue
        change = "changed" if fields else "created" if identity in new else "removed"
        _, kind, namespace, name = identity
        yield ObjectChange(change, kind, namespace, name, fields)


def _identity(obj: Object) -> tuple[str, str, str, str]:
    metadata = obj["metadata"]
    group = str(obj["apiVersion"]).rpartition("/")[0]
    return group, str(obj["kind"]), str(metadata.get("namespace") or ""), str(metadata["name"])


def _lines(rows: Sequence[Prepared], phalanx: Mapping[str, str | None]) -> Iterator[str]:
    """Yield what a person reads before deciding: commit, charts, digests, and what changed."""
    yield f"Phalanx {phalanx['commit']}, committed {phalanx['committed_at']}"
    yield f"  last fetch {phalanx['fetched_at'] or 'none since it was cloned'}"
    yield f"  environment {phalanx['environment']}, rendered by Helm {phalanx['helm']}"
    for row in rows:
        rendered = row.rendered
        if rendered is None:
            continue
        yield f"{rendered.application}: {row.objects_count} objects, SHA-256 {row.sha256}"
        for chart in rendered.charts:
            yield f"  chart {chart.file}, SHA-256 {chart.sha256}"
        for left_out in rendered.left_out:
            yield f"  left out: {left_out}"
        before = rendered.before_sha256
        if before == row.sha256:
            yield "  the same as before"
        elif not rendered.before_is_known:
            yield f"  before: SHA-256 {before}, not in this cache" if before else "  not prepared before"
        else:
            yield f"  before: SHA-256 {before}"
            for change in rendered.changes:
                name = "/".join(filter(None, (change.namespace, change.name)))
                yield f"  {change.change} {change.kind} {name}"
                yield from (
                    f"    {field.path}: {_short(field.before)} → {_short(field.now)}" for field in change.fields
                )


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return f"{text[:80]}…" if len(text) > 80 else text


def _write_digests(
    session: Session,
    targets: Sequence[_Target],
    renderings: Sequence[Rendering],
    approve: str,
    ask: Ask | None,
    made: Preparation,
) -> EnvironmentFile:
    """Write the digests into the environment's file, if there are new ones and a person wants it."""
    environment = session.environment
    file = str(session.file)
    new = {target.name: rendering.sha256 for target, rendering in zip(targets, renderings, strict=True)}
    old = {target.name: target.before for target in targets}
    places = [target.place for target in targets]
    if own := placeholders_at(session.file, [*places, ("keda", "manifests", "source")]):
        return EnvironmentFile(file, False, f"its digests are the local stack's own ({', '.join(own)})")
    if new == old:
        return EnvironmentFile(file, False, "it has these digests already")
    digest = digest_of({"task": "prepare", "environment": environment.name, "old": old, "new": new})
    if refusal := _unapproved(environment.name, digest, approve, ask):
        refusal.parts = replace(made, digest=digest)
        raise refusal
    values: dict[Where, str] = {place: new[target.name] for target, place in zip(targets, places, strict=True)}
    values[("keda", "manifests", "source")] = PREPARED
    write_values(session.file, environment, values, session.systems.placeholders, "digests")
    return EnvironmentFile(file, written=True)


def _unapproved(name: str, digest: str, approve: str, ask: Ask | None) -> Refusal | None:
    if approve:
        what = f"--approve {approve} is not the digest of these renderings, which is {digest}"
        return None if approve == digest else Refusal(what, "Look at them again, then decide.")
    if ask is None:
        what = f"the new digests of environment {name} are not approved, and there is no terminal to ask"
        return Refusal(what, f"The renderings are kept. If they are what you want: --approve {digest}")
    question = f"Write these digests into the file of {name}? Then type the environment's name: "
    return None if ask(question).strip() == name else Refusal("not approved: the environment's file is as it was")
