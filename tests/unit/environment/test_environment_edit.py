"""Values are written into an environment's file where they stand, or on a line of their own; all else stays byte for byte."""

from __future__ import annotations

import pytest

from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.environment.edit import write_values
from prompt_keda.environment.loading import load_environment

from .test_environment_file import PROD

DIGEST = "0123456789abcdef" * 4
PREPARED = ("instruments", 0, "prepared", "sha256")


def written(path, values):
    before = load_environment(path, None)
    write_values(path, before, values, None, "digests")
    return load_environment(path, None)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_key_that_is_not_there_gets_a_line_of_its_own(end, tmp_path):
    """In the mapping that it belongs to, as wide as its neighbours, with the file's own ends of lines."""
    path = tmp_path / "mine.yaml"
    path.write_bytes(PROD.replace("\n", end).encode())
    before = path.read_bytes()
    assert written(path, {PREPARED: DIGEST}).instruments[0].prepared.sha256 == DIGEST
    line = f"    prepared: {{sha256: {DIGEST}}}{end}".encode()
    assert path.read_bytes().replace(line, b"") == before and line in path.read_bytes()
    assert written(path, {PREPARED: "f" * 64}).instruments[0].prepared.sha256 == "f" * 64
    assert path.read_bytes().count(b"prepared:") == 1


@pytest.mark.parametrize("digest", ["1" * 64, "1" * 32 + "e" + "1" * 31, "0" * 64])
def test_a_digest_that_looks_like_a_number_stays_a_text(digest, tmp_path):
    """YAML would read it as one."""
    path = tmp_path / "mine.yaml"
    path.write_text(PROD)
    read = written(path, {PREPARED: digest, ("keda", "manifests", "sha256"): digest})
    assert read.instruments[0].prepared.sha256 == read.keda.manifests.sha256 == digest


def test_where_a_line_cannot_be_added_it_says_what_to_write(tmp_path):
    """A list has no place for a key."""
    path = tmp_path / "mine.yaml"
    path.write_text(PROD)
    before = path.read_bytes()
    with pytest.raises(EnvironmentFileError, match="cannot be added") as caught:
        written(path, {("secrets", 0, "keys", "a"): "x"})
    assert "Write it by hand: secrets[0].keys.a: x" in caught.value.fix and path.read_bytes() == before


def test_a_value_that_is_used_elsewhere_too_is_not_changed(tmp_path):
    """An anchor: the other place would change with it."""
    path = tmp_path / "mine.yaml"
    anchored = PROD.replace('sha256: "FILL-IN: the same', 'sha256: &a "FILL-IN: the same').replace(
        'image: "FILL', 'image: *a #"FILL'
    )
    path.write_text(anchored)
    with pytest.raises(EnvironmentFileError, match="undefined alias"):
        written(path, {("keda", "manifests", "sha256"): DIGEST})
    assert path.read_text() == anchored
