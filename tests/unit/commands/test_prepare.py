"""prepare renders what is committed, keeps it by its SHA-256, and writes that into the environment's file with consent."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest

from prompt_keda.commands.prepare import PhalanxOptions, prepare, prepare_from_phalanx
from prompt_keda.commands.session import open_session
from prompt_keda.components.compare import FieldChange
from prompt_keda.core.errors import BadAnswer, ClientError, EnvironmentFileError, Refusal, Unreachable
from prompt_keda.core.event import nobody
from prompt_keda.delivery import rendering
from prompt_keda.delivery.manifests import load_instrument_objects, load_keda_manifests, local_file, prepared_file
from prompt_keda.delivery.rendering import Chart
from prompt_keda.environment.loading import load_environment
from prompt_keda.report.preparation import EnvironmentFile
from tests.unit.environment.test_environment_file import PROD
from tests.unit.phalanx import FILES, INSTRUMENT, SCALED_JOB, a_helm, a_phalanx, commit, git

PLACE = "phalanx: # where it stands there\n  environment: prod-there\n"
MANIFESTS = "    source: {source}\n    sha256: {sha256}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def phalanx(tmp_path):
    return a_phalanx(tmp_path / "git")


@pytest.fixture
def file(tmp_path):
    """An environment as prod.yaml is, delivered from Phalanx."""
    before, _, rest = PROD.partition("  manifests:\n")
    argocd = rest[rest.index("argocd:") : rest.index("phalanx:")]
    manifests = "  manifests: # of Phalanx\n" + MANIFESTS.format(source="some.yaml", sha256="f" * 64)
    made = before + manifests + argocd + PLACE + rest[rest.index("# The VaultSecret") :]
    path = tmp_path / "mine.yaml"
    path.write_text(made)
    return path


def run(file, phalanx, tmp_path, approve="", ask=None, reports=None, **options):
    helm = options.pop("helm") if "helm" in options else str(a_helm(tmp_path))
    with open_session(str(file)) as session:
        wanted = PhalanxOptions(str(phalanx), helm=helm, **options)
        return prepare_from_phalanx(session, wanted, approve, nobody if reports is None else reports.append, ask).parts


def typed(answer):
    return lambda question: f"{answer}\n"


def refused(words, *arguments, error=Refusal, **options):
    with pytest.raises(error) as caught:
        run(*arguments, **options)
    assert words in f"{caught.value.what} {caught.value.fix}", (caught.value.what, caught.value.fix)
    return caught.value


def test_it_is_rendered_kept_and_written_and_a_second_time_nothing_changes(file, phalanx, tmp_path):
    """Namespaces are filled in, nulls dropped, the Job of the hook is left out; what is loaded is what was rendered."""
    before = file.read_text()
    parts = run(file, phalanx, tmp_path, ask=typed("prod"))
    assert parts.environment_file.written and parts.phalanx["commit"] == git(phalanx, "rev-parse", "HEAD")
    keda, instrument = parts.prepared
    objects = json.loads(prepared_file(keda.sha256).read_text())
    assert [(obj["kind"], obj["metadata"].get("namespace")) for obj in objects] == [
        ("Deployment", "keda"),
        ("ClusterRole", None),
    ]
    assert "creationTimestamp" not in objects[1]["metadata"] and "env" not in str(objects[0]["spec"])
    environment = load_environment(file, None)
    assert (environment.keda.manifests.source, environment.keda.manifests.sha256) == ("prepared", keda.sha256)
    assert load_keda_manifests(local_file("prepared", keda.sha256), keda.sha256) == objects
    (scaled_job,) = load_instrument_objects(environment.instruments[0], None)
    assert scaled_job["spec"]["maxReplicaCount"] == 1700 and scaled_job["metadata"]["namespace"] == INSTRUMENT
    assert scaled_job["metadata"]["annotations"] == {"argocd.argoproj.io/hook": "PostSync"}
    assert instrument.rendered.left_out == (f"Job init-{INSTRUMENT}: hook Sync, which a sync runs",)
    again = run(file, phalanx, tmp_path)
    assert again.environment_file == EnvironmentFile(str(file), False, "it has these digests already")
    assert [row.sha256 for row in again.prepared] == [keda.sha256, instrument.sha256]
    changed = [line for line in file.read_text().splitlines() if line not in before.splitlines()]
    assert changed == [
        "    source: prepared",
        f"    sha256: {keda.sha256}",
        f"    prepared: {{sha256: {instrument.sha256}}}",
    ]


def test_what_changed_is_reported_field_by_field_before_anybody_is_asked(file, phalanx, tmp_path):
    """One value of Phalanx' is one field; an object that is new or gone is told as such."""
    run(file, phalanx, tmp_path, ask=typed("prod"))
    commit(phalanx, {f"applications/{INSTRUMENT}/values-prod-there.yaml": "max: 600\n"})
    new = SCALED_JOB.partition("---\n")[0].replace("ScaledJob", "TriggerAuthentication").replace(INSTRUMENT, "redis")
    events = []
    head = commit(phalanx, {f"applications/{INSTRUMENT}/templates/other.yaml": new.replace("@max@", "1")})
    parts = run(file, phalanx, tmp_path, ask=typed("prod"), reports=events, revision=head)
    keda, instrument = parts.prepared
    assert keda.rendered.changes == []
    fields = [FieldChange("spec.maxReplicaCount", 1700, 600)]
    changes = [(change.change, change.kind, change.fields) for change in instrument.rendered.changes]
    assert changes == [("changed", "ScaledJob", fields), ("created", "TriggerAuthentication", [])]
    lines = [event.detail for event in events]
    assert lines[0].startswith(f"Phalanx {head}, committed 20") and lines[1] == "  last fetch none since it was cloned"
    assert "    spec.maxReplicaCount: 1700 → 600" in lines and "  the same as before" in lines


def test_without_consent_the_file_stays_and_the_digest_is_reported(file, phalanx, tmp_path):
    """The rendering is kept all the same; the digest approves these very renderings and no others."""
    before = file.read_bytes()
    refused("not approved", file, phalanx, tmp_path, ask=typed("yes"))
    error = refused("no terminal", file, phalanx, tmp_path)
    digest = error.parts.digest
    assert os.path.exists(error.parts.prepared[0].file) and f"--approve {digest}" in error.fix
    refused("is not the digest", file, phalanx, tmp_path, approve="0123456789abcdef")
    assert file.read_bytes() == before
    head = commit(phalanx, {"applications/keda/values.yaml": "replicas: 2\n"})
    refused("is not the digest", file, phalanx, tmp_path, approve=digest, revision=head)
    assert run(file, phalanx, tmp_path, approve=digest, revision="origin/main").environment_file.written


def test_a_dirty_tree_is_refused(file, phalanx, tmp_path):
    """Argo CD renders what is committed; what git ignores is no dirt."""
    (phalanx / "applications/keda/values.yaml").write_text("replicas: 3\n")
    refused("is not clean: applications/keda/values.yaml are not as committed", file, phalanx, tmp_path)
    git(phalanx, "checkout", "--quiet", ".")
    (phalanx / "applications/keda/new.yaml").write_text("")
    refused("is not clean: applications/keda/new.yaml", file, phalanx, tmp_path)


def test_another_revision_than_the_applications_is_refused_unless_it_is_named(file, phalanx, tmp_path):
    """What the branch is on the server's side counts, as of the last fetch, and not a local branch of that name."""
    head = commit(phalanx, {"applications/keda/values.yaml": "replicas: 3\n"})
    refused(f"is at {head[:12]}, and Application keda follows main", file, phalanx, tmp_path)
    assert run(file, phalanx, tmp_path, revision=head, ask=typed("prod")).phalanx["commit"] == head
    refused("has no revision nowhere", file, phalanx, tmp_path, revision="nowhere")
    git(phalanx, "push", "--quiet", "origin", "HEAD:refs/heads/tickets/DM-1")
    git(phalanx, "fetch", "--quiet")
    file.write_text(file.read_text().replace("prod-there\n", "prod-there\n  revision: tickets/DM-1\n"))
    parts = run(file, phalanx, tmp_path, ask=typed("prod")).phalanx
    assert parts["commit"] == head and parts["fetched_at"] >= parts["committed_at"]
    git(phalanx, "branch", "tickets/DM-2", "HEAD~1")
    file.write_text(file.read_text().replace("tickets/DM-1", "tickets/DM-2"))
    refused("follows tickets/DM-2, which is", file, phalanx, tmp_path)
    git(phalanx, "branch", "-D", "tickets/DM-2")
    refused("follows tickets/DM-2, which", file, phalanx, tmp_path)


def test_an_environment_that_phalanx_does_not_know_is_refused_with_those_it_knows(file, phalanx, tmp_path):
    """And an Application that is not enabled there."""
    file.write_text(file.read_text().replace("environment: prod-there", "environment: prod-here"))
    refused("no environment 'prod-here' Correct phalanx.environment. It knows: prod-there.", file, phalanx, tmp_path)
    file.write_text(
        file.read_text().replace("prod-here", "prod-there").replace(f"application: {INSTRUMENT}", "application: a")
    )
    refused("has no Application a in environment prod-there", file, phalanx, tmp_path)


def test_without_helm_it_says_how_to_get_it(file, phalanx, tmp_path, monkeypatch):
    """Another program of that name is none either."""
    monkeypatch.setenv("PATH", "/nowhere")
    words = "helm is not on this machine's PATH, and renders the charts of Phalanx Install Helm 3 or 4"
    refused(words, file, phalanx, tmp_path, helm="")
    refused("--helm helm5 is no program", file, phalanx, tmp_path, helm="helm5")
    odd = tmp_path / "odd"
    odd.write_text("#!/bin/sh\necho v2.17.0\n")
    odd.chmod(0o755)
    refused("is neither Helm 3 nor 4: it says 'v2.17.0'", file, phalanx, tmp_path, helm=str(odd))


NEEDS_KEDA = "name: keda\ndependencies: [{name: keda, version: 2.16.1, repository: https://charts.test}]\n"
PACKED = "not really packed"
PIN = hashlib.sha256(PACKED.encode()).hexdigest()


def test_a_chart_from_elsewhere_is_rendered_only_if_it_is_pinned(file, tmp_path):
    """By the environment, and it lies where Helm puts it; it is kept, so that the next preparation needs no network."""
    phalanx = a_phalanx(tmp_path / "git", {**FILES, "applications/keda/Chart.yaml": NEEDS_KEDA})
    refused("keda 2.16.1 comes from https://charts.test, and nothing pins", file, phalanx, tmp_path)
    packed = phalanx / "applications/keda/charts/keda-2.16.1.tgz"
    packed.parent.mkdir()
    packed.write_text(PACKED)
    refused(f"{packed} has {PIN}", file, phalanx, tmp_path)
    pin = "  charts: [{name: keda, version: 2.16.1, sha256: %s}]\n"
    unpinned = file.read_text()
    file.write_text(unpinned.replace("prod-there\n", f"prod-there\n{pin % ('a' * 64)}"))
    refused(f"has the SHA-256 {PIN}, and the environment pins aaaa", file, phalanx, tmp_path)
    file.write_text(unpinned.replace("prod-there\n", f"prod-there\n{pin % PIN}"))
    parts = run(file, phalanx, tmp_path, ask=typed("prod"))
    assert parts.prepared[0].rendered.charts == (Chart("keda-2.16.1.tgz", PIN),)
    packed.unlink()
    assert run(file, phalanx, tmp_path).prepared[0].rendered.charts[0].sha256 == PIN
    for kept in prepared_file(PIN).parent.glob("*.tgz"):
        kept.unlink()
    refused("keda 2.16.1 is not on this machine", file, phalanx, tmp_path)
    away = f"sha256: {PIN}, source: https://127.0.0.1:1/keda.tgz"
    file.write_text(file.read_text().replace(f"sha256: {PIN}}}", f"{away}}}"))
    refused("download at https://127.0.0.1", file, phalanx, tmp_path, error=Unreachable)


def test_a_chart_that_cannot_be_kept_whole_is_not_kept(file, tmp_path, monkeypatch):
    """Half of one would be refused at the next preparation: it is not what its name says."""
    phalanx = a_phalanx(tmp_path / "git", {**FILES, "applications/keda/Chart.yaml": NEEDS_KEDA})
    (phalanx / "applications/keda/charts").mkdir()
    (phalanx / "applications/keda/charts/keda-2.16.1.tgz").write_text(PACKED)
    pin = f"  charts: [{{name: keda, version: 2.16.1, sha256: {PIN}}}]\n"
    file.write_text(file.read_text().replace("prod-there\n", f"prod-there\n{pin}"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    refused("tgz: it cannot be written: No space left", file, phalanx, tmp_path, error=ClientError)
    assert not list(prepared_file(PIN).parent.iterdir())


def test_a_chart_that_is_committed_is_pinned_by_the_commit(file, tmp_path):
    """Packed, unpacked, or beside it in the same commit; one that leads out of it is none."""
    vendored = {**FILES, "applications/keda/Chart.yaml": NEEDS_KEDA, "applications/keda/charts/keda-2.16.1.tgz": PACKED}
    del vendored[".gitignore"]
    phalanx = a_phalanx(tmp_path / "git", vendored)
    assert run(file, phalanx, tmp_path, ask=typed("prod")).prepared[0].rendered.charts[0].sha256 == PIN
    away = NEEDS_KEDA.replace("https://charts.test", "file://../../../elsewhere")
    head = commit(phalanx, {f"applications/{INSTRUMENT}/Chart.yaml": away})
    refused(
        "needs the chart file://../../../elsewhere, which is not in the commit", file, phalanx, tmp_path, revision=head
    )


ODD = {
    "a Secret": ("kind: Deployment", "kind: Secret", "apps/v1", "v1", "renders Secret keda-operator"),
    "an object twice": ("{name: keda-operator}", "{name: keda-operator}\n---\n", "", "", "no Kubernetes object"),
    "a kind of an unknown scope": ("apps/v1", "odd.test/v1", "", "", "does not know whether odd.test has one"),
    "a label that is no text": ("{name: keda-operator}", "{name: k, labels: {a: 1}}", "", "", "metadata.labels: a is int"),
    "no name": ("{name: keda-operator}", "{generateName: k}", "", "", "without apiVersion, kind or name"),
    "a name of two lines": ("{name: keda-operator}", '{name: "a\\nOK redis"}', "", "", "or one that is no text"),
    "no YAML": ("kind: Deployment", "kind: [", "", "", "what it rendered is no YAML"),
    "a bomb": ("replicas: @replicas@", f"a: &a [{'1,' * 100}], b: &b [{'*a,' * 100}], c: &c [{'*b,' * 100}]", "", "", "more than"),
    "what contains itself": ("replicas: @replicas@", "a: &a [*a]", "", "", "contains itself"),
    "a depth": ("replicas: @replicas@", f"a: {'[' * 200}{']' * 200}", "", "", "nested deeper"),
    "too much": ("replicas: @replicas@", f"a: {'x' * 17 * 2**20}", "", "", "it wrote more than 16 MiB"),
}  # fmt: skip


@pytest.mark.parametrize(("part", "other", "more", "less", "words"), ODD.values(), ids=ODD)
def test_what_must_not_be_kept_or_cannot_be_read_is_refused(part, other, more, less, words, file, phalanx, tmp_path):
    """With the reason, and nothing is kept or written."""
    path = "applications/keda/templates/operator.yaml"
    text = FILES[path].replace(part, other)
    head = commit(phalanx, {path: text.replace(more, less) if more else text})
    before = file.read_bytes()
    refused(words, file, phalanx, tmp_path, error=(Refusal, BadAnswer), revision=head, ask=typed("prod"))
    assert file.read_bytes() == before and not prepared_file("0").parent.exists()


def test_an_object_that_is_rendered_twice_is_refused(file, phalanx, tmp_path):
    """Argo CD would take one of them, and warn."""
    head = commit(
        phalanx, {"applications/keda/templates/again.yaml": FILES["applications/keda/templates/operator.yaml"]}
    )
    refused("renders Deployment keda-operator twice", file, phalanx, tmp_path, revision=head)


def test_a_link_in_what_is_rendered_is_refused_and_is_never_followed(file, phalanx, tmp_path):
    """Elsewhere in the repository it is left out."""
    (phalanx / "docs").symlink_to("/etc")
    head = commit(phalanx, {})
    run(file, phalanx, tmp_path, revision=head, ask=typed("prod"))
    (phalanx / "environments/templates/more.yaml").symlink_to("/etc/passwd")
    head = commit(phalanx, {})
    refused("environments/templates/more.yaml is a symbolic link", file, phalanx, tmp_path, revision=head)
    git(phalanx, "rm", "--quiet", "environments/templates/more.yaml")
    (phalanx / "applications/keda/templates/passwd.yaml").symlink_to("/etc/passwd")
    head = commit(phalanx, {})
    refused("applications/keda/templates/passwd.yaml is a symbolic link", file, phalanx, tmp_path, revision=head)


CHANGED = {
    "unknown in the source": (
        "path: applications",
        "chart: c\n    path: applications",
        "says chart, which prepare does not",
    ),
    "unknown in helm": ("parameters:", "fileParameters: []\n      parameters:", "says fileParameters, which"),
    "several sources": ("  source:", "  sources:", "has not the form of one: KeyError('source')"),
    "a variable": ('"@fqdn@"', '"$ARGOCD_APP_NAME"', "is no plain text"),
    "a file from elsewhere": ("[values.yaml,", "[../../../../etc/passwd,", "is not in the checkout"),
    "a file by an address": ("[values.yaml,", "[https://a.test/v.yaml,", "is not in the checkout"),
    "a file that is not there": (
        "[values.yaml,",
        "[value.yaml,",
        "there is no value file applications/keda/value.yaml",
    ),
    "a chart elsewhere": ("applications/keda", "../..", "there is no chart in ../.."),
    "a flag": ("namespace: keda", "namespace: --post-renderer", "is no plain text"),
}


@pytest.mark.parametrize(("part", "other", "words"), CHANGED.values(), ids=CHANGED)
def test_what_an_application_says_and_is_not_known_is_refused(part, other, words, file, phalanx, tmp_path):
    """Argo CD would render something else than what is kept here."""
    path = "environments/templates/keda.yaml"
    assert part in FILES[path]
    head = commit(phalanx, {path: FILES[path].replace(part, other)})
    refused(words, file, phalanx, tmp_path, error=(Refusal, BadAnswer), revision=head)


def test_files_that_change_the_application_beside_its_chart_are_refused(file, phalanx, tmp_path):
    """Argo CD reads them."""
    head = commit(phalanx, {"applications/keda/.argocd-source-keda.yaml": "{}"})
    refused(
        "applications/keda/.argocd-source-keda.yaml changes the Application's source",
        file,
        phalanx,
        tmp_path,
        revision=head,
    )


def test_another_scaled_job_than_the_instruments_is_refused(file, phalanx, tmp_path):
    """Nothing else would look at it."""
    file.write_text(file.read_text().replace("scaled_job: prompt-keda-lsstcam", "scaled_job: other"))
    refused(
        f"renders ScaledJob {INSTRUMENT}/{INSTRUMENT}, and instrument LSSTCam is {INSTRUMENT}/other",
        file,
        phalanx,
        tmp_path,
    )


def test_a_chart_that_renders_differently_each_time_is_refused(file, phalanx, tmp_path):
    """Argo CD would never say Synced of it."""
    program = a_helm(tmp_path)
    random = "import os; print(text.replace('keda-operator', f'k-{os.getpid()}'))"
    program.write_text(program.read_text().replace("print(text)", random))
    refused("renders differently each time", file, phalanx, tmp_path, helm=str(program))


def test_a_rendering_that_was_tampered_with_is_refused_with_both_digests(file, phalanx, tmp_path):
    """And one that is not on this machine, with the command that helps."""
    rows = run(file, phalanx, tmp_path, ask=typed("prod")).prepared
    loads = (lambda read: prepare_of(file), lambda read: load_instrument_objects(read.instruments[0], None))
    for row, load in zip(rows, loads, strict=True):
        path = prepared_file(row.sha256)
        data = path.read_bytes()
        path.write_bytes(data.replace(b"keda", b"kedo", 1))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with pytest.raises(EnvironmentFileError) as caught:
            load(load_environment(file, None))
        assert digest[:16] in caught.value.what and row.sha256[:16] in caught.value.what
        path.unlink()
        with pytest.raises(EnvironmentFileError, match="not in the cache of this machine") as caught:
            load(load_environment(file, None))
        assert "./run prepare --env E --phalanx CHECKOUT" in caught.value.fix
        path.write_bytes(data)
    assert [row.objects_count for row in prepare_of(file)] == [2, 1]


def prepare_of(file):
    with open_session(str(file)) as session:
        return prepare(session).parts.prepared


def test_where_a_rendering_comes_from_is_kept_beside_it(file, phalanx, tmp_path):
    """For people, and for a check of what Argo CD has delivered."""
    row = run(file, phalanx, tmp_path, ask=typed("prod")).prepared[1]
    about = rendering.about(row.sha256)
    assert about["commit"] == git(phalanx, "rev-parse", "HEAD") and about["helm"] == "v3.99.0"
    assert about["application"]["name"] == INSTRUMENT and about["environment"] == "prod-there"
    assert rendering.about("0" * 64) == {}


def test_the_checkout_is_never_written(file, phalanx, tmp_path):
    """Not even git's own folder."""

    def look():
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in phalanx.rglob("*")}

    before = look()
    run(file, phalanx, tmp_path, ask=typed("prod"))
    assert look() == before


def test_no_checkout_no_place_no_flag(file, phalanx, tmp_path):
    """Each is refused with what to do."""
    refused("is not a folder", file, tmp_path / "nowhere", tmp_path)
    refused("is not a git checkout", file, phalanx / "applications", tmp_path)
    file.write_text(file.read_text().replace(PLACE, ""))
    refused("does not say where it stands in Phalanx", file, phalanx, tmp_path)


def test_manifest_and_rendering_of_one_instrument_exclude_each_other(file):
    """Nobody would know which is applied."""
    both = f"    manifest: m.yaml\n    prepared: {{sha256: {'f' * 64}}}\n"
    file.write_text(file.read_text().replace("    application:", f"{both}    application:"))
    with pytest.raises(EnvironmentFileError, match="two sources of one ScaledJob"):
        load_environment(file, None)
