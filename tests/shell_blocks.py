"""The bash blocks of runbooks/: their lines, the simple commands in them, and which of those only read."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from prompt_keda.core.places import RUNBOOKS
from prompt_keda.runbooks.loading import load_runbooks

PAGES = list(load_runbooks(RUNBOOKS))
KUBECTL_READS = {
    "auth": {"--list"},
    "config": {"--flatten", "--raw", "--minify"},
    "describe": set(),
    "explain": {"--api-version"},
    "get": {"--field-selector", "--raw", "--request-timeout", "--show-managed-fields", "--sort-by", "-L", "-l", "-v"},
    "logs": {"--all-containers", "--previous", "--selector", "--since", "--tail"},
    "version": set(),
}
KUBECTL_WRITES = {
    "annotate": {"--overwrite", "--field-selector"},
    "apply": {"-f"},
    "delete": {"--force"},
    "label": set(),
    "patch": {"--type", "-p"},
    "rollout": {"--timeout"},
    "scale": {"--replicas"},
    "uncordon": set(),
}
EVERYWHERE = {"-A", "-n", "-o"}
TAKES_A_VALUE = {"-n", "-o", "-l", "-L", "-p", "-f", "--field-selector", "--sort-by", "--raw"}
REDIS_READS = (
    "PING",
    "DBSIZE",
    "INFO",
    "XINFO",
    "XLEN",
    "XPENDING",
    "XRANGE",
    "XREVRANGE",
    "TTL",
    "CONFIG GET",
    "ACL USERS",
)
REDIS_READS += ("ACL LOG", "ACL DRYRUN", "--memkeys")
VAULT_READS = ("status", "token lookup", "secrets list", "kv metadata get")
SMALL_READS = ("base64 -d", "openssl x509", "sha256sum", "date -u", "timedatectl", "sleep")
"""Whatever else stands on the pages; none writes."""
TO_REDIS = ["-n", "prompt-redis", "exec", "prompt-redis-0", "--", "redis-cli"]


@dataclass(frozen=True)
class Line:
    """One line of a block, with the page and the section that it stands in."""

    page: str
    section: str
    text: str

    @property
    def commands(self):
        """The words of each simple command, in their order; an assignment is the command whose output it takes."""
        inner = re.fullmatch(r"[A-Z_]+=\$\((.*)\)", self.text)
        words = shlex.shlex(inner[1] if inner else self.text, posix=True, punctuation_chars="|&;")
        words.whitespace_split, words.commenters = True, "#"
        commands = [[]]
        for word in words:
            if set(word) <= set("|&;"):
                commands.append([])
            else:
                commands[-1].append(word)
        return [command for command in commands if command]

    @property
    def only_reads(self):
        """Whether no command of the line changes anything."""
        return all(map(reads, self.commands))


def lines(page):
    """Return each line of a page's blocks that is no comment."""
    return [
        Line(page.name, block.section, text)
        for block in page.blocks
        for text in block.text.splitlines()
        if text.strip() and not text.startswith("#")
    ]


def first_block():
    """Return the block of the index that sets the names."""
    return re.search(r"```bash\n(NAMESPACE=.*?)```", (RUNBOOKS / "README.md").read_text(), re.DOTALL)[1]


def reads(words):
    """Return whether a simple command only reads."""
    program, rest = words[0], words[1:]
    if program == "kubectl" and rest[: len(TO_REDIS)] == TO_REDIS:
        return starts(rest[len(TO_REDIS) :], REDIS_READS)
    if program == "kubectl":
        name = subcommand(rest)
        return name in KUBECTL_READS and "use-context" not in rest
    if program == "vault":
        return starts(rest, VAULT_READS)
    return starts(words, SMALL_READS)


def starts(words, allowed):
    """Return whether the words begin with one of the phrases."""
    return any(words[: len(phrase.split())] == phrase.split() for phrase in allowed)


def subcommand(words):
    """Return kubectl's subcommand: its first word that is no flag and no flag's value."""
    return next(iter(plain(words)), "")


def plain(words):
    """Return the words that are no flags, and no values of one."""
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith("-") and before not in TAKES_A_VALUE
    ]


def flags(words):
    """Return kubectl's flags, without values; what stands after ``--`` belongs to another program."""
    own = words[: words.index("--")] if "--" in words else words
    values = {i + 1 for i, word in enumerate(own) if word in TAKES_A_VALUE}
    return {
        re.sub(r"^(-v|--[\w-]+)=.*", r"\1", word)
        for i, word in enumerate(own)
        if word.startswith("-") and i not in values
    }
