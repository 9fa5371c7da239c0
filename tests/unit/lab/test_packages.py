"""Debian's packages of a stack without root: unpacked whole or not at all, and started with their own libraries."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pytest

from prompt_keda.core.errors import LabError, Refusal
from prompt_keda.core.event import nobody
from prompt_keda.lab import engines, image_list, packages, pulling, requirements, users_engine
from prompt_keda.lab.commands import Children
from prompt_keda.lab.kind.pulled import Pulled
from prompt_keda.lab.packages import Apt
from prompt_keda.lab.settings import Lab

LIBRARIES = f"lib/{platform.machine()}-linux-gnu"
APT = r"""#!/bin/sh
case "$*" in
    *update) ;;
    *--print-uris*) printf "'http://x/%s_1.deb' %s_1_amd64.deb 10 MD5Sum:x\n" slapd slapd libc6 libc6 ;;
    *download*) for name; do case $name in -*|download) ;; *) : > "${name}_1_amd64.deb" ;; esac; done ;;
esac
"""
DPKG = rf"""#!/bin/sh
case $2 in
    slapd_*) mkdir -p usr/sbin; echo "server $2" > usr/sbin/slapd ;;
    libc6_*) mkdir -p {LIBRARIES}; printf '#!/bin/sh\nprintf "%%s\\n" "$@"\n' > {LIBRARIES}/ld-linux-x.so.2
             chmod +x {LIBRARIES}/ld-linux-x.so.2 ;;
esac
"""


@pytest.fixture
def apt(monkeypatch, tmp_path):
    """An apt-get that has slapd, which depends on libc6; its folder is the PATH's first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in (("apt-get", APT), ("dpkg", DPKG)):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Apt("debian x", lambda folder: [])


def test_a_program_is_started_with_the_libraries_that_were_unpacked_with_it(apt):
    """Libc and its linker too: the machine may be another Linux."""
    folder = packages.unpack(apt, ["slapd"], nobody)
    said = subprocess.run([folder / "programs/slapd", "-d", "a b"], capture_output=True, text=True, check=True)
    option, libraries, program, *arguments = said.stdout.splitlines()
    assert (option, arguments) == ("--library-path", ["-d", "a b"])
    assert Path(program).resolve() == folder / "usr/sbin/slapd"
    assert folder / LIBRARIES in map(Path.resolve, map(Path, libraries.split(":")))
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]


def test_what_is_unpacked_is_not_fetched_again(apt, monkeypatch):
    """But for another release, or other packages."""
    folder = packages.unpack(apt, ["slapd"], nobody)
    monkeypatch.setattr(packages, "_fetch", lambda folder, *rest: folder.mkdir())
    assert packages.unpack(apt, ["slapd"], nobody) == folder
    assert folder not in (packages.unpack(Apt("y", apt.enter), ["slapd"], nobody), packages.unpack(apt, ["x"], nobody))


def test_what_cannot_be_fetched_leaves_nothing(apt, tmp_path):
    """The next lab.up begins anew."""
    (tmp_path / "bin/dpkg").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(LabError) as error:
        packages.unpack(apt, ["slapd"], nobody)
    assert error.value.fix == packages.FIX
    assert not list((tmp_path / "cache/prompt-keda/build").iterdir())


def test_packages_that_are_fetched_alone_bring_no_others(apt, tmp_path):
    """They are for this machine's own libraries."""
    packages.fetch(tmp_path / "alone", ["slapd"])
    assert (tmp_path / "alone/usr/sbin/slapd").exists() and not (tmp_path / "alone/lib").exists()


IMAGE = image_list.PulledImage("debian", "x.example/debian", "12", "sha256:" + "a" * 64, "MIT", "x", ("https://x",))


def test_an_image_of_debian_fetches_them_as_the_user(apt, monkeypatch):
    """It may write into that one folder, ends with the stack, and is pulled only if something is to be fetched."""
    lab, pulled, entered = Lab("probe"), [], []
    users_engine.keep(lab, engines.Engine("Docker", host="unix:///d.sock"))
    monkeypatch.setattr(pulling, "pull", lambda docker, image, *rest: pulled.append(image.name) or image.reference())

    def in_image(lab, reference, folder, real=users_engine.in_image):
        entered.append((folder, real(lab, reference, folder)))
        return []

    monkeypatch.setattr(users_engine, "in_image", in_image)
    images = Pulled({"debian": IMAGE}, "")
    assert images.brings == {image_list.DEBIAN}
    monkeypatch.setattr(users_engine, "end_image", lambda lab: None)
    for _ in range(2):
        assert (images.unpack(lab, ["docker"], nobody, Children()) / "programs/slapd").exists()
    assert pulled == ["debian"]
    ((folder, argv),) = entered
    assert {f"--user={os.getuid()}:{os.getgid()}", f"--volume={folder}:{folder}", "--rm"} < set(argv)
    assert argv[-1] == IMAGE.reference() and f"--label={users_engine.OWNER}={lab.state}" in argv
    assert not [word for word in argv if "privileged" in word]


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@pytest.mark.parametrize(
    "ask", [lambda folder: packages.fetch(folder, ["slapd"]), lambda _: packages.install(nobody, {"x": "/none"})]
)
def test_apt_is_given_proxies_under_the_names_that_it_knows(ask, apt, tmp_path, monkeypatch):
    """In lower case; what stands there already stays."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy")
    monkeypatch.setenv("HTTP_PROXY", "http://upper:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://upper:2")
    monkeypatch.setenv("https_proxy", "http://lower:2")
    (tmp_path / "bin/apt-get").write_text(f"#!/bin/sh\necho $http_proxy $https_proxy >>{tmp_path}/proxies\n{APT}")
    ask(tmp_path / "alone")
    assert set((tmp_path / "proxies").read_text().splitlines()) == {"http://upper:1 http://lower:2"}


def test_an_image_is_given_proxies_by_name_in_both_cases(apt, tmp_path, monkeypatch):
    """So that no password stands in a list of processes."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    lab = Lab("probe")
    users_engine.keep(lab, engines.Engine("Docker", host="unix:///d.sock"))
    monkeypatch.setenv("HTTP_PROXY", "http://u:ca55@upper:1")
    monkeypatch.setenv("no_proxy", "a.example")
    argv = users_engine.in_image(lab, "x", tmp_path)
    passed = [word for word in argv if word.startswith("--env=")]
    assert passed == ["--env=HTTP_PROXY", "--env=http_proxy", "--env=no_proxy"]
    assert "ca55" not in " ".join(argv)


def test_what_runs_in_the_image_is_ended_however_it_ends(apt, monkeypatch):
    """Its command line may have been killed: the container would go on."""
    lab, ended = Lab("probe"), []
    monkeypatch.setattr(users_engine, "end_image", ended.append)
    monkeypatch.setattr(packages, "unpack", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Pulled({"debian": IMAGE}, "").unpack(lab, ["docker"], nobody, Children())
    assert ended == [lab]


def test_packages_that_are_gone_are_an_error_and_nothing_is_made_in_their_place(apt):
    """A mount of a folder that is missing would be made by the engine, as root."""
    lab = Lab("probe")
    users_engine.keep(lab, engines.Engine("Docker", host="unix:///d.sock"))
    with pytest.raises(LabError, match="are gone") as error:
        packages.root(lab)
    assert error.value.fix == "./run lab.down, then lab.up."


def test_a_path_with_a_space_is_refused_without_root(apt, monkeypatch, tmp_path):
    """It stands in slapd's configuration, and in lists of libraries and mounts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    with pytest.raises(Refusal, match="has a space or a colon"):
        requirements._has_plain_paths()


def test_another_linux_is_refused_where_debian_is_not_pulled(monkeypatch):
    """With what to do: a way to the image, or a Debian."""
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "fedora", "PRETTY_NAME": "Fedora Linux 44"})
    monkeypatch.setattr(requirements, "REQUIREMENTS_OF_USERS", (requirements._is_debian_or_pulls,))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Refusal, match="this is Fedora Linux 44") as refused:
        requirements.check(needs_root=False)
    assert "have a way to docker.io, or set PROMPT_KEDA_LAB_MIRROR" in refused.value.fix
    assert "where the engine alone has one, set PROMPT_KEDA_LAB_IMAGES=pulled" in refused.value.fix
    old = engines.Engine("Docker 28", host="unix:///x", cgroup_version="1")
    monkeypatch.setattr(engines, "find_for_kind", lambda: old)
    with pytest.raises(Refusal, match="this is Fedora Linux 44") as refused:
        requirements.check(needs_root=False)
    assert "boot with systemd.unified_cgroup_hierarchy=1" in refused.value.fix
    requirements.check(needs_root=False, brings=frozenset({image_list.DEBIAN}))
