"""Faults of the network between the toolkit and what it asks. The servers are well, and others reach them.

That a server itself is gone, so that its port refuses, or hangs, stands in `vault`, `images`, `identity` and `frozen`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prompt_keda.lab.faults import network_cuts, vault
from prompt_keda.lab.faults.control_plane import NO_ANSWER
from prompt_keda.lab.faults.fault import Fault, FaultAction
from prompt_keda.lab.faults.network_cuts import API_SERVER, DIRECTORY, REDIS, REGISTRY, VAULT, Route
from prompt_keda.lab.provider import NETWORK_NAMESPACE

REFUSES, SWALLOWS, CUTS, CUTS_ANSWERS, SLOWS = "refuses", "black-hole", "resets", "resets-answers", "slow"
TITLES = {
    REFUSES: "a firewall refuses connections to {}",
    SWALLOWS: "no packet to {} arrives, and nothing says so",
    CUTS: "connections to {} are reset at their first words",
    CUTS_ANSWERS: "connections to {} are reset in the midst of an answer",
    SLOWS: "{} answers later than anybody waits",
}
SAID = {
    REFUSES: "no connection: refused",
    SWALLOWS: "nothing comes back",
    CUTS: "was cut off",
    CUTS_ANSWERS: "was cut off",
    SLOWS: "gave no answer",
}
SAID_BEHIND_A_FORWARD = {SWALLOWS: "the port-forward stands, but it gave no answer"}
"""What becomes of a connection at the pod's end is seen from there alone."""
INJECTIONS: Mapping[str, Callable[[Route], FaultAction]] = {
    REFUSES: network_cuts.refuse,
    SWALLOWS: network_cuts.swallow,
    CUTS: network_cuts.cut,
    CUTS_ANSWERS: network_cuts.cut_answers,
    SLOWS: network_cuts.slow,
}
ALL = tuple(INJECTIONS)
NOT_REFUSED = ALL[1:]
"""Where a fault that stops the server shows a port that refuses already."""


def _of(
    route: Route, called: str, ways: tuple[str, ...], expected_checks: Mapping[str, str], case: str = ""
) -> list[Fault]:
    """Return the faults of one route; ``expected_checks`` are the checks that see each of them."""
    return [
        Fault(
            f"network/{route.name}-{way}",
            case,
            TITLES[way].format(called),
            INJECTIONS[way](route),
            network_cuts.restore(route),
            expected_checks,
            SAID_BEHIND_A_FORWARD.get(way, SAID[way]) if route is REDIS else SAID[way],
            needs=frozenset({NETWORK_NAMESPACE}),
        )
        for way in ways
    ]


FAULTS: tuple[Fault, ...] = (
    *_of(
        API_SERVER,
        "the API server",
        ALL,
        NO_ANSWER,
    ),
    *_of(VAULT, "Vault", NOT_REFUSED, {"vault/unsealed": "unknown", **vault.WITHOUT}),
    *_of(REGISTRY, "the registry", NOT_REFUSED, dict.fromkeys(vault.IMAGES, "unknown"), "F40"),
    *_of(DIRECTORY, "the directory", ALL, {"identity/ldap-answers": "unknown"}),
    *_of(REDIS, "Redis's port", (REFUSES, SWALLOWS, CUTS, SLOWS), {"redis/answers": "unknown"}),
)
