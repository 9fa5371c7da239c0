"""While people observe, a redeploy and a drill are asked for once more; without a terminal they are refused."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from prompt_keda.commands import redeploy as redeploying
from prompt_keda.core.errors import EnvironmentFileError, Refusal
from prompt_keda.core.event import nobody
from prompt_keda.environment.loading import load_environment
from prompt_keda.environment.model import Incidents, Observing, Webhook
from prompt_keda.lab import chaos, drilling
from prompt_keda.redeploy.modes import RedeployOptions
from prompt_keda.redeploy.observing import AGREED, agree_while_observing, why_observing
from tests.chat_server import chat
from tests.contracts.conftest import authority  # noqa: F401  a fixture
from tests.unit.commands.test_refusals import change, runs_here, world  # noqa: F401  a fixture
from tests.unit.environment.test_environment_file import changed

ALWAYS = Observing(command=["true"])


@pytest.fixture(autouse=True)
def nobody_has_agreed(monkeypatch):
    monkeypatch.setenv(AGREED, "")


def observes(**settings):
    return SimpleNamespace(name="prod", observing=Observing(**settings))


HOURS = {
    ("22:00-10:00", "22:00"): True,
    ("22:00-10:00", "09:59"): True,
    ("22:00-10:00", "10:00"): False,
    ("22:00-10:00", "21:59"): False,
    ("01:30-02:00", "01:45"): True,
    ("01:30-02:00", "02:00"): False,
}


@pytest.mark.parametrize(("hours", "time"), HOURS, ids=" at ".join)
def test_hours_are_utc_and_may_go_over_midnight(hours, time):
    """From the first minute to the last but one."""
    now = datetime.combine(datetime(2026, 1, 1), datetime.strptime(time, "%H:%M").time(), UTC)
    why = why_observing(observes(hours=["12:00-12:01", hours]), now)
    assert bool(why) is HOURS[hours, time] and (not why or hours in why)


ANSWERS = {
    "yes": (["true"], "true says so"),
    "no": (["false"], ""),
    "another code": (["sh", "-c", "exit 7"], "sh gave 7, which is taken for yes"),
    "killed": (["sh", "-c", "kill -9 $$"], "sh gave -9, which is taken for yes"),
    "too late": (["sleep", "30"], "sleep did not answer within 0.3 s, which is taken for yes"),
    "not there": (["/nowhere/asks"], "/nowhere/asks cannot be run (No such file or directory), which is taken for yes"),
    "its words count for nothing": (["sh", "-c", "echo yes; exit 1"], ""),
    "no shell reads its arguments": (["test", "a", "=", "a; exit 1"], ""),
}


@pytest.mark.parametrize(("command", "why"), ANSWERS.values(), ids=ANSWERS)
def test_a_command_answers_and_what_is_not_known_is_yes(command, why):
    """A real program each time."""
    assert (
        why_observing(observes(command=command, deadline=timedelta(milliseconds=300 if "0.3" in why else 20_000)))
        == why
    )


def test_who_observes_nowhere_is_never_asked():
    """An environment without the key."""
    agree_while_observing(SimpleNamespace(name="dev", observing=None), "redeploy", False, None)
    assert os.environ[AGREED] == ""


def test_without_a_terminal_it_is_refused_and_the_flag_named():
    """And with the flag, what this command runs is not asked again."""
    environment = observes(command=["true"])
    with pytest.raises(Refusal, match="prod is observing: true says so") as caught:
        agree_while_observing(environment, "drill", False, None)
    assert "--while-observing" in caught.value.fix
    agree_while_observing(environment, "drill", True, None)
    agree_while_observing(environment, "redeploy", False, None)


def test_on_a_terminal_yes_is_wanted_in_full():
    """Anything else refuses."""
    environment, asked = observes(command=["true"]), []
    for answer in ("y", "", "prod", "no"):
        with pytest.raises(Refusal, match="not while observing"):
            agree_while_observing(environment, "redeploy", False, lambda question, answer=answer: f"{answer}\n")
    agree_while_observing(environment, "redeploy", False, lambda question: asked.append(question) or "yes\n")
    assert asked == ["Observing: true says so. Run the redeploy all the same? yes/no: "]


WRONG = {
    "hours: 22:00-10:00": "a list is expected",
    "hours: [22-10]": "hours such as 22:00-10:00 are expected",
    "hours: ['24:00-10:00']": "hours such as 22:00-10:00 are expected",
    "hours: ['10:00-10:00']": "begin and end at different times",
    "command: []": "either hours or a command",
    "{hours: ['22:00-10:00'], command: [x]}": "either hours or a command",
    "command: [./asks]": "absolute path",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path, text):
    """In the environment's file."""
    with pytest.raises(EnvironmentFileError, match=WRONG[text]) as caught:
        load_environment(changed(tmp_path, "  hours: [21:00-12:00]", f"  {text}"), None)
    assert "observing" in caught.value.what


def redeploy(world, **options):  # noqa: F811
    return redeploying.redeploy(world.session, RedeployOptions(), "", nobody, options.pop("ask", None), **options)


def test_a_redeploy_is_refused_before_any_write(world):  # noqa: F811
    """And begins with the flag, or a yes."""
    change(world, observing=ALWAYS)
    with pytest.raises(Refusal, match="is observing"):
        redeploy(world)
    with pytest.raises(Refusal, match="not while observing"):
        redeploy(world, ask=lambda question: "no\n")
    assert runs_here() == []
    with pytest.raises(pytest.fail.Exception, match="was called"):
        redeploy(world, while_observing=True)
    assert len(runs_here()) == 1


def test_the_plan_says_it(world, monkeypatch):  # noqa: F811
    """A note, where people observe."""
    monkeypatch.setattr(redeploying, "_seen_now", lambda *step: "")
    assert not any("observing" in note for note in redeploying.plan(world.session, RedeployOptions()).parts.notes)
    change(world, observing=ALWAYS)
    notes = redeploying.plan(world.session, RedeployOptions()).parts.notes
    assert [note for note in notes if "true says so" in note and "--while-observing" in note]


@pytest.mark.parametrize("begin", ["drill", "chaos"])
def test_a_drill_is_refused_before_it_breaks_anything(monkeypatch, begin):
    """One fault, or a chaos run."""
    stage = SimpleNamespace(environment=observes(command=["true"]))

    class Alone:
        def __enter__(self):
            return stage

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(drilling, "alone", Alone)
    with pytest.raises(Refusal, match="is observing"):
        if begin == "drill":
            drilling.run(drilling.Selection("keda/paused"), lambda page: None, nobody)
        else:
            chaos.run(1, 1, None, "", lambda page: None, nobody)


def named(world, authority, server):  # noqa: F811
    """Let the environment name this chat."""
    place = "rubin/prompt-keda-local/chat"
    change(
        world, incidents=Incidents(webhook=Webhook(address={"path": place, "key": "url"}, ca_file=authority.ca_file))
    )
    world.vault.contents[place] = {"url": server.address.reveal()}
    world.vault.allowed.add(place)
    world.vault.versions[place] = 1
    world.systems._made["vault"] = world.vault


def refuse(*arguments):
    raise Refusal("another redeploy is under way")


ENDS = {
    "stopped": (lambda *a: pytest.fail("was called"), "has ended; how is not known"),
    "refused": (refuse, "refused, nothing is changed"),
}


@pytest.mark.parametrize(("end", "message"), ENDS.values(), ids=ENDS)
def test_a_chat_is_reported_before_and_after(world, authority, monkeypatch, end, message):  # noqa: F811
    """In this order, however it ends; what became of each post is noted."""
    monkeypatch.setattr(redeploying, "run_plan", end)
    events = []
    with chat(authority) as server:
        named(world, authority, server)
        with pytest.raises((Refusal, pytest.fail.Exception)):
            redeploying.redeploy(world.session, RedeployOptions(), "", events.append, None)
    texts = [str(document) for _, _, document in server.posts]
    assert len(texts) == 2 and "begins, by" in texts[0] and message in texts[1]
    notes = [event.detail for event in events if event.subject == "chat"]
    assert len(notes) == 2 and all(note.startswith("posted to the chat at 127.0.0.1") for note in notes)


def test_a_chat_that_does_not_take_it_stops_nothing(world, authority, monkeypatch):  # noqa: F811
    """It is noted, without the address."""
    monkeypatch.setattr(redeploying, "run_plan", refuse)
    events = []
    with chat(authority, status=500) as server:
        named(world, authority, server)
        with pytest.raises(Refusal, match="under way"):
            redeploying.redeploy(world.session, RedeployOptions(), "", events.append, None)
    notes = [event.detail for event in events if event.subject == "chat"]
    assert len(notes) == 2 and all(note.startswith("not posted to the chat") for note in notes)
    assert server.token not in str(notes)
