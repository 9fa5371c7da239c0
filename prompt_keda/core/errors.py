"""Every error that this project raises on purpose.

::

    PromptKedaError
    ├── EnvironmentFileError    a file that a person wrote is wrong            exit 2
    ├── Refusal                 refused before any write                       exit 2
    ├── Unfilled                the environment lacks a value that is not public   exit 2
    ├── JournalMismatch         a run cannot be resumed: its inputs changed    exit 2
    ├── LabError                the local stack cannot be built or started     exit 3
    ├── ClientError             an outside system could not be asked           exit 3
    │   ├── Unreachable         no answer: TCP, TLS, DNS or time-out
    │   ├── Refused             it answered: not allowed
    │   │   └── LoggedOut       it does not know who asks: the token is missing or has expired
    │   ├── Missing             it answered: not there
    │   └── BadAnswer           it answered something that makes no sense here
    │       └── ErrorReply      it answered with an error of its own: a clear no   exit 1
    ├── StepBroken              a step saw a state that cannot heal by waiting exit 1
    ├── DeadlinePassed          a wait ended without the state it waited for   exit 1
    ├── Unexpected              an error of this toolkit itself, in a run      exit 3
    └── Interrupted             stopped part-way; `resume` goes on             exit 130

An exception means "could not do or see". A state that was seen to be broken is a value (a `Verdict` or a `Progress`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class PromptKedaError(Exception):
    """The root of all errors here.

    Parameters
    ----------
    what
        One plain sentence: what is wrong, and where.
    fix
        What the person can do about it; may be empty.

    Attributes
    ----------
    parts
        A record of what had been done or found out until then, for the JSON document; None unless somebody has set it.
    """

    exit_code = 3

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.parts: DataclassInstance | None = None


class EnvironmentFileError(PromptKedaError):
    """A file that a person wrote (an environment, a runbook) is wrong."""

    exit_code = 2


class Refusal(PromptKedaError):
    """The command was refused before it wrote anything."""

    exit_code = 2


class Unfilled(PromptKedaError):
    """The environment's file says ``FILL-IN:`` where a value is needed.

    Parameters
    ----------
    key
        The value's place in the file: ``kubernetes.context``.
    wanted
        What belongs there, and who knows it.
    """

    exit_code = 2

    def __init__(self, key: str, wanted: str) -> None:
        super().__init__(f"the environment does not say {key}", f"Fill it in: {wanted}")


class JournalMismatch(PromptKedaError):
    """A run cannot be resumed, because what it was planned from has changed."""

    exit_code = 2


class LabError(PromptKedaError):
    """The local stack cannot be built, started or stopped."""


class ClientError(PromptKedaError):
    """An outside system could not be asked, or did not give what was asked for.

    Parameters
    ----------
    system
        The system's name as people say it: ``Kubernetes``, ``Vault``, ``Redis``, ``registry``, ``LDAP``.
    endpoint
        The address that was tried, without any credential.
    detail
        What happened, in one line, without any secret.
    fix
        What the person can do about it; may be empty.
    """

    retriable = False

    def __init__(self, system: str, endpoint: str, detail: str, fix: str = "") -> None:
        super().__init__(f"{system} at {endpoint}: {detail}", fix)
        self.system = system
        self.endpoint = endpoint
        self.detail = detail


class Unreachable(ClientError):
    """No answer came: name resolution, TCP, TLS or a time-out."""

    retriable = True


class Untrusted(Unreachable):
    """TLS was not accepted: the certificate's authority, name or date, or a server without TLS. Nothing was sent."""

    retriable = False


class Refused(ClientError):
    """The system answered that this identity may not do this."""


class LoggedOut(Refused):
    """The system does not know who asks: the token is missing or has expired."""


class Missing(ClientError):
    """The system answered that the thing is missing."""


class BadAnswer(ClientError):
    """The system answered something that makes no sense here (a 5xx, a sealed Vault, a body of the wrong form)."""


class ErrorReply(BadAnswer):
    """The system understood the request and answered with an error of its own: a no, which is seen, and not unknown."""

    exit_code = 1


class StepBroken(PromptKedaError):
    """A step saw a state that waiting cannot fix."""

    exit_code = 1


class DeadlinePassed(PromptKedaError):
    """A wait ended before the state that it waited for was seen.

    Parameters
    ----------
    what
        What was waited for.
    waited_s
        How long, in seconds.
    last
        The last progress that was seen, in words.
    """

    exit_code = 1

    def __init__(self, what: str, waited_s: float, last: str) -> None:
        super().__init__(f"{what}: not within {waited_s:.0f} s; last seen: {last}")
        self.waited_s = waited_s
        self.last = last


class Interrupted(PromptKedaError):
    """The person or the machine stopped the command part-way; it can be resumed."""

    exit_code = 130


class Unexpected(PromptKedaError):
    """An unexpected error ended a run. Its own text may hold a value, and is never shown: only its type is."""

    def __init__(self, error: BaseException, fix: str = "") -> None:
        super().__init__(f"{type(error).__name__}, an unexpected error", fix)
