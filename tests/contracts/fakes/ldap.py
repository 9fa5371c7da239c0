"""A directory in memory: its naming contexts, and whether it tells them to anybody."""

from __future__ import annotations

from prompt_keda.core.errors import BadAnswer, Refused, Unreachable


class FakeDirectory:
    """Its `probe` behaves as `ldap_probe` does.

    ``down``: nothing answers; ``wants_a_name``: it lets nobody read without one; ``hidden``: it shows no root.
    """

    def __init__(self, contexts):
        self.contexts = list(contexts)
        self.down, self.wants_a_name, self.hidden = False, False, False

    def probe(self, url, ca_file=None, timeout=None):
        if self.down:
            raise Unreachable("LDAP", url, "connection refused")
        if self.wants_a_name:
            raise Refused("LDAP", url, "it lets nobody read without a name: authentication required")
        if self.hidden:
            raise BadAnswer("LDAP", url, "its root entry cannot be read")
        return list(self.contexts)
