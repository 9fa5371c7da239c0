"""Rights: what one request to the API server needs, and the rules that give it (RBAC)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Rule = dict[str, Any]
"""A rule of RBAC, as a Role holds it."""
SHOWN = 4
"""More missing rights than these are counted, not named."""


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one kind.

    Parameters
    ----------
    namespace
        Empty: in all namespaces, or for a kind that is in none.
    name
        Empty: any object.
    """

    verb: str
    group: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        what = f"{self.plural}/{self.subresource}" if self.subresource else self.plural
        return " ".join(
            [self.verb, what, *([self.name] if self.name else []), *(["in", self.namespace] if self.namespace else [])]
        )

    def covers(self, other: Right) -> bool:
        """Return whether who has this right has the other one, too."""
        mine = (self.verb, self.group, self.plural, self.subresource)
        same = mine == (other.verb, other.group, other.plural, other.subresource)
        return same and self.namespace in ("", other.namespace) and self.name in ("", other.name)


def uncovered(rights: Iterable[Right]) -> list[Right]:
    """Return those rights that no other of them covers, sorted."""
    every = set(rights)
    return sorted(right for right in every if not any(other != right and other.covers(right) for other in every))


def gives(rule: Rule, right: Right) -> bool:
    """Return whether a rule of RBAC (verbs, apiGroups, resources, resourceNames) gives a right where it holds.

    ``*`` stands for all; for resources also as ``*/subresource`` (Kubernetes, pkg/apis/rbac/v1, evaluation_helpers.go).
    """
    what = f"{right.plural}/{right.subresource}" if right.subresource else right.plural
    wanted = {"*", what, *({f"*/{right.subresource}"} if right.subresource else ())}
    names = rule.get("resourceNames") or []
    return (
        bool({"*", right.verb} & set(rule.get("verbs") or []))
        and bool({"*", right.group} & set(rule.get("apiGroups") or []))
        and bool(wanted & set(rule.get("resources") or []))
        and (not names or right.name in names)
    )


def plural_of(kind: str) -> str:
    """Return the plural under which a kind is served, by Kubernetes' own convention (meta.UnsafeGuessKindToResource)."""
    word = kind.lower()
    if word.endswith("s"):
        return f"{word}es"
    return f"{word.removesuffix('y')}ies" if word.endswith("y") else f"{word}s"


def named(rights: Iterable[Right]) -> str:
    """Name rights, verbs on the same thing together: ``get, patch secrets a in b``; the many are counted."""
    verbs: dict[str, list[str]] = {}
    for right in sorted(rights):
        verbs.setdefault(str(right).removeprefix(f"{right.verb} "), []).append(right.verb)
    texts = [f"{', '.join(granted)} {target}" for target, granted in verbs.items()]
    more = f" (and {len(texts) - SHOWN} more)" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more
