"""A rebuilt cluster's identity is written into the environment's file, and nothing else in it changes."""

from __future__ import annotations

import os
import re
import stat

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.clients.systems import Systems
from prompt_keda.core.errors import EnvironmentFileError, Refusal
from prompt_keda.core.event import nobody
from prompt_keda.environment import edit as environment_edit
from prompt_keda.environment.edit import write_identity
from prompt_keda.environment.loading import load_environment
from prompt_keda.lab.pki import Authority
from prompt_keda.redeploy.enrol import Enrolled, enrol
from tests.contracts.fakes.kube import FakeKube
from tests.in_process import run_in_process
from tests.unit.environment.test_environment_file import FOLDER, PROD
from tests.unit.test_house_rules import ROOT

OLD_CA, OLD_UID = "a" * 64, "11111111-aaaa-bbbb-cccc-000000000000"
NEW = {"ca_sha256": "0123456789abcdef" * 4, "kube_system_uid": "to come"}
PLAIN = f"    ca_sha256: {OLD_CA} # of 2024\n    kube_system_uid: {OLD_UID}\n"


@pytest.fixture
def kube():
    made = FakeKube()
    made.ca_sha256 = NEW["ca_sha256"]
    namespace = made.create(kinds.NAMESPACES, {"metadata": {"name": "kube-system"}})
    NEW["kube_system_uid"] = namespace["metadata"]["uid"]
    return made


def a_file(tmp_path, identity=PLAIN):
    """Return an environment's file, as prod.yaml is, with an identity."""
    before, _, rest = PROD.partition("  identity:\n")
    after = rest[rest.index("  accepted_versions") :]
    path = tmp_path / "mine.yaml"
    path.write_bytes(f"{before}  identity: # ¹ as seen by us\n{identity}{after}".encode())
    return path


def run(path, kube, approve="", ask=None, reports=None):
    systems = Systems(load_environment(path, None))
    systems._made["kube"] = kube
    return enrol(systems, path, approve, nobody if reports is None else reports.append, ask)


def typed(answer, asked=None):
    def ask(question):
        if asked is not None:
            asked.append(question)
        return f"{answer}\n"

    return ask


STYLES = {
    "plain": PLAIN,
    "single quotes": f"    ca_sha256: '{OLD_CA}'\n    kube_system_uid: '{OLD_UID}'\n",
    "double quotes": f'    kube_system_uid: "{OLD_UID}"   # first\n\n    # between\n    ca_sha256: "{OLD_CA}"\n',
    "in one line": f"    {{ca_sha256: {OLD_CA}, kube_system_uid: {OLD_UID}}}\n",
    "windows": f"    ca_sha256: {OLD_CA}\r\n    kube_system_uid: {OLD_UID}\r\n",
    "to fill in": '    ca_sha256: "FILL-IN: the CA"\n    kube_system_uid: "FILL-IN: the UID"\n',
    "of several lines": '    ca_sha256: "FILL-IN: ask\n      the owners"\n    kube_system_uid: FILL-IN\n      x\n',
}


@pytest.mark.parametrize("identity", STYLES.values(), ids=STYLES)
def test_the_two_values_change_and_nothing_else(tmp_path, kube, identity):
    """Comments, quotes, order and ends of lines stay, byte for byte; so does the file's mode."""
    path = a_file(tmp_path, identity)
    path.chmod(0o640)
    before = path.read_bytes().decode()
    enrolled = run(path, kube, ask=typed("prod"))
    assert enrolled.written and enrolled.new == NEW
    after, identity_now = path.read_bytes().decode(), load_environment(path, None).kubernetes.identity
    assert identity_now.model_dump() == NEW
    for key, value in enrolled.old.items():
        if value in before:
            before = before.replace(value, NEW[key])
    if "FILL-IN" not in identity:
        assert after == before
    assert after.count("#") == before.count("#") and len(after.splitlines()) >= len(before.splitlines()) - 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and os.listdir(tmp_path) == ["mine.yaml"]


def test_old_and_new_stand_side_by_side(tmp_path, kube):
    """Before anybody is asked."""
    events, asked = [], []
    run(a_file(tmp_path), kube, ask=typed("prod", asked), reports=events)
    details = [event.detail for event in events]
    assert details[:3] == ["ca_sha256: another", f"  in the file     {OLD_CA}", f"  at the cluster  {NEW['ca_sha256']}"]
    assert details[5] == f"  at the cluster  {NEW['kube_system_uid']}" and "type the environment's name" in asked[0]


@pytest.mark.parametrize("answer", ["yes", "", "Prod", "pro"])
def test_another_answer_changes_nothing(tmp_path, kube, answer):
    """The environment's name in full."""
    path = a_file(tmp_path)
    before = path.read_bytes()
    with pytest.raises(Refusal, match="not approved"):
        run(path, kube, ask=typed(answer))
    assert path.read_bytes() == before


def test_without_a_terminal_the_digest_that_was_printed_is_wanted(tmp_path, kube):
    """It is of this very pair: another cluster in between has another one."""
    path = a_file(tmp_path)
    before = path.read_bytes()
    with pytest.raises(Refusal, match="no terminal") as caught:
        run(path, kube)
    digest = caught.value.parts.digest
    assert f"--approve {digest}" in caught.value.fix and caught.value.parts.new == NEW
    with pytest.raises(Refusal, match="is not the digest"):
        run(path, kube, approve="0123456789abcdef")
    kube.ca_sha256 = "1" * 64
    with pytest.raises(Refusal, match="is not the digest"):
        run(path, kube, approve=digest)
    assert path.read_bytes() == before
    kube.ca_sha256 = NEW["ca_sha256"]
    assert run(path, kube, approve=digest).written


def test_where_nothing_changed_nothing_is_written(tmp_path, kube):
    """And nobody is asked."""
    path = a_file(tmp_path)
    run(path, kube, ask=typed("prod"))
    before = path.stat()
    assert run(path, kube) == Enrolled(str(path), NEW, NEW, written=False)
    after = path.stat()  # it may have been read: its atime is another one
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_local_stacks_own_identity_is_not_enrolled(kube):
    """Each stack fills it in by itself."""
    path = FOLDER / "local.yaml"
    before = path.read_bytes()
    with pytest.raises(Refusal, match=r"the local stack's own \(\$\{lab:ca_sha256\}"):
        given = dict.fromkeys(PLACEHOLDERS, "/x")
        given |= {"keda_manifests_sha256": "a" * 64, "ca_sha256": "a" * 64, "worker_image": f"x@sha256:{'a' * 64}"}
        given |= {name: f"https://{name}.test" for name in ("vault_url", "registry_url")} | {"ldap_url": "ldaps://x"}
        given["redis_password"] = {"path": "p", "key": "k"}
        enrol(Systems(load_environment(path, given), given), path, "", nobody, typed("local"))
    assert path.read_bytes() == before


PLACEHOLDERS = (
    *("kubeconfig", "context", "ca_file", "vault_role_id_file", "vault_secret_id_file"),
    *("keda_manifests", "kube_system_uid"),
)


def test_a_symbolic_link_is_refused(tmp_path, kube):
    """It would be replaced, or somebody else's file written."""
    path = a_file(tmp_path)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(EnvironmentFileError, match="is a symbolic link"):
        run(link, kube, ask=typed("prod"))
    assert path.read_bytes() == before and link.is_symlink()


BY_HAND = {
    "used elsewhere too": (
        f"    ca_sha256: &same {OLD_CA}\n    kube_system_uid: *same\n",
        "used elsewhere|by hand|no YAML",
    ),
    "of a block": (
        f"    ca_sha256: >-\n      {OLD_CA}\n    kube_system_uid: {OLD_UID}\n",
        "not written as a plain text",
    ),
}


@pytest.mark.parametrize(("identity", "message"), BY_HAND.values(), ids=BY_HAND)
def test_what_cannot_be_changed_safely_is_left_to_a_person(tmp_path, kube, identity, message):
    """The file is as it was, and nothing is left beside it."""
    path = a_file(tmp_path, identity)
    before = path.read_bytes()
    with pytest.raises(EnvironmentFileError, match=message):
        run(path, kube, ask=typed("prod"))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["mine.yaml"]


def test_a_file_that_somebody_edits_meanwhile_is_left_alone(tmp_path, kube, monkeypatch):
    """Between the question and the answer, or while the new one is written."""
    path = a_file(tmp_path)

    def edits(question=""):
        path.write_text(path.read_text() + "# edited\n" + "description: other\n" * (question != ""))
        return "prod"

    with pytest.raises(EnvironmentFileError, match=r"has changed meanwhile|stands here twice"):
        run(path, kube, ask=edits)
    path = a_file(tmp_path)
    check = environment_edit._refuse_other_changes
    monkeypatch.setattr(environment_edit, "_refuse_other_changes", lambda *a: check(*a) or edits())
    with pytest.raises(EnvironmentFileError, match="has changed meanwhile"):
        run(path, kube, ask=typed("prod"))
    assert path.read_text().endswith("# edited\n") and OLD_CA in path.read_text()
    assert os.listdir(tmp_path) == ["mine.yaml"]


def test_a_new_value_that_makes_no_sense_is_not_written(tmp_path):
    """What is written is read and validated first."""
    path = a_file(tmp_path)
    before = path.read_bytes()
    for value in ("abc", "not a digest", f"{'a' * 64}\n  approval: none"):
        with pytest.raises(EnvironmentFileError):
            write_identity(path, load_environment(path, None), {**NEW, "ca_sha256": value}, None)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["mine.yaml"]


def test_a_cluster_without_an_authority_of_its_own_is_refused(tmp_path, kube):
    """Any cluster of the system's authorities would do."""
    kube.ca_sha256 = None
    with pytest.raises(Refusal, match="no certificate authority of its own"):
        run(a_file(tmp_path), kube, ask=typed("prod"))


def test_a_uid_from_the_cluster_is_untrusted(tmp_path, kube):
    """It would be written into a file that decides what is deleted where."""
    kube._objects[kinds.NAMESPACES, None, "kube-system"]["metadata"]["uid"] = "x\napproval: none"
    with pytest.raises(Refusal, match="makes no sense"):
        run(a_file(tmp_path), kube, ask=typed("prod"))


def test_a_value_that_yaml_takes_for_a_number_gets_quotes(tmp_path, kube):
    """64 digits, none of them a letter."""
    kube.ca_sha256 = "7" * 64
    path = a_file(tmp_path)
    run(path, kube, ask=typed("prod"))
    assert f'ca_sha256: "{"7" * 64}" # of 2024' in path.read_text()


NOWHERE = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
clusters: [{name: c, cluster: {server: "SERVER", certificate-authority: "CA"}}]
"""


@pytest.mark.parametrize(
    ("server", "proxy", "message"),
    [
        ("https://127.0.0.1:1", "", "no connection: refused"),
        ("https://name.invalid", "", "its name cannot be resolved"),
        ("https://127.0.0.1:1", "socks5://127.0.0.1:1", "a SOCKS proxy (HTTPS_PROXY) is not supported"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_one_message_and_3(monkeypatch, capsys, tmp_path, server, proxy, message):
    """Nothing is asked of anybody, and the file is as it was."""
    (tmp_path / "config").write_text(
        NOWHERE.replace("SERVER", server).replace("CA", str(Authority(tmp_path / "pki").ca_file))
    )
    path = a_file(tmp_path)
    text = re.sub("  context: .*", f"  kubeconfig: {tmp_path / 'config'}\n  context: c", path.read_text())
    path.write_text(text)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    if proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    code, out, err = run_in_process(monkeypatch, capsys, ROOT, "enrol", "--env", str(path))
    assert (code, out) == (3, "") and message in err and len(err.splitlines()) <= 2, err
    assert path.read_text() == text


def test_a_file_that_came_with_the_package_is_not_written(tmp_path, kube, monkeypatch):
    """The next update would take its place: nobody is asked, and the message says how to have one's own."""
    path = a_file(tmp_path)
    before, asked = path.read_bytes(), []
    monkeypatch.setattr(environment_edit, "ROOT", tmp_path)
    with pytest.raises(EnvironmentFileError, match="came with the installed package") as caught:
        run(path, kube, ask=typed("prod", asked))
    assert f"cp {path} environments/mine.yaml" in caught.value.fix
    assert path.read_bytes() == before and asked == []
