"""The stack's network namespace.

A veth pair leads to it: host 10.213.N.1, stack 10.213.N.2, N the first that is free. Every server of the stack listens
on 10.213.N.2, which its pods and this machine reach alike. The default route ends in a bridge without ports, so that nothing
leaves the namespace but to this machine.
"""

from __future__ import annotations

import json
from pathlib import Path

from prompt_keda.core.errors import LabError
from prompt_keda.lab.commands import run
from prompt_keda.lab.settings import Lab

SLOTS = 64
BRIDGE_FILTER = Path("/proc/sys/net/bridge")


def enter(lab: Lab) -> list[str]:
    """Return the start of a command line that runs a program inside the namespace.

    nsenter and not ``ip netns exec``: the latter remounts /sys, and the kubelet then finds no cgroups.
    """
    return ["nsenter", f"--net={lab.netns_path}", "--"]


def exists(lab: Lab) -> bool:
    """Return whether the namespace exists."""
    return lab.netns_path.exists()


def ensure_bridge_filter() -> None:
    """Load br_netfilter, a module on most kernels; without it Services do not work between pods. Idempotent: yes.

    Raises
    ------
    LabError
        When the kernel does not take it.
    """
    if not BRIDGE_FILTER.exists():
        run(["modprobe", "br_netfilter"], fix="The kernel needs br_netfilter, built in or as a module.")


def create(lab: Lab) -> int:
    """Make the namespace and its link, and return its slot N. Idempotent: yes.

    Raises
    ------
    LabError
        When all 64 slots are taken, or the kernel refuses.
    """
    slot = _slot_of(lab)
    if slot is not None:
        return slot
    delete(lab)
    run(["ip", "netns", "add", lab.netns])
    slot = _take_slot(lab)
    link = _link(slot)
    run(["ip", "addr", "add", f"10.213.{slot}.1/30", "dev", link])
    run(["ip", "link", "set", link, "alias", _alias(lab, "unfinished"), "up"])
    inside = [
        "ip link set lo up",
        f"ip addr add 10.213.{slot}.2/30 dev eth0",
        "ip link set eth0 up",
        "ip link add nowhere type bridge",
        "ip link set nowhere up",
        "ip route add default dev nowhere",
        "sysctl -q -w net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1",
    ]
    for line in inside:
        run([*enter(lab), *line.split()])
    run(["ip", "link", "set", link, "alias", _alias(lab, "ready")])
    return slot


def delete(lab: Lab) -> None:
    """Remove the namespace and its link. Idempotent: yes."""
    for link in _links():
        if link.get("ifalias") in (_alias(lab, "unfinished"), _alias(lab, "ready")):
            run(["ip", "link", "delete", link["ifname"]])
    if exists(lab):
        run(["ip", "netns", "delete", lab.netns])


def address(slot: int) -> str:
    """Return the address of the stack in this slot."""
    return f"10.213.{slot}.2"


def _alias(lab: Lab, state: str) -> str:
    """Return the mark on the link: whose it is, and whether all of its namespace was set up."""
    return f"prompt-keda {lab.name} {state}"


def _links() -> list[dict[str, str]]:
    links: list[dict[str, str]] = json.loads(run(["ip", "-json", "link", "show", "type", "veth"]) or "[]")
    return links


def _slot_of(lab: Lab) -> int | None:
    for link in _links():
        if link.get("ifalias") == _alias(lab, "ready") and exists(lab):
            return int(link["ifname"].removeprefix("pklab"))
    return None


def _take_slot(lab: Lab) -> int:
    """Make the link of the first slot that is free, and return that one.

    Two stacks may come up at once: the kernel gives the name of a link to one of them, and the other takes the next.
    """
    taken = {link["ifname"] for link in _links()}
    for slot in (slot for slot in range(SLOTS) if _link(slot) not in taken):
        try:
            run(["ip", "link", "add", _link(slot), "type", "veth", "peer", "name", "eth0", "netns", lab.netns])
        except LabError:
            if _link(slot) not in {link["ifname"] for link in _links()}:
                raise
        else:
            return slot
    raise LabError(f"all {SLOTS} addresses for local stacks are taken", "Stop one with lab.down.")


def _link(slot: int) -> str:
    """Return the name of the link's end on this machine."""
    return f"pklab{slot}"
