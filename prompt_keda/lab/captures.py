"""What a person sees on a terminal of 80 columns, kept in docs/: made by ``./run lab.captures`` from the real local stack.

Each scene brings the stack into a state, keeps what commands print in it, and puts the stack back. The README's pictures
are the same terminals as SVG, and the page of an incident as a browser shows it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import API_SERVICES, JOBS, NAMESPACES
from prompt_keda.commands.incidents import close_incident
from prompt_keda.components.keda.names import API_SERVICE
from prompt_keda.components.scaled_jobs.objects import is_running
from prompt_keda.core.check import Verdict
from prompt_keda.core.errors import LabError, PromptKedaError, Refusal
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import CODE, TASKS
from prompt_keda.core.waiting import until
from prompt_keda.lab import drilling, packages
from prompt_keda.lab.commands import run as run_program
from prompt_keda.lab.drills.drill import until_detected, until_green
from prompt_keda.lab.drills.toolkit import LOCAL, Toolkit
from prompt_keda.lab.faults import fault_of, presence
from prompt_keda.lab.faults.fault import Stage
from prompt_keda.lab.terminal import AS_HOST, COLUMNS, terminal
from prompt_keda.report.as_svg import terminal_to_svg
from prompt_keda.report.parts import Nothing
from prompt_keda.report.result import Result

DOCS = CODE / "docs"
FAULTS = (
    "cluster/scheduler-stopped",
    "identity/directory-stopped",
    "vault/sealed",
    "redis/streams-gone",
    "redis/password-rotated",
    "images/gone",
    "keda/operator-gone",
    "keda/second-operator",
    "capacity/quota",
    "scaling/jobs-refused",
)
"""Of each category at least one: check-deps alone names its cause and the next command in its first ten lines."""
FAIL, UNKNOWN = Verdict.FAIL, Verdict.UNKNOWN
TRIES = 3
"""A machine that is busy with other things answers late: such a screen shows that, and not the fault."""
EVENTS = 20
LIMIT_S = 300
"""The longest command."""
AT_WORK = re.compile(r"^[|/\\-] verify/", re.MULTILINE)
"""A live line of a redeploy that waits."""
PAGE_SIZE = "1000,1240"
"""Of the picture of an incident's page, in pixels."""


@dataclass(frozen=True)
class Scene:
    """Some captures in one state of the stack.

    Parameters
    ----------
    lines
        File in docs/captures/, without its ending → how many lines it may have, with the command in its first.
    play
        Makes them.
    """

    name: str
    lines: dict[str, int]
    play: Callable[[_Studio], None]


class _Studio:
    """The stack, and where its captures are kept."""

    def __init__(self, stage: Stage, folder: Path, observer: Observer) -> None:
        self.stage, self.toolkit, self.folder, self._observer = stage, Toolkit(observer), folder, observer

    def keep(
        self, name: str, words: str, picture: str = "", may_end_with: Sequence[int] = (0,), midway: str = ""
    ) -> str:
        """Run a task on a terminal, keep what stands there at its end, and return it.

        Parameters
        ----------
        picture
            File in docs/ for the same in colour; empty: none.
        midway
            A capture of it while it waits; empty: none.
        """
        argv = [sys.executable, str(TASKS), *words.split()]
        with terminal(argv, f"./run {words}", {}) as pane:
            if midway:
                until(lambda: AT_WORK.search(pane.screen()), "a step that waits", LIMIT_S)
                self._write(midway, pane.screen())
            _see_code(words, pane.await_end(LIMIT_S), may_end_with)
            screen = pane.screen()
            self._write(name, screen)
            if picture:
                (self.folder / picture).write_text(terminal_to_svg(pane.screen(colours=True), words, COLUMNS))
        return screen

    def keep_in_ci(self, name: str, words: str) -> None:
        """Run a task as a CI server does, which has no terminal, and keep all that it prints."""
        env = {**os.environ, "CI": "true", "COLUMNS": str(COLUMNS), "LC_ALL": "C.UTF-8"}
        argv = [*AS_HOST, sys.executable, str(TASKS), *words.split()]
        done = subprocess.run(
            argv,
            cwd=CODE,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        _see_code(words, done.returncode, (0,))
        self._write(name, f"$ CI=true COLUMNS={COLUMNS} ./run {words}\n{done.stdout}")

    def keep_page(self, picture: str, words: str) -> None:
        """Let a task write a page, and keep what a browser shows."""
        with TemporaryDirectory(prefix="prompt-keda-page-") as folder:
            page = Path(folder) / "page.html"
            run_program([sys.executable, str(TASKS), *words.split(), "--html", str(page)], cwd=CODE)
            # root is refused Chromium's sandbox; the page is our own, and loads nothing
            argv = ["chromium-headless-shell", "--no-sandbox", "--hide-scrollbars", f"--window-size={PAGE_SIZE}"]
            run_program([*argv, f"--screenshot={self.folder / picture}", page.as_uri()], cwd=Path(folder))

    def _write(self, name: str, text: str) -> None:
        path = self.folder / "captures" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.report(f"{path.relative_to(self.folder)}: {len(text.splitlines())} lines")

    def report(self, news: str) -> None:
        self._observer(Event(EventKind.NOTE, "captures", "", news))

    @contextmanager
    def fault(self, id_: str) -> Iterator[None]:
        """Inject a fault until the block's end; wait until its checks see it, and after it until nothing is red."""
        fault = fault_of(id_)
        self.report(fault.title)
        try:
            presence.inject(fault, self.stage)
            until_detected(fault, self.toolkit)
            yield
        finally:
            presence.revert(fault, self.stage)
            # amber may stay a while: workers that failed meanwhile, restarts
            until(
                lambda: not {FAIL, UNKNOWN} & {check.verdict for check in self.toolkit.look()},
                f"a stack that works after {id_}",
                LIMIT_S,
            )

    def delete_keda(self) -> None:
        """Delete KEDA's namespace and its APIService, which would keep the namespace Terminating; wait until both are gone."""
        kube, name = self.stage.kube, self.stage.environment.keda.namespace
        self.report(f"namespace {name} is being deleted")
        uid = kube.get(NAMESPACES, name)["metadata"]["uid"]
        kube.delete(API_SERVICES, API_SERVICE)
        kube.delete(NAMESPACES, name)
        until(lambda: _uid(kube.find(NAMESPACES, name)) != uid, "a namespace that is gone", LIMIT_S)
        if kube.find(NAMESPACES, name) is not None:
            raise LabError(f"somebody else has made the namespace {name} again meanwhile")

    def let_workers_run(self) -> None:
        """Send events, and wait until workers run: what is shown then has something to lose."""
        instruments = self.stage.environment.instruments
        for instrument in instruments:
            self.stage.redis.add(instrument.stream, [{"visit": "of a capture"}] * EVENTS)
        until(lambda: all(self._works(instrument.namespace) for instrument in instruments), "workers that run")

    def _works(self, namespace: str) -> bool:
        return any(is_running(job) for job in self.stage.kube.list(JOBS, namespace))


def _uid(obj: Object | None) -> str | None:
    return obj["metadata"]["uid"] if obj else None


def _see_code(words: str, code: int, expected: Sequence[int]) -> None:
    if code not in expected:
        raise LabError(f"./run {words} ended with exit code {code}: its capture is not what it should show")


def _healthy(studio: _Studio) -> None:
    until_green(studio.toolkit, "a stack that is whole", LIMIT_S)
    studio.keep("healthy", f"check-deps --env {LOCAL}", picture="check-deps.svg")
    studio.keep("plan-healthy", f"plan --env {LOCAL}")
    studio.keep("status", f"status --env {LOCAL}", may_end_with=(0,))


def _redis_away(studio: _Studio) -> None:
    with studio.fault("redis/stopped"):
        studio.keep("redis-away", f"check-deps --env {LOCAL}", "check-deps-redis-away.svg", may_end_with=(1,))


def _api_server_away(studio: _Studio) -> None:
    with studio.fault("cluster/api-server-killed"):
        studio.keep("api-server-away", f"check-deps --env {LOCAL}", may_end_with=(3,))


def _keda_deleted(studio: _Studio) -> None:
    studio.let_workers_run()
    studio.delete_keda()
    try:
        studio.keep("keda-deleted", f"check-deps --env {LOCAL}", may_end_with=(1,))
        studio.keep("plan-namespace-deleted", f"plan --env {LOCAL}", picture="plan.svg")
    finally:
        studio.keep("redeploy", f"redeploy --env {LOCAL}", midway="redeploy-at-work")


def _redeploy_in_ci(studio: _Studio) -> None:
    studio.delete_keda()
    studio.keep_in_ci("redeploy-in-ci", f"redeploy --env {LOCAL}")
    until_green(studio.toolkit, "a stack that is whole", LIMIT_S)


def _incident(studio: _Studio) -> None:
    close_incident(studio.stage.environment, "the captures begin")
    with studio.fault("keda/operator-gone"):
        studio.toolkit.follow("keda-gone")
    studio.keep_page("incident.png", f"report --env {LOCAL}")
    close_incident(studio.stage.environment, "the captures are made")


def _of_fault(id_: str) -> Scene:
    name = f"faults/{id_.replace('/', '-')}"

    def play(studio: _Studio) -> None:
        with studio.fault(id_):
            for _ in range(TRIES):
                screen = studio.keep(name, f"check-deps --env {LOCAL}", may_end_with=(0, 1, 3))
                if any(
                    f" {check}:" in line
                    for line in screen.splitlines()[1:11]
                    for check in fault_of(id_).expected_checks
                ):
                    return
            raise LabError(f"{id_} does not stand in the first ten lines of check-deps: is this machine at its limit?")

    return Scene(id_, {name: 30}, play)


SCENES = (
    Scene("healthy", {"healthy": 25, "plan-healthy": 12, "status": 25}, _healthy),
    Scene("redis-away", {"redis-away": 25}, _redis_away),
    Scene("api-server-away", {"api-server-away": 20}, _api_server_away),
    Scene(
        "keda-deleted",
        {"keda-deleted": 30, "plan-namespace-deleted": 30, "redeploy": 30, "redeploy-at-work": 30},
        _keda_deleted,
    ),
    Scene("redeploy-in-ci", {"redeploy-in-ci": 30}, _redeploy_in_ci),
    Scene("incident", {}, _incident),
    *map(_of_fault, FAULTS),
)


def make(only: str, observer: Observer) -> Result[Nothing]:
    """Make the captures of all scenes, or of those whose names begin so, with commas between; the stack is whole at the end.

    Raises
    ------
    Refusal
        When no scene begins so; and as `drilling.alone` does.
    LabError
        When tmux and Chromium cannot be installed; and, when all were tried, with the scenes that could not be kept.
    """
    starts = tuple(filter(None, only.split(","))) or ("",)
    chosen = [scene for scene in SCENES if scene.name.startswith(starts)]
    if not chosen:
        raise Refusal(f"no scene begins with {only}", f"Known: {', '.join(scene.name for scene in SCENES)}.")
    packages.install(observer, packages.FOR_CAPTURES)
    with drilling.alone() as stage:
        studio = _Studio(stage, DOCS, observer)
        failed = [scene.name for scene in chosen if not _is_played(scene, studio, observer)]
    if failed:
        raise LabError(f"not kept: {', '.join(failed)}", f"Again: ./run lab.captures --only {','.join(failed)}")
    return Result("lab.captures", LOCAL, f"{len(chosen)} scenes kept in docs/", Nothing())


def _is_played(scene: Scene, studio: _Studio, observer: Observer) -> bool:
    """Play a scene, and return whether it was kept. One that fails keeps no other from being played: all take long."""
    began = time.monotonic()
    try:
        scene.play(studio)
        state, news = "done", "kept"
    except PromptKedaError as error:
        state, news = "fail", error.what
    observer(Event(EventKind.FINISHED, f"captures/{scene.name}", state, news, time.monotonic() - began))
    return state == "done"
