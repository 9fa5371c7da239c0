"""A double that lets nothing be written: what is not named as reading is not there."""

from __future__ import annotations

KUBE_READS = {
    "address",
    "ca_sha256",
    "get",
    "find",
    "list",
    "each",
    "may",
    "version",
    "not_ready",
    "server_time",
    "whoami",
    "can_i",
    "rules",
    "login_life",
    "logs",
    "watch",
    "page",
}
REDIS_READS = {
    "endpoint",
    "ping",
    "info",
    "stream_info",
    "group_info",
    "backlog",
    "consumers",
    "observe",
    "logged_in_as",
    "denied",
    "refused_work",
    "key_type",
    "lives_ms",
}


class ReadOnly:
    """Returns what ``names`` name of another double, and raises for everything else."""

    def __init__(self, double, names):
        self._double, self._names = double, names

    def __getattr__(self, name):
        if name not in self._names:
            raise AssertionError(f"{type(self._double).__name__}.{name}: a check reads, and never writes")
        return getattr(self._double, name)
