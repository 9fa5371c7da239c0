"""Ways to inject a fault into one route of the local stack's network, and to restore it: firewall rules, and a proxy of our own.

All of it lives in the stack's network namespaces and cgroup, so that `lab.down` ends it, whatever became of who made it.
The stack's own parts do not pass these routes: they see no fault.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_keda.clients.kube.resources import PODS
from prompt_keda.core.errors import LabError
from prompt_keda.core.waiting import until
from prompt_keda.lab import network, processes
from prompt_keda.lab.commands import run
from prompt_keda.lab.faults import network_proxy, signals
from prompt_keda.lab.faults.fault import FaultAction, Stage
from prompt_keda.lab.settings import PORTS

NOTE = "prompt-keda-network"
OFFSET = 10_000
"""The proxy of port N listens on N + 10000."""
LATE = 1.5
"""A slow answer comes after so many times what one connection waits for."""
PROGRAM = Path(network_proxy.__file__)
LISTENING = "0A"
"""A socket's state in /proc/net/tcp (proc(5))."""


@dataclass(frozen=True)
class Route:
    """One way into a network namespace, to one port.

    Parameters
    ----------
    name
        As it stands in the faults' ids.
    port
        The server's.
    packets
        What iptables' INPUT matches of it.
    opening
        Chain of the table nat, and what it matches of the first packet.
    enter
        Gives the start of a command line that runs in the namespace; None if the namespace is gone.
    target
        Gives the address at which the server is reached from there, by a route that is not this one.
    packets_v6
        What ip6tables' INPUT matches of it, where one that is refused goes on by IPv6; empty: it does not.
    """

    name: str
    port: int
    packets: str
    opening: str
    enter: Callable[[Stage], list[str] | None]
    target: Callable[[Stage], str]
    packets_v6: str = ""


def _to_server(name: str, part: str) -> Route:
    """Return the route from outside to one of the stack's servers."""
    packets = f"-i eth0 -p tcp --dport {PORTS[part]}"
    opening = f"PREROUTING {packets}"
    enter, target = (lambda stage: network.enter(stage.lab)), (lambda stage: str(stage.endpoints["address"]))
    return Route(name, PORTS[part], packets, opening, enter, target)


def _enter_redis(stage: Stage) -> list[str] | None:
    pid = signals.first_process_in_pods(stage, *stage.redis_pods)
    return None if pid is None else [*network.enter(stage.lab), "nsenter", f"--net=/proc/{pid}/ns/net", "--"]


def _redis_address(stage: Stage) -> str:
    (pod,) = stage.kube.list(PODS, *stage.redis_pods)
    return str(pod["status"]["podIP"])


API_SERVER, VAULT = _to_server("api-server", "api"), _to_server("vault", "vault")
REGISTRY, DIRECTORY = _to_server("registry", "registry"), _to_server("directory", "ldap")
REDIS_PORT = 6379
REDIS = Route(
    "redis",
    REDIS_PORT,
    f"-i lo -d 127.0.0.1 -p tcp --dport {REDIS_PORT}",
    f"OUTPUT -o lo -d 127.0.0.1 -p tcp --dport {REDIS_PORT}",
    _enter_redis,
    _redis_address,
    f"-i lo -d ::1 -p tcp --dport {REDIS_PORT}",
)
"""The end of a port-forward: it comes out on the pod's own loopback. KEDA and workers come in by the pod's address.

containerd dials localhost by IPv4, and where that is refused by IPv6, if localhost has such an address: in kind's node it has.
"""


def refuse(route: Route) -> FaultAction:
    """Return what answers each packet with a reset: connections are refused, and open ones end."""

    def act(stage: Stage) -> None:
        _place(stage, route, f"INPUT {route.packets}", "-j REJECT --reject-with tcp-reset")
        if route.packets_v6:
            words = f"-I INPUT {route.packets_v6} -m comment --comment {_note(route)} -j REJECT --reject-with tcp-reset"
            _iptables(_entered(stage, route), "filter", words.split(), "ip6tables")

    return act


def swallow(route: Route) -> FaultAction:
    """Return what drops each packet."""
    return lambda stage: _place(stage, route, f"INPUT {route.packets}", "-j DROP")


def cut(route: Route) -> FaultAction:
    """Return what resets connections once the client has said something."""
    return lambda stage: _through_proxy(stage, route, "cut")


def cut_answers(route: Route) -> FaultAction:
    """Return what resets connections in the midst of what comes after the TLS handshake."""
    return lambda stage: _through_proxy(stage, route, "cut-answer")


def slow(route: Route, delay_s: float | None = None) -> FaultAction:
    """Return what lets each piece of an answer come late; ``delay_s`` in seconds, None: later than anybody waits."""

    def act(stage: Stage) -> None:
        seconds = LATE * stage.environment.limits.connect.total_seconds() if delay_s is None else delay_s
        _through_proxy(stage, route, "slow", str(seconds))

    return act


def restore(route: Route) -> FaultAction:
    """Return what takes away all that these have made."""

    def act(stage: Stage) -> None:
        if enter := route.enter(stage):
            places = [("iptables", "filter", "INPUT"), ("iptables", "nat", route.opening.split()[0])]
            places += [("ip6tables", "filter", "INPUT")] if route.packets_v6 else []
            for program, table, chain in places:
                for rule in _iptables(enter, table, ["-S", chain], program).splitlines():
                    if _note(route) in rule:
                        _iptables(enter, table, ["-D", *shlex.split(rule)[1:]], program)
        processes.remove(stage.lab, _note(route))

    return act


def _place(stage: Stage, route: Route, where: str, what: str, table: str = "filter") -> None:
    """Let one rule be the only one of this route."""
    restore(route)(stage)
    chain, *packets = where.split()
    comment = ["-m", "comment", "--comment", _note(route)]
    _iptables(_entered(stage, route), table, ["-I", chain, *packets, *comment, *what.split()])


def _through_proxy(stage: Stage, route: Route, *way: str) -> None:
    """Lead new connections through the proxy, once that listens."""
    restore(route)(stage)
    lab, port = stage.lab, route.port + OFFSET
    program = [sys.executable, str(PROGRAM), str(port), route.target(stage), str(route.port), *way]
    pid = processes.start(lab, _note(route), [*_entered(stage, route), *program])

    def listens() -> bool:
        processes.require(lab, _note(route))
        sockets = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        return any(fields[1].endswith(f":{port:04X}") and fields[3] == LISTENING for fields in sockets)

    until(listens, "the proxy", 10)
    chain, *packets = route.opening.split()
    comment = ["-m", "comment", "--comment", _note(route)]
    redirect = ["-j", "REDIRECT", "--to-ports", str(port)]
    _iptables(_entered(stage, route), "nat", ["-I", chain, *packets, *comment, *redirect])


def _entered(stage: Stage, route: Route) -> list[str]:
    enter = route.enter(stage)
    if enter is None:
        raise LabError(f"nothing runs at the end of the way to {route.name}", "./run lab.up")
    return enter


def _iptables(enter: Sequence[str], table: str, arguments: Sequence[str], program: str = "iptables") -> str:
    return run([*enter, program, "-w", "-t", table, *arguments])


def _note(route: Route) -> str:
    return f"{NOTE}-{route.name}"
