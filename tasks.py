"""The tasks of prompt-keda: flags → toolkit → report → exit code. No logic lives here.

Only invoke is imported at module level, so that listing the tasks stays fast.
"""

from __future__ import annotations

import sys

from invoke import Collection, Context, Exit, task

JSON = {"json": "print one JSON document on standard output"}
ENV = {"env": "environment: a file in environments/ without its ending, or a path"}


def _environment(env, otherwise=""):
    import os

    name = env or os.environ.get("PROMPT_KEDA_ENV") or otherwise
    if not name:
        print("refused: say which environment: --env NAME (see environments/)", file=sys.stderr)
        raise Exit(code=2)
    return name


def _guarded(work, observer=None):
    """Run a task's work; an error becomes one clear message and its exit code. ``observer`` takes away its live lines."""
    import signal

    from prompt_keda.errors import Interrupted, PromptKedaError
    from prompt_keda.report.untrusted import neutral

    def stop(signum, frame):
        raise KeyboardInterrupt

    def closed():
        try:
            return work()
        finally:
            if observer:
                observer.close()

    signal.signal(signal.SIGTERM, stop)
    try:
        return closed()
    except Interrupted as error:
        print(f"\n{error.what}. {error.fix}", file=sys.stderr)
        raise Exit(code=130) from None
    except PromptKedaError as error:
        word = "refused" if error.exit_code == 2 else "failed"
        print(neutral(f"{word}: {error.what}"), file=sys.stderr)
        if error.fix:
            print(neutral(f"  {error.fix}"), file=sys.stderr)
        raise Exit(code=error.exit_code) from None
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        raise Exit(code=130) from None
    except Exception as error:  # noqa: BLE001  the one place for what nobody foresaw
        from prompt_keda.report.unforeseen import write_report

        print(
            f"failed: {type(error).__name__}, which nobody foresaw. Please send {write_report(error)}", file=sys.stderr
        )
        raise Exit(code=3) from None


def _show(result, as_json, show):
    from prompt_keda.report import as_text

    if as_json:
        print(result.to_json())
    else:
        as_text.show_header(result.header)
        show(as_text)
    if result.exit_code:
        raise Exit(code=result.exit_code)


def _progress():
    from prompt_keda.report.progress import Progress

    return Progress()


def _ask():
    """Give a way to ask the person, or None without a terminal or in CI."""
    import os

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
        "junit": "write JUnit XML to this file",
    },
)
def check_deps(c: Context, env="", only="", skip="", timeout="", strict=False, json=False, junit=""):
    """Look at every dependency of Prompt KEDA, read-only."""
    from prompt_keda import toolkit

    name = _environment(env, "local")
    seconds = _guarded(lambda: _seconds(timeout))
    result = _guarded(
        lambda: toolkit.check_deps(name, _quiet(), only=only, skip=skip, timeout_s=seconds, strict=strict)
    )
    if junit:
        _guarded(lambda: _write_junit(junit, result.checks))
    _show(result, json, lambda text: text.show_checks(result.checks))


def _seconds(text):
    """Give a number of seconds, or None for nothing."""
    from prompt_keda.errors import Refusal

    try:
        seconds = float(text) if text else None
    except ValueError:
        seconds = 0.0
    if seconds is not None and not 0 < seconds < 1e6:
        raise Refusal(f"--timeout {text} is no number of seconds above 0")
    return seconds


def _write_junit(path, results):
    from pathlib import Path

    from prompt_keda.errors import Refusal
    from prompt_keda.report import as_junit

    try:
        Path(path).write_text(as_junit.to_xml(results))
    except OSError as error:
        raise Refusal(f"--junit {path} cannot be written: {error.strerror}") from error


def _quiet():
    from prompt_keda.model.event import nobody

    return nobody


@task(help={**ENV, **JSON, "mode": "auto, cold or reinstall"})
def plan(c: Context, env="", mode="auto", json=False):
    """Say what redeploy would do; reads, never writes."""
    from prompt_keda import toolkit

    name = _environment(env)
    result = _guarded(lambda: toolkit.plan(name, mode))
    _show(result, json, lambda text: text.show_plan(result.parts["plan"]))


@task(help={**ENV, **JSON})
def prepare(c: Context, env="", json=False):
    """Fetch what a redeploy needs, so that an incident needs no internet."""
    from prompt_keda import toolkit

    name = _environment(env)
    result = _guarded(lambda: toolkit.prepare(name))
    _show(result, json, lambda text: text.show_prepared(result.parts["prepared"]))


@task(help={**ENV, **JSON, "mode": "auto, cold or reinstall", "approve": "the digest that plan printed"})
def redeploy(c: Context, env="", mode="auto", approve="", json=False):
    """Redeploy KEDA, and prove that scaling resumes; no running Job is touched."""
    from prompt_keda import toolkit

    name = _environment(env)
    observer = _progress()
    if name == "local":
        _guarded(lambda: _bring_up(observer), observer)
    result = _guarded(lambda: toolkit.redeploy(name, mode, approve, observer, _ask()), observer)
    _show(result, json, lambda text: _show_run(text, result))


@task(help={**ENV, **JSON, "run": "id of the run; the newest unfinished one unless named"})
def resume(c: Context, env="", run="", json=False):
    """Go on where an interrupted redeploy stopped."""
    from prompt_keda import toolkit

    env = _environment(env, "local")
    observer = _progress()
    result = _guarded(lambda: toolkit.resume(env, run, observer), observer)
    _show(result, json, lambda text: _show_run(text, result))


@task(help={**ENV, **JSON, "events": "how many Jobs to ask for, 1 to 100"})
def smoke(c: Context, env="", events=0, json=False):
    """Prove that events become Jobs, on a stream and ScaledJob of its own."""
    from prompt_keda import toolkit

    name = _environment(env)
    observer = _progress()
    result = _guarded(lambda: toolkit.run_smoke(name, int(events), observer), observer)
    _show(result, json, lambda text: text.show_smoke(result.parts["smoke"]))


def _show_run(text, result):
    parts = result.parts
    text.show_smoke(parts["smoke"])
    kept = len(parts["ledger"]["before"])
    text.show_lines(
        [
            f"{kept} Jobs and pods ran at the start; all live on or ended by themselves",
            f"recovery time {parts['timings']['recovery']:.1f} s (mode {parts['mode']}, run {parts['run']})",
        ]
    )


def _bring_up(observer, redis_password=True):
    from prompt_keda.lab import stack

    return stack.up(observer, redis_password=redis_password)


@task(name="up", help={"no-redis-password": "Prompt Redis without a password, as in production", **JSON})
def lab_up(c: Context, no_redis_password=False, json=False):
    """Bring up the local stack: a real one-node Kubernetes and all that Prompt KEDA depends on."""
    observer = _progress()
    status = _guarded(lambda: _bring_up(observer, not no_redis_password), observer)
    _show_status(status, json)


@task(name="down")
def lab_down(c: Context):
    """Stop the local stack and remove all of it."""
    from prompt_keda.lab import stack

    observer = _progress()
    _guarded(lambda: stack.down(observer), observer)


@task(name="status", help=JSON)
def lab_status(c: Context, json=False):
    """Tell where the local stack is and what it uses."""
    from prompt_keda.lab import state

    _show_status(_guarded(state.status), json)


def _show_status(status, as_json):
    if as_json:
        from prompt_keda.report.as_json import to_text

        print(to_text({"task": "lab.status", "environment": "local", "exit_code": 0, **status}))
        return
    from prompt_keda.report import as_text

    used = f"{status['memory_bytes'] / 2**20:.0f} MiB, {status['cpu_s']:.0f} CPU seconds since its start"
    running = [name for name, pid in status["processes"].items() if pid]
    as_text.show_lines(
        [
            f"local stack {status['name']} ({status['provider']}): {status['state']}",
            f"  kubeconfig {status['kubeconfig']}",
            f"  {len(running)} processes: {', '.join(running)}",
            f"  {used}",
        ]
    )


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
    code = _guarded(lambda: run(words))
    if code:
        raise Exit(code=code)


@task(help={"exhaustive": "also what takes longer", "junit": "write JUnit XML to this file"})
def test(c: Context, exhaustive=False, junit=""):
    """Run the project's own tests; brings up the local stack."""
    from prompt_keda import testing

    code = _guarded(lambda: testing.run(exhaustive, junit))
    if code:
        raise Exit(code=code)


namespace = Collection(check_deps, plan, prepare, redeploy, resume, smoke, test)
lab = Collection("lab")
for one in (lab_up, lab_down, lab_status, lab_exec, lab_desk):
    lab.add_task(one)
namespace.add_collection(lab)
