"""The tasks of prompt-keda: flags → command → report → exit code. No logic lives here.

Only invoke is imported at module level, so that listing the tasks stays fast.
"""

from __future__ import annotations

import os
import signal
import sys


def _stop_at_once(signum, frame):
    os.write(2, b"stopped\n")
    os._exit(130)


def _can_be_stopped_at_once():
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants it ignored (nohup, &)
        signal.signal(signal.SIGINT, _stop_at_once)  # until a task begins there is nothing to tidy up
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # run has held it back until here


if __name__ == "__main__":
    _can_be_stopped_at_once()

import importlib  # noqa: E402
import inspect  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from invoke import Collection, Exit, ParseError, Program, task  # noqa: E402

if TYPE_CHECKING:  # so that mypy checks what each task hands on
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import TypeVar

    from _typeshed import DataclassInstance

    import prompt_keda.commands.bundle
    import prompt_keda.commands.check_deps
    import prompt_keda.commands.discover
    import prompt_keda.commands.enrol
    import prompt_keda.commands.history
    import prompt_keda.commands.incidents
    import prompt_keda.commands.prepare
    import prompt_keda.commands.redeploy
    import prompt_keda.commands.runbooks
    import prompt_keda.commands.session
    import prompt_keda.commands.smoke
    import prompt_keda.commands.status
    import prompt_keda.commands.watch
    import prompt_keda.components.round
    import prompt_keda.core.errors
    import prompt_keda.core.exit_code
    import prompt_keda.core.selection
    import prompt_keda.lab.as_text
    import prompt_keda.lab.bench
    import prompt_keda.lab.captures
    import prompt_keda.lab.chaos
    import prompt_keda.lab.desk
    import prompt_keda.lab.docs_site
    import prompt_keda.lab.drilling
    import prompt_keda.lab.image_checks
    import prompt_keda.lab.image_list
    import prompt_keda.lab.injecting
    import prompt_keda.lab.stack
    import prompt_keda.lab.state
    import prompt_keda.lab.testing
    import prompt_keda.report.as_json
    import prompt_keda.report.as_junit
    import prompt_keda.report.as_metrics
    import prompt_keda.report.as_svg
    import prompt_keda.report.as_text
    import prompt_keda.report.checks_as_text
    import prompt_keda.report.discovery_as_text
    import prompt_keda.report.drills_as_text
    import prompt_keda.report.failure
    import prompt_keda.report.history_page
    import prompt_keda.report.layout
    import prompt_keda.report.live_checks
    import prompt_keda.report.parts
    import prompt_keda.report.progress
    import prompt_keda.report.redeploy_as_text
    import prompt_keda.report.result
    import prompt_keda.report.runbooks_as_text
    import prompt_keda.report.status_as_text
    import prompt_keda.report.status_watch
    from prompt_keda import commands, components, core
    from prompt_keda import lab as labs
    from prompt_keda import report as reports
    from prompt_keda.commands.session import Session
    from prompt_keda.lab.state import LabStatus
    from prompt_keda.redeploy.enrol import Enrolled
    from prompt_keda.report.result import Result

    R = TypeVar("R", bound=DataclassInstance)

REDEPLOY_OPTIONS = {
    "mode": "auto, cold, repair, reinstall, upgrade or purge",
    "backlog": "where a lost consumer group begins: skip what waits or replay it; unless named, as the plan says",
    "give_up": "running Jobs that may be lost, as NAMESPACE/NAME, with commas",
}
WHILE_OBSERVING = {"while-observing": "do it also while people observe, without being asked once more"}
APPROVE = {"approve": "the digest of what is approved, as plan or a refusal printed it"}
ENV = {"env": "environment: a file in environments/ without its ending, or a path"}
VERBOSE = {"verbose": "show every check or step, not only what is not as it should be"}
PROVIDER = {"provider": "native (processes of this machine) or kind (containers); unless named what fits here"}
JSON = {"json": "print one JSON document on standard output"}


class _Modules:
    """The modules of a package, each imported when a task first names it."""

    def __init__(self, package):
        self._package = package

    def __getattr__(self, name):
        return importlib.import_module(f"{self._package}.{name}")


if not TYPE_CHECKING:
    core, components = _Modules("prompt_keda.core"), _Modules("prompt_keda.components")
    commands, reports, labs = (_Modules(f"prompt_keda.{name}") for name in ("commands", "report", "lab"))


class _Run:
    """One run of a task: where and how, as its flags say, its progress, and its end."""

    def __init__(self, name: str, env: str, as_json: bool = False):
        self.name, self.env, self.as_json = name, env, as_json
        self.verbose = False
        self._began = reports.as_json.Began()
        self._progress: reports.progress.ProgressPrinter | None = None
        self._result: Result[DataclassInstance] | None = None
        self._show: Callable[[], None] = lambda: None

    def ends_with(self, result: Result[R], show: Callable[[R], None] | None) -> None:
        """Keep the task's result; as text it is shown by its header and by ``show``, or not at all."""

        def in_words() -> None:
            if show:
                reports.as_text.show_header(result.header)
                show(result.parts)

        self._result, self._show = result, in_words

    def session(self) -> AbstractContextManager[Session]:
        """Open the environment."""
        return commands.session.open_session(self.env)

    @property
    def observer(self):
        """What shows progress on standard error."""
        if self._progress is None:
            self._progress = reports.progress.ProgressPrinter(verbose=self.verbose)
        return self._progress

    @property
    def ask(self):
        """A way to ask the person, or None without a terminal or in CI."""
        if os.environ.get("CI") == "true" or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None

        def ask(question):
            print(question, end="", file=sys.stderr, flush=True)
            return sys.stdin.readline()

        return ask

    def finish(self, work):
        """Do the work, show its result, and exit with its code; an error becomes one message and its own code."""
        failure = reports.failure  # imported now: it has to report an interrupt that comes at any moment
        _stop_on_signals()
        try:
            try:
                code = work()
            finally:
                if self._progress:
                    self._progress.close()  # its live lines go before anything else is shown
            if code is not None:
                raise Exit(code=code)
        except (Exit, SystemExit):  # the second: standard output takes no more, and that was said
            raise
        except BaseException as error:  # noqa: BLE001  the one place for every error, also for an unexpected one
            explained = failure.explain(error)
            reports.layout.make_safe(sys.stderr)
            print("\n".join(reports.layout.error_lines(explained, sys.stderr)), file=sys.stderr)
            if self.as_json:
                document = failure.to_json(self.name, self.env, self._began, error, explained)
                _to_stdout(lambda: print(document))
            raise Exit(code=core.exit_code.of_error(error)) from None
        if result := self._result:
            _to_stdout(lambda: print(result.to_json(self._began)) if self.as_json else self._show())
            if result.exit_code:
                raise Exit(code=result.exit_code)


def _to_stdout(show):
    """Show something, all of it; a standard output that takes no more ends the task with 3: nobody got the result."""
    try:
        show()
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_stdout("")
    except OSError as error:
        _give_up_stdout(f"failed: standard output cannot be written: {error.strerror}")


def _give_up_stdout(message):
    """Print why, and end with 3. Python would try once more at its end, and show a traceback."""
    if message:
        print(message, file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    raise SystemExit(3) from None


def _fill_closed_streams():
    """Put /dev/null in the place of streams that are closed: a file of ours would become one of them, and be written over."""
    is_open = []
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
            is_open.append(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for descriptor, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if descriptor not in is_open:
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))
    if 1 not in is_open:
        print("refused: standard output is closed: nobody would get the result", file=sys.stderr)
        raise SystemExit(2)


def _stop_on_signals():
    def stop(signum, frame):
        raise KeyboardInterrupt(signum)

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a terminal that is closed; nohup ignores it
        signal.signal(signal.SIGHUP, stop)


def _task(name="", *, env=True, json=True, otherwise="", help=None, positional=()):
    """Make a task of a function: it takes a `_Run` and its own flags, and ends with a result, or returns an exit code.

    Parameters
    ----------
    name
        With the collection's before it; unless named, the function's.
    env, json
        Whether it takes --env and --json. They stand before its own flags, so that -e and -j are theirs.
    otherwise
        The environment, where neither --env nor $PROMPT_KEDA_ENV names one; what a task without --env is about.
    """

    def decorate(work):
        full_name = name or work.__name__.replace("_", "-")
        own = list(inspect.signature(work).parameters.values())[1:]
        common = [inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=default) for flag, default in flags]

        def run(c, **given):
            as_json = given.pop("json", False)
            where = given.pop("env", "") or (os.environ.get("PROMPT_KEDA_ENV") if env else "") or otherwise
            this = _Run(full_name, where, as_json)
            this.finish(lambda: work(this, **given))

        context = inspect.Parameter("c", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        words = [parameter for parameter in own if parameter.default is inspect.Parameter.empty]
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        options = [parameter.replace(kind=keyword_only) for parameter in own if parameter not in words]
        signature = inspect.Signature([context, *words, *common, *options])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__name__, run.__doc__ = work.__name__, work.__doc__
        explained = {**(ENV if env else {}), **(JSON if json else {}), **(help or {})}
        return task(run, name=full_name.rpartition(".")[2], positional=list(positional), help=explained)

    flags = [("env", "")] * env + [("json", False)] * json
    return decorate


def _whole(flag, text, least=None):
    """Return a whole number, or 0 for nothing."""
    try:
        number = int(text or 0)
    except ValueError:
        raise core.errors.Refusal(f"{flag} {text} is no whole number") from None
    if least is not None and number < least:
        raise core.errors.Refusal(f"{flag} {text} is too few: {least} at least")
    return number


def _seconds(text):
    """Return a number of seconds, or None for nothing."""
    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = 0.0
    if seconds is not None and not 0 < seconds < 1e6:
        raise core.errors.Refusal(f"--timeout {text} is not a number of seconds above 0")
    return seconds


def _may_append(flag, path):
    """Refuse a file that cannot be written, before anything is done; what stands in it stays."""
    _into(flag, path, lambda file: file.open("a").close())


def _write(flag, path, text):
    """Write what ``text`` returns into the file that a flag names; nothing where it names none."""
    _into(flag, path, lambda file: file.write_text(text()))


def _into(flag, path, act):
    from pathlib import Path

    if not path:
        return
    try:
        act(Path(path))
    except OSError as error:
        raise core.errors.Refusal(f"{flag} {path} cannot be written: {error.strerror}") from error


def _live(ids):
    from contextlib import closing

    return closing(reports.live_checks.LiveChecks(ids))


def _redeploy_options(mode, backlog, give_up):
    from prompt_keda.redeploy.modes import RedeployOptions

    return RedeployOptions.parse(mode, backlog, give_up)


@_task(
    otherwise="local",
    help={
        **VERBOSE,
        "only": "checks whose id begins so (several with commas)",
        "skip": "checks to leave out (several with commas)",
        "timeout": "seconds for all checks together",
        "strict": "exit with 4 if there are warnings",
        "deep": "also dry runs, KEDA's own rights, and a canary pod, which is deleted again",
        "junit": "write JUnit XML to this file",
        "svg": "write the table as a picture to this file",
    },
)
def check_deps(run: _Run, only="", skip="", timeout="", strict=False, deep=False, verbose=False, junit="", svg=""):
    """Look at every dependency of Prompt KEDA, read-only."""
    for flag, path in (("--junit", junit), ("--svg", svg)):
        _may_append(flag, path)  # seen now, not after the round, that it can be written
    checks, timeout_s = components.round.choose(only, skip, deep), _seconds(timeout)
    with run.session() as session:
        result = commands.check_deps.check_deps(session, checks, _live, timeout_s=timeout_s, strict=strict)
    results = result.parts.results
    _write("--junit", junit, lambda: reports.as_junit.to_xml(results))
    _write("--svg", svg, lambda: reports.as_svg.to_svg(results, verbose))
    run.ends_with(result, lambda _: reports.checks_as_text.show_checks(results, run.env, verbose))


@_task(
    help={
        "every": "from the beginning of one round to that of the next, such as 60s or 2m",
        "listen": "serve /metrics for Prometheus at this host:port",
        "only": "checks whose id begins so (several with commas)",
        "skip": "checks to leave out (several with commas)",
    }
)
def watch(run: _Run, every="60s", listen="", only="", skip=""):
    """Look again and again, and report what changes alone: as lines, to the chat, and as metrics."""
    from contextlib import nullcontext

    def show(transition):
        line = [transition.to_line()]
        _to_stdout(lambda: print(transition.to_json()) if run.as_json else reports.as_text.show_lines(line))

    checks, interval = components.round.choose(only, skip), commands.watch.interval(every)
    with run.session() as session:
        metrics = reports.as_metrics.Metrics(session.environment.name, {check.id: check.runbook for check in checks})
        with metrics.serve(listen) if listen else nullcontext():
            return commands.watch.watch(session, checks, interval, metrics, show, run.observer)


@_task(help={**VERBOSE, **REDEPLOY_OPTIONS})
def plan(run: _Run, mode="auto", backlog="", give_up="", verbose=False):
    """Show what redeploy would do; reads, never writes."""
    flags = (
        ("--env", run.env),
        ("--mode", mode if mode != "auto" else ""),
        ("--backlog", backlog),
        ("--give-up", give_up),
    )
    command = " ".join(["./run redeploy", *(f"{flag} {value}" for flag, value in flags if value)])
    options = _redeploy_options(mode, backlog, give_up)
    with run.session() as session:
        result = commands.redeploy.plan(session, options, run.observer)
    run.ends_with(result, lambda plan: reports.redeploy_as_text.show_plan(plan, verbose, command))


@_task(
    help={
        **APPROVE,
        "phalanx": "a clone of Phalanx: render from it what Argo CD would apply, and write the digests into the environment",
        "revision": "the branch, tag or commit to render; what is checked out unless named",
        "helm": "Helm 3 or 4; the one on the PATH unless named",
    },
)
def prepare(run: _Run, phalanx="", revision="", helm="", approve=""):
    """Put what a redeploy needs on this machine, so that an incident needs no internet."""
    if not phalanx and (revision or helm or approve):
        raise core.errors.Refusal(
            "--revision, --helm and --approve are for --phalanx", "Name a clone: --phalanx CHECKOUT"
        )
    with run.session() as session:
        if phalanx:
            options = commands.prepare.PhalanxOptions(phalanx, revision, helm)
            result = commands.prepare.prepare_from_phalanx(session, options, approve, run.observer, run.ask)
        else:
            result = commands.prepare.prepare(session)
    run.ends_with(result, reports.as_text.show_prepared)


@_task(help={**VERBOSE, **APPROVE, **REDEPLOY_OPTIONS, **WHILE_OBSERVING, **PROVIDER})
def redeploy(
    run: _Run,
    mode="auto",
    approve="",
    backlog="",
    give_up="",
    while_observing=False,
    verbose=False,
    provider="",
):
    """Redeploy KEDA, and verify that scaling resumes; no running Job is touched."""
    run.verbose = verbose
    options = _redeploy_options(mode, backlog, give_up)
    if commands.session.is_local(run.env):
        labs.stack.ensure_up(run.observer, provider)
    elif provider:
        raise core.errors.Refusal("--provider is for the local stack", "Leave it out, or: --env local")
    with run.session() as session:
        result = commands.redeploy.redeploy(session, options, approve, run.observer, run.ask, while_observing)
    run.ends_with(result, lambda report: reports.redeploy_as_text.show_run(report, verbose))


@_task(
    otherwise="local",
    help={**VERBOSE, **APPROVE, "run": "id of the run; the newest unfinished one unless named"},
)
def resume(run: _Run, run_="", approve="", verbose=False):
    """Go on where an interrupted redeploy stopped, here or on another machine."""
    run.verbose = verbose
    with run.session() as session:
        result = commands.redeploy.resume(session, run_, approve, run.observer, run.ask)
    run.ends_with(result, lambda report: reports.redeploy_as_text.show_run(report, verbose))


def _show_history(history: reports.history_page.History) -> None:
    reports.as_text.show_history(history)
    reports.drills_as_text.show_kept(history.drills)


@_task(help={"html": "write the recovery times, and the drills, as a page to this file"})
def history(run: _Run, html=""):
    """List runs and drills of this machine and, of one environment, the runs of its cluster: how they ended, what they took."""
    from contextlib import nullcontext

    with run.session() if run.env else nullcontext() as session:
        result = commands.history.history(session)
    _write("--html", html, lambda: reports.history_page.to_html(result.environment, result.parts))
    run.ends_with(result, _show_history)


@_task(env=False)
def runbooks(run: _Run):
    """List the runbooks, each with its symptom and what it runs."""
    run.ends_with(commands.runbooks.list_runbooks(), reports.runbooks_as_text.show_runbooks)


@_task(
    positional=["name"],
    help={
        "name": "the runbook, as runbooks lists it",
        **APPROVE,
        "from": "id of the step to begin with, such as mitigation/1",
        "plan": "only show what it would run, and the digest that approves it",
    },
)
def runbook(run: _Run, name, from_="", plan=False, approve=""):
    """Run a runbook: diagnosis, mitigation, verification; kept in the incident's record."""
    with run.session() as session:
        if plan:
            run.ends_with(commands.runbooks.plan_runbook(session, name), reports.runbooks_as_text.show_plan)
        else:
            result = commands.runbooks.run(session, name, from_, approve, run.observer, run.ask)
            run.ends_with(result, reports.runbooks_as_text.show_run)


@_task(
    help={"watch": "look again every two seconds and mark what changed, until Ctrl-C (exit code 130)"},
)
def status(run: _Run, watch=False):
    """Show what stands now: KEDA's parts, ScaledJobs, streams, Jobs, the last runs, the open incident."""
    if watch and run.as_json:
        raise core.errors.Refusal("--watch is not for --json", "Without a terminal --watch prints a line a change.")
    with run.session() as session:
        if watch:
            return _watch(session)
        result = commands.status.status(session)
    run.ends_with(result, lambda status: reports.status_as_text.show_status(status, env=run.env))


def _watch(session):
    """Show the status again and again. Ctrl-C ends it with 130, as every task; kubectl's 1 means "broken" here."""
    from contextlib import closing

    with closing(reports.status_watch.StatusWatch(session.environment.name)) as screen:
        commands.status.watch(session, lambda stands: _to_stdout(lambda: screen.show(stands)))


@_task()
def respond(run: _Run):
    """From symptoms to the runbook that fits: run the checks, rank the causes, and run what you choose."""
    with run.session() as session:
        result = commands.runbooks.respond(session, _live, run.observer, run.ask)
    run.ends_with(result, reports.runbooks_as_text.show_response)


def _show_bundle(bundle: reports.parts.Bundle) -> None:
    where = f"{bundle.file}, {bundle.size_bytes} bytes" if bundle.file else "nothing is written: name a --file"
    counts = f"{len(bundle.files)} files, {bundle.redacted_count} places redacted"
    reports.as_text.show_lines([f"{counts}; {where}"])


@_task(help={"file": "the archive to write; without it only what it would hold is shown"})
def bundle(run: _Run, file=""):
    """Collect what an expert asks for into one archive, without secrets: objects, events, logs, versions."""
    with run.session() as session:
        run.ends_with(commands.bundle.bundle(session, file, run.observer), _show_bundle)


@_task(
    positional=["text"],
    help={"text": "what people have seen or done", "close": "close the incident as well: what is done is done"},
)
def note(run: _Run, text, close=False):
    """Add a note to the open incident's record."""
    with run.session() as session:
        result = commands.incidents.note(session, text, run.observer, close)
    run.ends_with(result, lambda note: reports.as_text.show_lines([f"{note.at}  {note.note}"]))


@_task(
    help={
        "incident": "its id; the newest of the environment unless named",
        "html": "write the page to this file",
        "markdown": "write the same as Markdown to this file",
    },
)
def report(run: _Run, incident="", html="", markdown=""):
    """Report an incident: what was seen and run, what it took, and what is still open."""
    with run.session() as session:
        result = commands.incidents.report(session, incident)
    _write("--html", html, lambda: result.parts.html)
    _write("--markdown", markdown, lambda: result.parts.markdown)
    run.ends_with(result, lambda report: reports.as_text.show_lines(report.chat.splitlines()))


def _show_enrolled(enrolled: Enrolled) -> None:
    outcome = "has the new identity" if enrolled.written else "has this identity already: nothing to do"
    reports.as_text.show_lines([f"{enrolled.file} {outcome}"])


@_task(help=APPROVE)
def enrol(run: _Run, approve=""):
    """Record the new identity of a cluster that was rebuilt; until then every write is refused."""
    with run.session() as session:
        run.ends_with(commands.enrol.enrol(session, approve, run.observer, run.ask), _show_enrolled)


@_task(
    help={
        "new": "write a first file environments/NEW.yaml for the cluster of --context",
        "context": "with --new: the cluster's context in the kubeconfig",
        "kubeconfig": "with --new: the kubeconfig's path; what kubectl would take unless named",
        "write": "write what fills a gap without a question",
        "all": "take also what differs from what a person has written",
    }
)
def discover(run: _Run, new="", context="", kubeconfig="", write=False, all=False):
    """Propose the values of an environment that its cluster shows, as a diff to its file; reads the cluster, never writes there."""
    if new:
        run.env = new
        result = commands.discover.discover_new(new, context, kubeconfig)
        return run.ends_with(result, reports.discovery_as_text.show_discovery)
    if context or kubeconfig:
        raise core.errors.Refusal("--context and --kubeconfig are for --new alone", "An environment's file names them.")
    ask = None if write else run.ask
    with run.session() as session:
        result = commands.discover.discover(session, write, all, ask)
    run.ends_with(result, lambda found: reports.discovery_as_text.show_discovery(found, with_diff=ask is None))


def _show_smoke(report: reports.parts.SmokeReport) -> None:
    reports.as_text.show_smoke(report.smoke)
    if report.cases is not None:
        reports.as_text.show_cases(report.cases)


@_task(
    help={
        **APPROVE,
        "events": "how many Jobs to ask for, 1 to 100",
        "full": "also the acceptance suite: what KEDA promises, each case on a ScaledJob and stream of its own",
        "only": "with --full: cases whose id begins so (several with commas)",
    },
)
def smoke(run: _Run, events="", full=False, only="", approve=""):
    """Verify that events become Jobs, on a stream and ScaledJob of its own."""
    if full and events:
        raise core.errors.Refusal("--events is not for --full", "Its cases say themselves how many events they send.")
    if only and not full:
        raise core.errors.Refusal("--only is for --full alone")
    count = _whole("--events", events)
    cases = commands.smoke.choose_cases(only) if full else []
    with run.session() as session:
        if full:
            result = commands.smoke.run_full_smoke(session, cases, approve, run.observer, run.ask)
        else:
            result = commands.smoke.run_smoke(session, count, approve, run.observer, run.ask)
    run.ends_with(result, _show_smoke)


def _lab(name: str, status: LabStatus) -> Result[LabStatus]:
    header = f"local stack {status.name} ({status.provider}): {status.state}"
    return reports.result.Result(name, "local", header, status)


def _lab_task(name="", **options):
    """Make a task that is about the local stack."""
    return _task(name, env=False, otherwise="local", **options)


@_lab_task(
    "lab.up",
    help={
        "no-redis-password": "Prompt Redis without a password, as in production",
        "with": "argocd or helm, which delivers KEDA there, or vcluster, in which it lives; a stack that is up gets it as well",
        **PROVIDER,
    },
)
def lab_up(run: _Run, no_redis_password=False, with_="", provider=""):
    """Bring up the local stack: a real one-node Kubernetes and all that Prompt KEDA depends on."""
    status = labs.stack.up(run.observer, redis_password=not no_redis_password, delivery=with_, provider=provider)
    run.ends_with(_lab(run.name, status), labs.as_text.show_lab)


@_lab_task("lab.down")
def lab_down(run: _Run):
    """Stop the local stack and remove all of it."""
    labs.stack.down(run.observer)
    run.ends_with(_lab(run.name, labs.state.status()), None)


@_lab_task("lab.status")
def lab_status(run: _Run):
    """Show where the local stack is and what it uses."""
    run.ends_with(_lab(run.name, labs.state.status()), labs.as_text.show_lab)


@_lab_task(
    "lab.images",
    help={"pin": "write a list to this file in which no digest is missing: those that the registries name now"},
)
def lab_images(run: _Run, pin=""):
    """Check the list of images that are pulled: its form, and by their registries whether each is there. Pulls nothing."""
    images, mirror = labs.image_list.chosen(), labs.image_list.mirror()
    if pin:
        images = labs.image_checks.pin(images, mirror)
        _write("--pin", pin, lambda: labs.image_list.to_yaml(images))
    run.ends_with(labs.image_checks.check(run.name, images, mirror), labs.as_text.show_images)


@_lab_task(
    "lab.captures",
    help={"only": "scenes whose name begins so (several with commas); unless named all: some twelve minutes"},
)
def lab_captures(run: _Run, only=""):
    """Regenerate docs/captures/ and the README's pictures from the local stack, which is broken and made whole for it."""
    run.ends_with(labs.captures.make(only, run.observer), lambda _: None)


@task(name="exec")
def lab_exec(c):
    """Run a command inside the local stack: lab.exec -- COMMAND ARGUMENTS…"""
    _run_inside(c, lambda words: labs.stack.exec_(words), "./run lab.exec -- kubectl get pods -A")


@task(name="desk")
def lab_desk(c):
    """Run a command where production's operators would sit, not root: lab.desk -- COMMAND ARGUMENTS…"""
    _run_inside(c, lambda words: labs.desk.exec_(words), "./run lab.desk -- ./run check-deps --env prodlike")


def _run_inside(c, run, example):
    import shlex

    # invoke joins what follows "--" with blanks; the command line itself still has the words apart.
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else shlex.split(c.config.get("remainder", ""))
    if not words:
        print(f"refused: nothing to run: {example}", file=sys.stderr)
        raise Exit(code=2)
    _Run("lab", "local").finish(lambda: run(words))


@_lab_task(help={"revert": "revert every fault that is there, also one that a killed drill has left"})
def faults(run: _Run, revert=False):
    """List the faults of the local stack, what detects each and what answers it."""
    result = labs.injecting.revert_all(run.observer) if revert else labs.injecting.list_faults()
    run.ends_with(result, labs.as_text.show_faults)


@_lab_task(positional=["id"], help={"id": "the fault, as faults lists it", "revert": "revert it"})
def fault(run: _Run, id, revert=False):
    """Inject one fault into the local stack, and leave it there: to look at it, or to practise."""
    result = (labs.injecting.revert if revert else labs.injecting.inject)(id, run.observer)
    run.ends_with(result, labs.as_text.show_faults)


@_lab_task(
    help={
        "fault": "id of the fault, or the start of several",
        "all": "every fault, one after the other: some hours",
        "rest": "go on with the newest drills that were stopped: those that they had not come to",
        "rounds": "a chaos run of this many rounds: redeploys while much goes wrong at random",
        "seed": "the number that picks one fault; of a chaos run its seed (default 1): the same seed makes the same rounds",
        "only": "of a chaos run, the round of this number alone",
        "sequence": "of a chaos run, the one round that this file describes, as a failing round is printed",
        "markdown": "write the table of what was drilled to this file, after each drill or round; rows of others stay",
        **WHILE_OBSERVING,
    },
)
def drill(
    run: _Run,
    fault="",
    all=False,
    rest=False,
    rounds="",
    seed="",
    only="",
    sequence="",
    markdown="",
    while_observing=False,
):
    """Inject faults into the local stack, follow the runbooks, verify scaling, and see that nothing was lost."""
    Refusal = core.errors.Refusal

    def write(page):
        try:
            _write("--markdown", markdown, lambda: page)
        except Refusal as error:  # by now faults were injected and reverted: nothing was refused
            raise core.errors.LabError(error.what, error.fix) from error

    _may_append("--markdown", markdown)
    if rounds or only or sequence:
        if fault or all or rest:
            raise Refusal(
                "--fault, --all and --rest are not for a chaos run", "A chaos run takes --rounds, --seed and --only."
            )
        number = _whole("--only", only) if only else None
        count = _whole("--rounds", rounds, least=1) if rounds else 0
        numbers = (count, _whole("--seed", seed or "1"), number)
        rounds_done = labs.chaos.run(*numbers, sequence, write, run.observer, while_observing, run.ask)
        return run.ends_with(rounds_done, labs.as_text.show_chaos)
    selection = labs.drilling.Selection(fault, all, _whole("--seed", seed) if seed else None, rest, while_observing)
    kept: list[str] = []
    _into("--markdown", markdown, lambda file: kept.append(file.read_text()))
    beside = labs.drilling.beside
    done = labs.drilling.run(selection, lambda page: write(beside("".join(kept), page)), run.observer, run.ask)
    run.ends_with(done, labs.as_text.show_drills)


@_lab_task(
    json=False,
    help={
        "quick": "static checks and unit tests alone: two minutes, no stack",
        "exhaustive": "also what takes longer",
        "junit": "write JUnit XML to this file, with what each test took",
    },
)
def test(run: _Run, quick=False, exhaustive=False, junit=""):
    """Run the project's own tests; brings up the local stack."""
    if quick and exhaustive:
        raise core.errors.Refusal("--quick is not for --exhaustive")
    _may_append("--junit", junit)
    return labs.testing.run(quick, exhaustive, junit)


@_lab_task()
def docs(run: _Run):
    """Build docs/ and runbooks/ as a site with search, into .site/."""
    run.ends_with(labs.docs_site.build(run.observer), lambda _: None)


@_lab_task(
    help={
        "rounds": "how often each is run, 5 unless named",
        "of": "check-deps (unless named), recovery, delivery or burst",
    },
)
def bench(run: _Run, rounds="", of="check-deps"):
    """Measure check-deps, a redeploy, or a burst of events, beside what people use or what is predicted."""
    benchmarks = labs.bench.BENCHMARKS
    if of not in benchmarks:
        raise core.errors.Refusal(f"--of {of} cannot be measured", f"Known: {', '.join(benchmarks)}.")
    timings = benchmarks[of](_whole("--rounds", rounds or "5", least=1), run.observer)
    result = reports.result.Result("bench", "local", "", reports.parts.Timings(timings))
    run.ends_with(result, lambda _: reports.as_text.show_lines([f"  {timing}" for timing in timings]))


namespace = Collection(
    check_deps,
    watch,
    status,
    plan,
    prepare,
    redeploy,
    resume,
    history,
    runbooks,
    runbook,
    respond,
    note,
    report,
    bundle,
    enrol,
    discover,
    smoke,
    faults,
    fault,
    drill,
    test,
    docs,
    bench,
)
namespace.add_collection(Collection("lab", lab_up, lab_down, lab_status, lab_images, lab_captures, lab_exec, lab_desk))


class Commands(Program):
    """invoke, with the exit codes of this project for what invoke itself ends."""

    def parse_core(self, argv):
        """Read what stands before the tasks. A task that takes a word would take --help for it."""
        argv = list(sys.argv if argv is None else argv)
        if argv[2:] in (["--help"], ["-h"]):
            argv[1:] = ["--help", argv[1]]
        self._parse(lambda: super(Commands, self).parse_core(argv))

    def parse_tasks(self):
        """Read the tasks and their flags."""
        self._parse(super().parse_tasks)

    def parse_cleanup(self):
        """Answer --list and --help."""
        self._parse(super().parse_cleanup)

    def execute(self):
        """Run the task. What reads our output may have gone: then nobody knows the result."""
        if signal.getsignal(signal.SIGINT) is _stop_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            super().execute()
        except KeyboardInterrupt:
            raise Exit("\nstopped", code=130) from None
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is said: what Python still clears away may be cut off

    def _parse(self, read):
        try:
            read()
        except (ParseError, ValueError) as error:
            fix = f"{self.binary} --list names the tasks, {self.binary} TASK --help its flags."
            words = sys.argv[1 : sys.argv.index("--") if "--" in sys.argv else None]
            what = self._misspelt(str(error))
            if "--json" in words or "-j" in words:
                _refuse_in_json(words[0], what, fix)
            raise Exit(f"refused: {what}\n  {fix}", code=2) from None

    def _misspelt(self, error):
        """Return what invoke says of the command line; of a word that it does not know, what was meant."""
        import re

        from prompt_keda.core.selection import did_you_mean

        unknown = re.fullmatch(r"No idea what '(.*)' is!", error)
        if unknown is None:
            return error
        if unknown[1].startswith("-"):
            return f"there is no flag {unknown[1]!r} here"
        return f"there is no task {unknown[1]!r}{did_you_mean(unknown[1], namespace.task_names)}"


def _refuse_in_json(task_name, what, fix):
    """Print the document of a command line that could not be understood."""
    error = core.errors.Refusal(what, fix)
    document = reports.failure.to_json(task_name, "", reports.as_json.Began(), error, reports.failure.explain(error))
    _to_stdout(lambda: print(document))


def main(binary="prompt-keda"):
    """Run the tasks of the command line; without an argument it is the program that a wheel installs."""
    from prompt_keda import __version__

    _can_be_stopped_at_once()
    _fill_closed_streams()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # for --list and --help; reports do better: report/layout.py
    ended = None
    try:
        Commands(__version__, namespace, name="prompt-keda", binary=binary).run()
    except SystemExit as error:
        ended = error
    except BrokenPipeError:
        _give_up_stdout("")
    except OSError as error:  # of --list and --help: every other one is explained where it was seen
        _give_up_stdout(f"failed: standard output cannot be written: {error.strerror}")
    _to_stdout(lambda: None)
    if ended:
        raise ended


if __name__ == "__main__":
    main("./run")
