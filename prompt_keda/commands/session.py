"""The composition root: an environment's name → its file, read once → the clients of its systems.

A command is given a `Session`, or opens one. Nothing else makes clients, but for the lab, which has its own.
"""

from __future__ import annotations

import os
import queue
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_keda.clients.systems import Systems
from prompt_keda.components.cluster import vcluster
from prompt_keda.core.deadline import in_time
from prompt_keda.core.errors import LabError, PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import ENVIRONMENTS
from prompt_keda.environment import local_stack
from prompt_keda.environment.loading import find_environment, load_environment, unfilled
from prompt_keda.environment.model import Environment

if TYPE_CHECKING:  # a command that only reads needs nothing of a redeploy
    from prompt_keda.components.run import Context

OWN_ENVIRONMENTS = Path("environments")
"""In the current folder. What a person has there counts before what is shipped: a wheel's own files are not for editing."""
CHAT = timedelta(seconds=5)
"""For the login to Vault and the post together: in an incident nobody waits longer for a chat."""


@dataclass(frozen=True)
class Session:
    """One environment, read once, and its systems, each connected when it is first asked.

    Parameters
    ----------
    name
        As the person named it: a name or a path. Commands that are run as processes of their own get it again.
    file
        The environment's file.
    """

    name: str
    file: Path
    systems: Systems

    @property
    def environment(self) -> Environment:
        """What the file says."""
        return self.systems.environment

    def header(self, kube_system_uid: str = "") -> str:
        """Return what is looked at, and from where; the cluster's identity as far as it is known, and whether it is a vCluster.

        It connects nothing, and asks the cluster only where that has just answered with its UID. The file is named unless it
        is a shipped one: two environments may have one name.
        """
        kube = self.systems.connected_kube
        if kube is None:
            cluster = "its cluster is not connected"
        else:
            cluster = f"{kube.address} (CA {(kube.ca_sha256 or 'none')[:12]}"
            cluster += f", kube-system {kube_system_uid})" if kube_system_uid else ")"
        is_shipped = self.file.resolve().parent == ENVIRONMENTS.resolve()
        parts = [
            f"environment {self.environment.name}" + ("" if is_shipped else f" from {self.file}"),
            cluster,
            vcluster.header(self.systems, may_ask=bool(kube_system_uid)),
            f"seen from {self.systems.viewpoint}",
        ]
        return " · ".join(filter(None, parts))

    def for_writing(self) -> Context:
        """Return what a writing command works on.

        Raises
        ------
        Refusal
            When a value is not filled in, or the cluster is another one.
        EnvironmentFileError
            When a manifest cannot be read, or an instrument's is about another ScaledJob.
        """
        from prompt_keda.redeploy import guard, planner

        context = planner.make_context(self.systems, self.systems.placeholders)
        open_values = list(unfilled(self.environment))
        if open_values:
            key, wanted = open_values[0]
            more = len(open_values) - 1
            raise Refusal(f"the environment does not say {key} (and {more} more)", f"Fill it in: {wanted}")
        guard.check_identity(context)
        return context

    @contextmanager
    def reopened(self) -> Iterator[Session]:
        """Open the same environment once more: for a look after something was changed, the environment's file included.

        Raises as `open_session` does.
        """
        with open_session(self.name) as session:
            yield session

    @contextmanager
    def fresh_systems(self) -> Iterator[Systems]:
        """Open clients of their own for a while: those of the session may have lost their connection, or their login."""
        with closing(Systems(self.environment, self.systems.placeholders)) as systems:
            yield systems

    def post_to_chat(self, text: str) -> str:
        """Post a text to the chat that the environment names, within `CHAT`, and return the chat's host.

        Raises
        ------
        Missing
            When the environment names no chat.
        Unfilled
            When it does not say where the webhook's address stands.
        ClientError
            When Vault does not give the address, or as `prompt_keda.clients.http.webhook.post` raises.
        DeadlinePassed
            When it takes too long.
        """
        with self.fresh_systems() as systems:
            return in_time(lambda: systems.post_to_chat(text), CHAT, "the post to the chat")


class ChatNews:
    """Short news for the chat that an environment names, posted in their order while the work goes on; none where there is none.

    A chat holds up nothing: what it does not take within `CHAT` is noted, and so is where a post went.
    """

    def __init__(self, session: Session, observer: Observer) -> None:
        self._session, self._observer = session, observer
        self._waiting: queue.Queue[str | None] = queue.Queue()
        self._outcomes: queue.Queue[str] = queue.Queue()
        self._thread: threading.Thread | None = None

    def post(self, news: str) -> None:
        """Post a line, some time soon."""
        if self._session.environment.incidents.webhook is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._post_each, name="the chat", daemon=True)
            self._thread.start()
        self._waiting.put(news)

    def close(self) -> None:
        """Wait for the last posts, and note what became of each."""
        if self._thread is None:
            return
        self._waiting.put(None)
        self._thread.join(2 * CHAT.total_seconds())
        while not self._outcomes.empty():
            self._observer(Event(EventKind.NOTE, "chat", "", self._outcomes.get()))

    def _post_each(self) -> None:
        while (news := self._waiting.get()) is not None:
            try:
                self._outcomes.put(f"posted to the chat at {self._session.post_to_chat(news)}: {news}")
            except PromptKedaError as error:
                self._outcomes.put(f"not posted to the chat: {news}. {error.what}")
            except Exception as error:  # noqa: BLE001  its words may hold the address, and no chat may end the work
                self._outcomes.put(f"not posted to the chat: {news}. The post itself failed: {type(error).__name__}")


@contextmanager
def open_session(name: str) -> Iterator[Session]:
    """Open a session, by the environment's name or its file's path.

    Raises
    ------
    Refusal
        When no environment is named, or its name means a file of the current folder that somebody else may write.
    EnvironmentFileError
        When there is none of that name, or its file has a wrong form.
    """
    if not name:
        raise Refusal(
            "say which environment: --env NAME", "environments/ holds them; $PROMPT_KEDA_ENV names one for all."
        )
    with open_file(name, _file(name)) as session:
        yield session


@contextmanager
def open_file(name: str, file: Path) -> Iterator[Session]:
    """Open a session by its environment's file, under a name. Raises as `load_environment` does."""
    placeholders = _placeholders()
    with closing(Systems(load_environment(file, placeholders), placeholders)) as systems:
        yield Session(name, file, systems)


def read_environment(name: str) -> Environment:
    """Return an environment alone, by its name or its file's path. Raises as `open_session` does."""
    with open_session(name) as session:
        return session.environment


def is_local(name: str) -> bool:
    """Return whether a name or path means the environment of the local stack. Raises as `find_environment` does."""
    return bool(name) and _file(name).resolve() == (ENVIRONMENTS / "local.yaml").resolve()


def _file(name: str) -> Path:
    file = find_environment(name, OWN_ENVIRONMENTS, ENVIRONMENTS)
    if file.parent == OWN_ENVIRONMENTS and "/" not in name and file.resolve().parent != ENVIRONMENTS.resolve():
        # in /tmp anybody can put one: it decides which program logs in, and to which Vault this person's token is sent
        for place in (file.parent, file):
            status = place.stat()
            if status.st_uid not in (0, os.getuid()) or status.st_mode & stat.S_IWOTH:
                raise Refusal(
                    f"somebody else may write {place.resolve()}, and {file} would count before what is shipped",
                    f"If you trust it, name it: --env ./{file}. Else run this in another folder.",
                )
    return file


def _placeholders() -> dict[str, Any] | None:
    """Return the local stack's values for ``${lab:NAME}``, or None when it is not up. It is reached without a proxy then."""
    try:
        placeholders = local_stack.endpoints(local_stack.current_stack())
    except LabError:
        return None
    local_stack.reach_directly(placeholders["address"])
    return placeholders
