"""What Redis' own error replies mean, and what to do about them."""

from __future__ import annotations

HANGS = "PING is answered, and a write is not: it hangs, as under CLIENT PAUSE"
FIXES = {
    "NOREPLICAS": "Bring its replicas back; or lower the setting: CONFIG SET min-replicas-to-write 0.",
    "it hangs": "Somebody has paused it, perhaps for a failover: ask its owners. CLIENT UNPAUSE ends that.",
    "no permissions": "Let the user work: ACL SETUSER NAME +xadd +xreadgroup +xack +xinfo +info, and ~instrument:*",
    "read only replica": "This Redis is a replica: its owners say which one is the master.",
    "maxmemory": "Trim the streams that nobody reads, or raise maxmemory.",
    "MISCONF": "Look at its volume: is it full, or gone?",
    "WRONGTYPE": "Ask who has written that key; RENAME it away. Then ./run redeploy makes stream and group.",
    "NOGROUP": "./run redeploy makes the group.",
    "loading the dataset": "Wait: it answers nothing else until it has loaded its data.",
    "number of clients": "Look who holds so many connections: CLIENT LIST; or CONFIG SET maxclients.",
}
"""A part of Redis' words (redis-py leaves the first one of some out) → what to do about it."""


def fix_for(words: str) -> str:
    """Return what to do about an error reply; empty where nothing is known."""
    return next((fix for part, fix in FIXES.items() if part in words), "")
