"""No secret is shown: values planted in Vault, Redis and registry appear in nothing that the toolkit says or writes."""

from __future__ import annotations

import json
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

from prompt_keda.lab.settings import REGISTRY_HOST

from .conftest import NOT_HERE, at_the_stack_only
from .planted_stack import PlantedStack, docker_config

pytestmark = at_the_stack_only  # Vault, Redis and registry are filled, which needs their administrator
CLOSED = "https://127.0.0.1:9"


def verdicts(completed):
    return {result["id"]: result["verdict"] for result in json.loads(completed.stdout)["results"]}


def reports(planted, name):
    return "--junit", str(planted.out / f"{name}.xml"), "--svg", str(planted.out / f"{name}.svg")


@pytest.mark.parametrize("form", ["plain", "terminal", "json", "with the libraries' logs"])
def test_a_round_that_uses_all_of_them_shows_none(planted, form):
    """Each login succeeds with a planted value; the cluster's Secrets hold others, and that is told by name."""
    planted.write_environment()
    begin = ("--debug",) if form.startswith("with") else ()
    ending = ("--json",) if form == "json" else ()
    output = planted.run(
        *begin, "check-deps", "--deep", "--verbose", *reports(planted, form), *ending, on_terminal=form == "terminal"
    )
    assert output.code == 1, output.stderr
    assert planted.leaks(output.stdout, output.stderr) == []
    if form == "json":
        verdict_by_id = verdicts(output)
        assert {id_ for id_, verdict in verdict_by_id.items() if verdict != "ok"} == {
            "vault/cluster-secrets-fresh"
        } | NOT_HERE
    if begin:
        assert b"/v1/auth/approle/login" in output.stderr  # what the libraries log was there to be searched


def nothing(stack):
    return nullcontext()


def pull_secret(text):
    """Return what lets Vault hold another pull secret; ``text`` returns it for the planted password."""
    return lambda stack: stack.vault_holds("pull-secret", {".dockerconfigjson": text(stack.values["registry-1"])})


def token(text):
    return lambda stack: stack.token(text.format(stack.values["token"]))


def no_base64(password):
    return json.dumps({"auths": {REGISTRY_HOST: {"auth": password}}})


PERSON = {"vault": {"login": {"method": "token"}}}
NOWHERE = {"reach": "direct", "service": "127.0.0.1", "port": 9}
IMAGES = "images/keda-images-present"
SCENES = {
    "Redis refuses": (lambda s: s.redis_refuses("redis-1"), {}, ("redis/answers", "fail")),
    "Redis is away": (nothing, {"redis": NOWHERE}, ("redis/answers", "unknown")),
    "a password in the open": (PlantedStack.password_in_the_open, {}, ("redis/keda-may-ask", "ok")),
    "the registry refuses": (PlantedStack.registry_refuses, {}, (IMAGES, "fail")),
    "the registry is away": (nothing, {"registry": {"url": CLOSED}}, (IMAGES, "unknown")),
    "a torn pull secret": (pull_secret(lambda password: docker_config("x", password)[:-9]), {}, (IMAGES, "unknown")),
    "a pull secret without base64": (pull_secret(no_base64), {}, (IMAGES, "unknown")),
    "Vault denies": (PlantedStack.vault_denies, {}, ("vault/paths-readable", "fail")),
    "Vault is sealed": (PlantedStack.vault_sealed, {}, ("vault/unsealed", "fail")),
    "Vault is away": (nothing, {"vault": {"url": CLOSED}}, ("vault/unsealed", "unknown")),
    "another secret id": (nothing, {"secret_id": "role-id"}, ("vault/login-works", "fail")),
    "a person's token": (token("{}"), PERSON, ("vault/login-works", "ok")),
    "a token in two lines": (token("{0}\n{0}"), PERSON, ("vault/login-works", "fail")),
    "a token that no header holds": (token("{}\u20ac"), PERSON, ("vault/login-works", "fail")),
}
"""What is done to the stack, what the environment says otherwise, and the check that tells."""


TOGETHER = [
    ("Redis refuses", "the registry refuses"),
    ("Redis is away", "the registry is away"),
    ("a password in the open", "a torn pull secret"),
    ("a person's token", "a pull secret without base64"),
]
"""Neither hides the other: one round tells both. What is wrong with Vault or its login hides what comes out of it."""
ALONE = [(scene,) for scene in SCENES if not any(scene in scenes for scenes in TOGETHER)]


@pytest.mark.parametrize("scenes", [*TOGETHER, *ALONE], ids=" and ".join)
def test_what_goes_wrong_is_reported_without_the_value(planted, scenes):
    """Wrong, denied, torn or away: the check says so, on a terminal and in each report."""
    broken, changes, expected = zip(*(SCENES[scene] for scene in scenes), strict=True)
    planted.write_environment(**{key: value for change in changes for key, value in change.items()})
    with ExitStack() as undo:
        for fault in broken:
            undo.enter_context(fault(planted))
        completed = planted.run("check-deps", "--verbose", *reports(planted, scenes[0]), "--json")
        shown = planted.run("check-deps", "--verbose", on_terminal=True)
    verdict_by_id = verdicts(completed)
    assert {id_: verdict_by_id[id_] for id_, _ in expected} == dict(expected), completed.stdout
    assert planted.leaks(completed.stdout, completed.stderr, shown.stdout) == []


def test_a_wrong_secret_id_does_not_lock_the_role_out(planted):
    """Vault would, after five failed logins: a round tries it once, and the right one is let in a moment later."""
    planted.write_environment(secret_id="role-id")
    assert verdicts(planted.run("check-deps", "--json"))["vault/login-works"] == "fail"
    planted.write_environment()
    completed = planted.run("check-deps", "--only", "vault/unsealed,vault/login-works", "--json")
    assert verdicts(completed) == {"vault/unsealed": "ok", "vault/login-works": "ok"}


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_check_with_a_defect_shows_no_value(planted, form):
    """Of an unexpected error only the type is shown, though its words hold a secret."""
    planted.write_environment()
    ending = ("--json",) if form == "json" else ()
    completed = planted.run("check-deps", "--verbose", *reports(planted, "defect"), *ending, defect="unexpected")
    assert b"the check itself failed: ValueError" in completed.stdout and completed.code == 3
    assert planted.leaks(completed.stdout, completed.stderr) == []


@pytest.mark.parametrize("form", ["plain", "terminal", "json"])
def test_a_check_that_reports_a_value_is_caught(planted, form):
    """Otherwise the tests above would prove nothing: in what is said, in JUnit and in the picture."""
    planted.write_environment()
    files = reports(planted, "told")
    ending = ("--json",) if form == "json" else ()
    output = planted.run("check-deps", "--verbose", *files, *ending, on_terminal=form == "terminal", defect="told")
    leaked_to = {(place, name) for place, name, _ in planted.leaks(output.stdout)}
    for file in (files[1], files[3]):
        Path(file).unlink()  # the next test searches this folder
    places = ("output 0", files[1], files[3])
    assert leaked_to >= {(place, name) for place in places for name in ("key-1", "key-2", "redis-1", "registry-1")}
