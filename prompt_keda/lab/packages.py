"""The Debian packages of the stack."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.lab.commands import run

PROGRAMS = {
    "redis-server": "/usr/bin/redis-server",
    "redis-tools": "/usr/bin/redis-cli",
    "docker-registry": "/usr/bin/docker-registry",
    "containerd": "/usr/bin/containerd",
    "runc": "/usr/sbin/runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "/usr/sbin/iptables",
    "conntrack": "/usr/sbin/conntrack",
    "busybox-static": "/bin/busybox",
    "slapd": "/usr/sbin/slapd",
    "ldap-utils": "/usr/bin/ldapsearch",
    "iproute2": "/usr/sbin/ip",
    "procps": "/usr/sbin/sysctl",
}
"""Package → a file that tells that it is installed."""
FOR_CAPTURES = {"tmux": "/usr/bin/tmux", "chromium-headless-shell": "/usr/bin/chromium-headless-shell"}
"""The same of what shows terminals and pages: the stack itself needs neither."""
POLICY = Path("/usr/sbin/policy-rc.d")


def find_version(package: str) -> str | None:
    """Give the version of an installed Debian package, or None."""
    argv = ["dpkg-query", "--show", "--showformat=${Version}", package]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # lab.status also answers where there is no Debian
        return None
    return done.stdout or None


def install(observer: Observer, programs: Mapping[str, str] = PROGRAMS) -> None:
    """Install what is missing, without starting any service. Idempotent: yes.

    Raises
    ------
    LabError
        When apt-get fails; with its last line.
    """
    missing = [package for package, program in programs.items() if not Path(program).exists()]
    if not missing:
        return
    observer(Event(EventKind.STARTED, "packages", "working", f"apt-get install {' '.join(missing)}"))
    ours = not POLICY.exists()
    if ours:  # exit 101 tells Debian's maintainer scripts not to start services
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], env=env, timeout_s=300, fix="Are Debian's package servers reachable?")
        argv = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        run(argv, env=env, timeout_s=900, fix="Run the same apt-get command by hand to see why.")
    finally:
        if ours:
            POLICY.unlink()
    observer(Event(EventKind.FINISHED, "packages", "done", f"{len(missing)} installed"))
