"""Folders of this user alone."""

from __future__ import annotations

import os

import pytest

from prompt_keda.core.errors import Refusal
from prompt_keda.core.private_folder import appear, lead, private_folder


@pytest.fixture
def umask_0():
    """As some daemons and containers have it: whatever is made is open to all unless its mode says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o7777


def test_a_private_folder_is_private_all_the_way(tmp_path, umask_0):
    """From prompt-keda down, and what had to be made above it; what was there above it stays as it was."""
    tmp_path.chmod(0o755)
    made = private_folder(tmp_path / "state" / "prompt-keda" / "lab" / "local")
    assert made == tmp_path / "state" / "prompt-keda" / "lab" / "local" and mode(tmp_path) == 0o755
    for folder in (made, *list(made.parents)[:3]):
        assert mode(folder) == 0o700, folder


def test_a_folder_that_was_wider_is_corrected(tmp_path, umask_0):
    """An older version left such; a checkout that is also called prompt-keda, further up, stays as it is."""
    wide = tmp_path / "prompt-keda" / "cache" / "prompt-keda" / "build"
    wide.mkdir(parents=True)
    private_folder(wide)
    assert mode(wide) == mode(wide.parent) == 0o700
    assert mode(tmp_path / "prompt-keda") == mode(tmp_path / "prompt-keda" / "cache") == 0o777


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    """With its path, why, and what to do."""
    (tmp_path / "prompt-keda").write_text("a file")
    with pytest.raises(Refusal, match=r"prompt-keda.*(File exists|Not a directory)") as refused:
        private_folder(tmp_path / "prompt-keda" / "runs")
    assert refused.value.exit_code == 2 and "XDG_STATE_HOME" in refused.value.fix


def test_a_link_to_another_disk_is_followed(tmp_path, umask_0):
    """People move caches so; the folder that it leads to becomes private."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "prompt-keda").symlink_to(tmp_path / "disk")
    private_folder(tmp_path / "prompt-keda" / "build")
    assert mode(tmp_path / "disk") == mode(tmp_path / "disk" / "build") == 0o700


def test_of_two_that_make_the_same_folder_the_faster_one_wins(tmp_path):
    """The other goes on with that one; what else goes wrong is an error."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "by").write_text(name)
    for name in ("first", "second"):
        appear(tmp_path / name, tmp_path / "place")
    assert (tmp_path / "place/by").read_text() == "first"
    with pytest.raises(OSError):
        appear(tmp_path / "none", tmp_path / "other")


def test_a_link_leads_elsewhere_at_once(tmp_path):
    """Also one that led to nothing."""
    link = tmp_path / "link"
    for target in ("a", "b"):
        lead(link, tmp_path / target)
        assert link.readlink() == tmp_path / target
    assert list(tmp_path.iterdir()) == [link]
