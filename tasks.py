"""The tasks of prompt-keda: flags → toolkit → report → exit code. No logic lives here.

Only invoke is imported at module level, so that listing the tasks stays fast.
"""

from __future__ import annotations

import os
import signal
import sys


def _stop_at_once(signum, frame):
    os.write(2, b"stopped\n")
    os._exit(130)


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else somebody wants it ignored (nohup, &)
        signal.signal(signal.SIGINT, _stop_at_once)  # until a task begins there is nothing to tidy up
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # run has held it back until here

from invoke import Collection, Context, Exit, ParseError, Program, task  # noqa: E402

JSON = {"json": "print one JSON document on standard output"}
WISHES = {
    "mode": "auto, cold, repair, reinstall, upgrade or purge",
    "backlog": "where a lost consumer group begins: skip what waits or replay it; unless named, as the plan says",
    "give_up": "running Jobs that may be lost, as NAMESPACE/NAME, with commas",
}
APPROVE = {"approve": "the digest of what is approved, as plan or a refusal printed it"}
ENV = {"env": "environment: a file in environments/ without its ending, or a path"}


def _environment(env, otherwise=""):
    return env or os.environ.get("PROMPT_KEDA_ENV") or otherwise


def _finish(task_name, env, as_json, work, show=None, observer=None):
    """Do a task's work, show its result, and exit with its code; an error becomes one message and its own code.

    ``show`` shows the result as text. ``observer`` takes away its live lines before anything else is shown.
    """
    from datetime import UTC, datetime

    from prompt_keda.report import as_text, failure

    began = datetime.now(UTC)
    _stop_on_signals()
    try:
        try:
            result = work()
        finally:
            if observer:
                observer.close()
        if as_json:
            print(result.to_json(), flush=True)
        elif show:
            as_text.show_header(result.header)
            show(as_text, result)
    except BrokenPipeError:
        raise
    except BaseException as error:  # noqa: BLE001  the one place for every error, also for what nobody foresaw
        explained = failure.explain(error)
        print("\n  ".join(filter(None, explained)), file=sys.stderr)
        if as_json:
            print(failure.to_json(task_name, env, began, error, explained), flush=True)
        raise Exit(code=failure.exit_code(error)) from None
    if result.exit_code:
        raise Exit(code=result.exit_code)


def _stop_on_signals():
    def stop(signum, frame):
        raise KeyboardInterrupt(signum)

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # a terminal that is closed; nohup ignores it
        signal.signal(signal.SIGHUP, stop)


def _progress():
    from prompt_keda.report.progress import Progress

    return Progress()


def _ask():
    """Give a way to ask the person, or None without a terminal or in CI."""
    if os.environ.get("CI") == "true" or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question):
        print(question, end="", file=sys.stderr, flush=True)
        return sys.stdin.readline()

    return ask


@task(
    name="check-deps",
    help={
        **ENV,
        **JSON,
        "only": "checks whose id begins so (several with commas)",
        "skip": "checks to leave out (several with commas)",
        "timeout": "seconds for all checks together",
        "strict": "exit with 4 if there are warnings",
        "deep": "also dry runs, KEDA's own rights, and a canary pod, which is deleted again",
        "junit": "write JUnit XML to this file",
        "svg": "write the table as a picture to this file",
    },
)
def check_deps(
    c: Context, env="", only="", skip="", timeout="", strict=False, deep=False, json=False, junit="", svg=""
):
    """Look at every dependency of Prompt KEDA, read-only."""
    from prompt_keda.commands import toolkit

    name = _environment(env, "local")

    def work():
        for flag, path in (("--junit", junit), ("--svg", svg)):
            _may_append(flag, path)  # seen now, not after the round, that it can be written
        chosen = {"only": only, "skip": skip, "deep": deep}
        result = toolkit.check_deps(name, _live, **chosen, timeout_s=_seconds(timeout), strict=strict)
        _write("--junit", junit, lambda: _report("as_junit").to_xml(result.checks))
        _write("--svg", svg, lambda: _report("as_svg").to_svg(result.checks))
        return result

    _finish("check-deps", name, json, work, lambda text, result: text.show_checks(result.checks))


def _whole(flag, text):
    """Give a whole number, or 0 for nothing."""
    from prompt_keda.core.errors import Refusal

    try:
        return int(text or 0)
    except ValueError:
        raise Refusal(f"{flag} {text} is no whole number") from None


def _seconds(text):
    """Give a number of seconds, or None for nothing."""
    from prompt_keda.core.errors import Refusal

    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = 0.0
    if seconds is not None and not 0 < seconds < 1e6:
        raise Refusal(f"--timeout {text} is no number of seconds above 0")
    return seconds


def _report(name):
    from importlib import import_module

    return import_module(f"prompt_keda.report.{name}")


def _may_append(flag, path):
    """Refuse a file that cannot be written, before anything is done; what stands in it stays."""
    _into(flag, path, lambda file: file.open("a").close())


def _write(flag, path, text):
    """Write what ``text`` gives into the file that a flag names; nothing where it names none."""
    _into(flag, path, lambda file: file.write_text(text()))


def _into(flag, path, act):
    from pathlib import Path

    from prompt_keda.core.errors import Refusal

    if not path:
        return
    try:
        act(Path(path))
    except OSError as error:
        raise Refusal(f"{flag} {path} cannot be written: {error.strerror}") from error


def _live(ids):
    from prompt_keda.report.live_checks import LiveChecks

    return LiveChecks(ids)


@task(help={**ENV, **JSON, **WISHES})
def plan(c: Context, env="", mode="auto", backlog="", give_up="", json=False):
    """Say what redeploy would do; reads, never writes."""
    from prompt_keda.commands import redeploy as redeploying
    from prompt_keda.redeploy.modes import Wishes

    name = _environment(env)
    _finish(
        "plan",
        name,
        json,
        lambda: redeploying.plan(name, Wishes.parse(mode, backlog, give_up)),
        lambda text, result: text.show_plan(result.parts["plan"]),
    )


@task(help={**ENV, **JSON})
def prepare(c: Context, env="", json=False):
    """Fetch what a redeploy needs, so that an incident needs no internet."""
    from prompt_keda.commands import toolkit

    name = _environment(env)
    _finish(
        "prepare",
        name,
        json,
        lambda: toolkit.prepare(name),
        lambda text, result: text.show_prepared(result.parts["prepared"]),
    )


@task(help={**ENV, **JSON, **APPROVE, **WISHES})
def redeploy(c: Context, env="", mode="auto", approve="", backlog="", give_up="", json=False):
    """Redeploy KEDA, and prove that scaling resumes; no running Job is touched."""
    from prompt_keda.commands import redeploy as redeploying
    from prompt_keda.commands import toolkit
    from prompt_keda.redeploy.modes import Wishes

    name = _environment(env)
    observer = _progress()

    def work():
        wishes = Wishes.parse(mode, backlog, give_up)
        if toolkit.is_local(name):
            from prompt_keda.lab import stack

            stack.ensure_up(observer)
        return redeploying.redeploy(name, wishes, approve, observer, _ask())

    _finish("redeploy", name, json, work, _show_run, observer)


@task(help={**ENV, **JSON, **APPROVE, "run": "id of the run; the newest unfinished one unless named"})
def resume(c: Context, env="", run="", approve="", json=False):
    """Go on where an interrupted redeploy stopped, here or on another machine."""
    from prompt_keda.commands import redeploy as redeploying

    name = _environment(env, "local")
    observer = _progress()
    _finish("resume", name, json, lambda: redeploying.resume(name, run, approve, observer, _ask()), _show_run, observer)


@task(help={**ENV, **JSON, "html": "write the recovery times, and the drills, as a page to this file"})
def history(c: Context, env="", html="", json=False):
    """Tell runs and drills of this machine and, of one environment, the runs of its cluster: how they ended, what they took."""
    from prompt_keda.commands import toolkit

    name = _environment(env)

    def work():
        result = toolkit.history(name)
        runs, drills = result.parts["runs"], result.parts["drills"]
        _write("--html", html, lambda: _report("history_page").to_html(result.environment, runs, drills))
        return result

    def show(text, result):
        text.show_history(result.parts)
        _report("drills_as_text").show_kept(result.parts["drills"])

    _finish("history", name, json, work, show)


@task(help=JSON)
def runbooks(c: Context, json=False):
    """List the runbooks, each with its symptom and what it runs."""
    from prompt_keda.commands import response

    _finish(
        "runbooks",
        "",
        json,
        response.list_runbooks,
        lambda text, result: _report("runbooks_as_text").show_runbooks(result.parts),
    )


@task(
    positional=["name"],
    help={
        "name": "the runbook, as runbooks lists it",
        **ENV,
        **JSON,
        **APPROVE,
        "from": "id of the step to begin with, such as mitigation/1",
        "plan": "only say what it would run, and the digest that approves it",
    },
)
def runbook(c: Context, name, env="", from_="", plan=False, approve="", json=False):
    """Run a runbook: diagnosis, mitigation, proof; kept in the incident's record."""
    from prompt_keda.commands import response

    where = _environment(env)
    if plan:
        _finish("runbook", where, json, lambda: response.plan_runbook(name, where), _show_runbook_plan)
        return
    observer = _progress()
    _finish(
        "runbook",
        where,
        json,
        lambda: response.run(name, where, from_, approve, observer, _ask()),
        lambda text, result: _report("runbooks_as_text").show_run(result.parts),
        observer,
    )


def _show_runbook_plan(text, result):
    _report("runbooks_as_text").show_plan(result.parts)


@task(help={**ENV, **JSON})
def status(c: Context, env="", json=False):
    """Say what stands now: KEDA's parts, ScaledJobs, streams, Jobs, the last runs, the open incident."""
    from prompt_keda.commands import response

    name = _environment(env)

    def show(text, result):
        _report("status_as_text").show_status(result.parts)

    _finish("status", name, json, lambda: response.status(name), show)


@task(help={**ENV, **JSON})
def respond(c: Context, env="", json=False):
    """From symptoms to the runbook that fits: look, rank the causes, and run what is wanted."""
    from prompt_keda.commands import response

    name = _environment(env)
    observer = _progress()
    _finish(
        "respond",
        name,
        json,
        lambda: response.respond(name, _live, observer, _ask()),
        lambda text, result: _report("runbooks_as_text").show_response(result.parts, result.checks),
        observer,
    )


@task(help={**ENV, **JSON, "file": "the archive to write; without it only what it would hold is told"})
def bundle(c: Context, env="", file="", json=False):
    """Collect what an expert asks for into one archive, without secrets: objects, events, logs, versions."""
    from prompt_keda.commands import response

    name = _environment(env)
    observer = _progress()

    def show(text, result):
        parts = result.parts
        where = (
            f"{parts['file']}, {parts['size_bytes']} bytes" if parts["file"] else "nothing is written: name a --file"
        )
        text.show_lines([f"{len(parts['files'])} files, {parts['redacted_count']} places redacted; {where}"])

    _finish("bundle", name, json, lambda: response.bundle(name, file, observer), show, observer)


@task(positional=["text"], help={"text": "what people have seen or done", **ENV, **JSON})
def note(c: Context, text, env="", json=False):
    """Add a note to the open incident's record."""
    from prompt_keda.commands import response

    name = _environment(env)
    observer = _progress()
    _finish(
        "note",
        name,
        json,
        lambda: response.note(text, name, observer),
        lambda shown, result: shown.show_lines([f"{result.parts['at']}  {result.parts['note']}"]),
        observer,
    )


@task(
    help={
        **ENV,
        **JSON,
        "incident": "its id; the newest of the environment unless named",
        "html": "write the page to this file",
        "markdown": "write the same as Markdown to this file",
    }
)
def report(c: Context, env="", incident="", html="", markdown="", json=False):
    """Tell an incident: what was seen and run, what it took, and what is still open."""
    from prompt_keda.commands import response

    name = _environment(env)

    def work():
        result = response.report(name, incident)
        _write("--html", html, lambda: result.parts["html"])
        _write("--markdown", markdown, lambda: result.parts["markdown"])
        return result

    _finish("report", name, json, work, lambda text, result: text.show_lines(result.parts["chat"].splitlines()))


@task(help={**ENV, **JSON, **APPROVE})
def enrol(c: Context, env="", approve="", json=False):
    """Record the new identity of a cluster that was rebuilt; until then every write is refused."""
    from prompt_keda.commands import toolkit

    name = _environment(env)
    observer = _progress()
    _finish("enrol", name, json, lambda: toolkit.enrol(name, approve, observer, _ask()), _show_enrolled, observer)


def _show_enrolled(text, result):
    parts = result.parts
    said = "has the new identity" if parts["written"] else "has this identity already: nothing to do"
    text.show_lines([f"{parts['file']} {said}"])


@task(
    help={
        **ENV,
        **JSON,
        **APPROVE,
        "events": "how many Jobs to ask for, 1 to 100",
        "full": "also the acceptance suite: what KEDA promises, each case on a ScaledJob and stream of its own",
        "only": "with --full: cases whose id begins so (several with commas)",
    }
)
def smoke(c: Context, env="", events="", full=False, only="", approve="", json=False):
    """Prove that events become Jobs, on a stream and ScaledJob of its own."""
    from prompt_keda.commands import smoke as proving
    from prompt_keda.core.errors import Refusal

    name = _environment(env)
    observer = _progress()

    def work():
        if full and events:
            raise Refusal("--events is not for --full", "Its cases say themselves how many events they send.")
        if only and not full:
            raise Refusal("--only is for --full alone")
        if full:
            return proving.run_full_smoke(name, only, approve, observer, _ask())
        return proving.run_smoke(name, _whole("--events", events), approve, observer, _ask())

    _finish("smoke", name, json, work, _show_smoke, observer)


def _show_smoke(text, result):
    text.show_smoke(result.parts["smoke"])
    if "cases" in result.parts:
        text.show_cases(result.parts["cases"])


def _show_run(text, result):
    """Show what a redeploy proved."""
    parts = result.parts
    text.show_smoke(parts["smoke"])
    kept = len(parts["ledger"]["before"])
    text.show_lines(
        [
            *parts["notes"],
            _spans(parts["timings"]),
            f"{kept} Jobs and pods ran at the start; all live on or ended by themselves",
            f"recovery time {parts['timings']['recovery']:.1f} s (mode {parts['mode']}, run {parts['run']})",
        ]
    )


def _spans(timings):
    """Say how long the parts took that goals are set for."""
    removal = f"removal {timings['removal']:.1f} s, " if "removal" in timings else ""
    return f"{removal}first scaled Job {timings['first_scaled_job']:.1f} s after the first write of the install"


@task(name="up", help={"no-redis-password": "Prompt Redis without a password, as in production", **JSON})
def lab_up(c: Context, no_redis_password=False, json=False):
    """Bring up the local stack: a real one-node Kubernetes and all that Prompt KEDA depends on."""
    from prompt_keda.lab import stack

    observer = _progress()

    def work():
        return _lab("lab.up", stack.up(observer, redis_password=not no_redis_password))

    _finish("lab.up", "local", json, work, _show_lab, observer)


@task(name="down", help=JSON)
def lab_down(c: Context, json=False):
    """Stop the local stack and remove all of it."""
    from prompt_keda.lab import stack, state

    observer = _progress()

    def work():
        stack.down(observer)
        return _lab("lab.down", state.status())

    _finish("lab.down", "local", json, work, observer=observer)


@task(name="status", help=JSON)
def lab_status(c: Context, json=False):
    """Tell where the local stack is and what it uses."""
    from prompt_keda.lab import state

    _finish("lab.status", "local", json, lambda: _lab("lab.status", state.status()), _show_lab)


def _lab(task_name, status):
    from prompt_keda.report.result import Result

    header = f"local stack {status['name']} ({status['provider']}): {status['state']}"
    return Result(task_name, "local", header=header, parts=status)


def _show_lab(text, result):
    _lab_text().show_lab(result.parts)


def _lab_text():
    from prompt_keda.lab import as_text

    return as_text


@task(name="exec")
def lab_exec(c: Context):
    """Run a command inside the local stack: lab.exec -- COMMAND ARGUMENTS…"""
    from prompt_keda.lab import stack

    _run_inside(c, stack.exec_, "./run lab.exec -- kubectl get pods -A")


@task(name="desk")
def lab_desk(c: Context):
    """Run a command where production's operators would sit, not root: lab.desk -- COMMAND ARGUMENTS…"""
    from prompt_keda.lab import desk

    _run_inside(c, desk.exec_, "./run lab.desk -- ./run check-deps --env prodlike")


def _run_inside(c, run, example):
    import shlex

    # invoke joins what follows "--" with blanks; the command line itself still has the words apart.
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else shlex.split(c.config.get("remainder", ""))
    if not words:
        print(f"refused: nothing to run: {example}", file=sys.stderr)
        raise Exit(code=2)
    _finish_with_code("lab", lambda: run(words))


def _finish_with_code(task_name, work, observer=None):
    """Do what gives an exit code and no result of its own."""
    from prompt_keda.report.result import Result

    _finish(task_name, "local", False, lambda: Result(task_name, "local", exit_code=work()), observer=observer)


@task(help={"mend": "take back all that are there, also those that a killed drill has left", **JSON})
def faults(c: Context, mend=False, json=False):
    """List what can break on the local stack, what sees it and what answers it."""
    from prompt_keda.lab import breaking

    observer = _progress()
    _fault("faults", json, lambda: breaking.take_back_all(observer) if mend else breaking.list_faults(), observer)


@task(positional=["id"], help={"id": "the fault, as faults lists it", "mend": "take it back", **JSON})
def fault(c: Context, id, mend=False, json=False):
    """Break the local stack by one fault, and leave it so: to look at it, or to practise."""
    from prompt_keda.lab import breaking

    observer = _progress()
    _fault("fault", json, lambda: (breaking.take_back if mend else breaking.bring_in)(id, observer), observer)


def _fault(task_name, json, work, observer):
    def show(text, result):
        _lab_text().show_faults(result.parts["faults"])

    _finish(task_name, "local", json, work, show, observer)


@task(
    help={
        "fault": "id of the fault, or the start of several",
        "all": "every fault, one after the other: some hours",
        "rest": "go on with the newest drills that were stopped: those that they had not come to",
        "rounds": "a storm instead: so many redeploys, each with much that goes wrong at random",
        "seed": "one fault that this number picks; of a storm its seed, 1 unless named: the same gives the same rounds",
        "only": "of the storm, the round of this number alone",
        "sequence": "of the storm, the one round that this file describes, as a failing one is printed",
        "markdown": "write the table of what was drilled to this file, after each drill or round",
        **JSON,
    }
)
def drill(
    c: Context,
    fault="",
    all=False,
    rest=False,
    rounds="",
    seed="",
    only="",
    sequence="",
    markdown="",
    json=False,
):
    """Break the local stack, follow the runbook, prove scaling, and see that nothing was lost."""
    from prompt_keda.core.errors import LabError, Refusal

    observer = _progress()

    def write(page):
        try:
            _write("--markdown", markdown, lambda: page)
        except Refusal as error:  # by now things were broken, and mended: nothing was refused
            raise LabError(error.what, error.fix) from error

    def work():
        _may_append("--markdown", markdown)
        if rounds or only or sequence:
            from prompt_keda.lab import storming

            if fault or all or rest:
                raise Refusal(
                    "--fault, --all and --rest are not for a storm", "A storm takes --rounds, --seed and --only."
                )

            numbers = (
                _whole("--rounds", rounds),
                _whole("--seed", seed or "1"),
                _whole("--only", only) if only else None,
            )
            return storming.run(*numbers, sequence, write, observer)
        from prompt_keda.lab import drilling

        wanted = drilling.Wanted(fault, all, _whole("--seed", seed) if seed else None, rest)
        return drilling.run(wanted, write, observer)

    def show(text, result):
        report = _lab_text()
        if "rounds" in result.parts:
            report.show_storm(result.parts["rounds"])
        else:
            report.show_drills(result.parts["drills"])

    _finish("drill", "local", json, work, show, observer)


@task(help={"exhaustive": "also what takes longer", "junit": "write JUnit XML to this file"})
def test(c: Context, exhaustive=False, junit=""):
    """Run the project's own tests; brings up the local stack."""
    from prompt_keda.lab import testing

    _finish_with_code("test", lambda: testing.run(exhaustive, junit))


@task(
    help={
        "rounds": "how often each is run, 5 unless named",
        "of": "check-deps (unless named), recovery or burst",
        **JSON,
    }
)
def bench(c: Context, rounds="", of="check-deps", json=False):
    """Measure check-deps, a redeploy, or a burst of events, beside what people use or what is predicted."""
    from prompt_keda.core.errors import Refusal
    from prompt_keda.lab import bench as benches
    from prompt_keda.report.result import Result

    observer = _progress()

    def work():
        if of not in benches.BENCHMARKS:
            raise Refusal(f"--of {of} cannot be measured", f"Known are {', '.join(benches.BENCHMARKS)}.")
        timings = benches.BENCHMARKS[of](_whole("--rounds", rounds) or 5, observer)
        return Result("bench", "local", parts={"timings": [one.__dict__ for one in timings]})

    def show(text, result):
        report = _lab_text()
        shown = {"check-deps": report.show_bench, "recovery": report.show_recovery, "burst": report.show_bursts}
        shown[of](result.parts["timings"])

    _finish("bench", "local", json, work, show, observer)


namespace = Collection(
    check_deps,
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
    smoke,
    faults,
    fault,
    drill,
    test,
    bench,
)
lab = Collection("lab")
for one in (lab_up, lab_down, lab_status, lab_exec, lab_desk):
    lab.add_task(one)
namespace.add_collection(lab)


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
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=3) from None
        except KeyboardInterrupt:
            raise Exit("\nstopped", code=130) from None
        finally:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # all is said: what Python still clears away may be cut off

    def _parse(self, read):
        try:
            read()
        except (ParseError, ValueError) as error:
            raise Exit(
                f"refused: {error}\n  ./run --list names the tasks, ./run TASK --help its flags.", code=2
            ) from None


if __name__ == "__main__":
    Commands(name="prompt-keda", binary="./run", namespace=namespace).run()
