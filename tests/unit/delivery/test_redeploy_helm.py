"""What is done about a Helm release that hangs, and about the marks of one. Without a cluster."""

from __future__ import annotations

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.delivery import helm
from tests.contracts.fakes.kube import FakeKube


def cluster(*statuses):
    kube = FakeKube()
    kube.create(kinds.NAMESPACES, {"metadata": {"name": "keda"}})
    for number, status in enumerate(statuses, 1):
        labels = {"owner": "helm", "name": "keda", "status": status}
        kube.create(
            kinds.SECRETS, {"metadata": {"name": f"sh.helm.release.v1.keda.v{number}", "labels": labels}}, "keda"
        )
    kube.create(kinds.SECRETS, {"metadata": {"name": "kedaorg-certs"}}, "keda")
    return kube


@pytest.mark.parametrize(
    ("statuses", "removed"),
    [
        ((), []),
        (("deployed",), []),
        (("superseded", "deployed"), []),
        (("superseded", "deployed", "pending-upgrade"), [3]),
        (("superseded", "failed", "deployed"), [2]),
        (("superseded", "uninstalling"), [1, 2]),
        (("pending-install",), [1]),
        (("uninstalled",), [1]),
    ],
)
def test_only_what_hangs_is_removed_unless_nothing_is_deployed(statuses, removed):
    """With no deployed revision Helm can go on from none."""
    revisions = [int(deletion.name.rpartition(".v")[2]) for deletion in helm.stuck(cluster(*statuses), "keda")]
    assert revisions == removed


def obj(release=None, **annotations):
    marks = {helm.RELEASE_NAME: release, helm.RELEASE_NAMESPACE: "keda"} if release else {}
    return {"kind": "Service", "metadata": {"name": "s", "annotations": {**marks, **annotations}}}


def test_the_release_is_what_all_objects_agree_on():
    """Of several nobody can say which goes on."""
    assert helm.release_of([obj("keda"), obj(), obj("keda")]) == "keda/keda"
    assert helm.release_of([obj(), {"kind": "Service", "metadata": {"name": "s"}}]) == ""
    assert helm.release_of([obj("keda"), obj("other")]) == ""


def test_marks_are_added_to_a_copy():
    """And none where there is no release."""
    wanted = obj(kept="yes")
    made = helm.marked(wanted, "keda/mine")["metadata"]
    assert made["annotations"] == {"kept": "yes", helm.RELEASE_NAME: "mine", helm.RELEASE_NAMESPACE: "keda"}
    assert made["labels"] == dict([helm.MANAGED])
    assert wanted == obj(kept="yes") and helm.marked(wanted, "") is wanted
