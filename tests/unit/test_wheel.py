"""The wheel is whole: installed where there is no clone, it lists and runs the same tasks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .test_house_rules import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which the wheel of this clone was installed, without its dependencies: those of the tests do."""
    folder = tmp_path_factory.mktemp("wheel")
    names = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(names, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(lambda name: name and (ROOT / name).is_file(), files):
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    done = subprocess.run(
        [*pip, "install", *offline, "--target", "installed", "./source"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "installed"


def run(installed, *arguments, cwd):
    """Run the program that the wheel brings, as far as possible from the clone."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PROMPT_KEDA")}
    argv = [sys.executable, installed / "bin" / "prompt-keda", *arguments]
    env = {**kept, "PYTHONPATH": str(installed), "XDG_STATE_HOME": str(cwd / "state")}
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_it_holds_all_that_a_clone_holds(installed):
    """Each file of the package, and tasks.py, environments/ and runbooks/; nothing else."""
    wanted = {
        path.relative_to(ROOT)
        if top == "prompt_keda"
        else (ROOT / "prompt_keda/shipped" / path.relative_to(ROOT)).relative_to(ROOT)
        for top in ("prompt_keda", "environments", "runbooks")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    package = installed / "prompt_keda"
    there = {path.relative_to(installed) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {str(path) for path in there} == {str(path) for path in wanted} | {"prompt_keda/shipped/tasks.py"}


def test_it_lists_the_tasks_and_their_flags(installed, tmp_path):
    """The same as `./run`, under its own name."""
    listed = run(installed, "--list", cwd=tmp_path)
    assert listed.returncode == 0 and "check-deps" in listed.stdout and "lab.up" in listed.stdout
    explained = run(installed, "check-deps", "--env", "local", "--help", cwd=tmp_path)
    assert explained.returncode == 0 and explained.stdout.startswith("Usage: prompt-keda")
    assert run(installed, "nosuchtask", cwd=tmp_path).stderr.endswith("prompt-keda TASK --help its flags.\n")


def test_it_reads_the_environments_and_runbooks_that_it_brings(installed, tmp_path):
    """Neither stands in the current folder."""
    refused = run(installed, "plan", "--env", "prod", cwd=tmp_path)
    assert refused.returncode == 2 and "the environment does not say keda.manifests.source" in refused.stderr
    runbooks = run(installed, "runbooks", cwd=tmp_path)
    assert runbooks.returncode == 0 and "keda-gone" in runbooks.stdout


def test_an_environment_of_the_current_folder_counts_first(installed, tmp_path):
    """Whoever has a wheel writes an own environments/prod.yaml, and edits none that the wheel brought."""
    own = tmp_path / "environments"
    own.mkdir()
    (own / "prod.yaml").write_text("name: mine\n")
    refused = run(installed, "plan", "--env", "prod", cwd=tmp_path)
    assert refused.returncode == 2 and "environments/prod.yaml:1:1: approval: this key is missing" in refused.stderr


def test_a_command_that_a_runbook_starts_is_one_of_the_wheel(installed, tmp_path):
    """Not of a clone that happens to be there."""
    code = (
        "from prompt_keda.runbooks.commands import run_command; print(run_command(['plan', '--env', 'prod']).message)"
    )
    env = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "the environment does not say keda.manifests.source" in done.stdout, done.stderr
