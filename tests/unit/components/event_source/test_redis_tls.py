"""A Redis that speaks TLS: what KEDA and workers are handed, and what is said where KEDA asks otherwise."""

from __future__ import annotations

import base64
import ssl

import pytest

from prompt_keda.clients.kube import resources as kinds
from prompt_keda.components.event_source.choice import event_source
from prompt_keda.components.smoke import canary, smoke_objects
from prompt_keda.core.errors import Missing
from prompt_keda.environment.loading import load_environment
from prompt_keda.environment.model import RedisTls
from prompt_keda.lab.pki import Authority
from tests.unit.world import FOLDER, REDIS, SCALED_JOB, SPACE, TRIGGER, World

MAY_ASK = "redis/keda-may-ask"
NAME = "prompt-redis.prompt-redis"
PASSWORD = {"parameter": "password", "name": "prompt-redis-auth", "key": "redis-password"}
CA = {"parameter": "ca", "name": "prompt-redis-auth", "key": "ca"}


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    """The authority of Redis' certificate."""
    return Authority(tmp_path_factory.mktemp("redis") / "pki")


@pytest.fixture
def world(owner):
    """A world whose Redis speaks TLS, and whose KEDA asks it so."""
    made = World()
    speak_tls(made, ca_file=owner.ca_file)
    trusted = ssl.PEM_cert_to_DER_cert(owner.ca_file.read_text())

    def refusal(tls):
        if tls.server_name != NAME:
            return f"TLS: its certificate is for another name ({tls.server_name})"
        known = tls.context.get_ca_certs(binary_form=True)
        return "" if trusted in known else "TLS: the authority of its certificate is not trusted (unable)"

    made.redis.trusts = refusal
    keda_asks(made, {"enableTLS": "true"}, PASSWORD, CA, ca=owner.ca_file.read_text())
    return made


def speak_tls(world, **tls):
    redis = world.systems.environment.redis.model_copy(update={"tls": RedisTls(**tls)})
    world.systems.environment = world.systems.environment.model_copy(update={"redis": redis})


def keda_asks(world, metadata, *references, **values):
    """Let the trigger say this, and its TriggerAuthentication refer to these keys of a Secret with these values."""
    trigger = {"type": "redis-streams", "metadata": TRIGGER | metadata, "authenticationRef": {"name": "prompt-redis"}}
    world.change(kinds.SCALED_JOBS, SCALED_JOB, SPACE, spec={"triggers": [trigger]})
    world.change(kinds.TRIGGER_AUTHENTICATIONS, "prompt-redis", SPACE, spec={"secretTargetRef": list(references)})
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    world.change(kinds.SECRETS, "prompt-redis-auth", SPACE, data=data)


def tls_word(value):
    """Let the TriggerAuthentication say something about TLS; gives what `keda_asks` takes."""
    return {"parameter": "tls", "name": "prompt-redis-auth", "key": "word"}, {"word": value}


def test_a_keda_that_verifies_redis_by_its_own_authority_is_green(world):
    """Host, authority and login are tried as KEDA has them."""
    assert world.verdict(MAY_ASK).verdict.value == "ok"


def test_tls_may_be_asked_for_in_the_trigger_authentication(world, owner):
    """KEDA's other way: parameter tls, enable or disable."""
    reference, value = tls_word("enable")
    keda_asks(world, {"enableTLS": None}, PASSWORD, CA, reference, **value)
    assert world.verdict(MAY_ASK).verdict.value == "ok"
    keda_asks(world, {"enableTLS": None}, PASSWORD, CA, reference, word="disable")
    assert "KEDA asks without TLS" in world.verdict(MAY_ASK).observed
    keda_asks(world, {"enableTLS": "true"}, PASSWORD, CA, reference, word="enable")
    assert "which KEDA refuses" in world.verdict(MAY_ASK).observed


@pytest.mark.parametrize(
    ("metadata", "references", "values", "verdict", "message"),
    [
        ({"enableTLS": None}, [PASSWORD], {}, "fail", "KEDA asks without TLS, this Redis wants it"),
        ({"enableTLS": "false"}, [PASSWORD], {}, "fail", "KEDA asks without TLS, this Redis wants it"),
        ({"enableTLS": "yes"}, [PASSWORD, CA], {}, "fail", "neither on nor off"),
        ({"enableTLS": "true"}, [PASSWORD], {}, "unknown", "KEDA is given no authority"),
        ({"enableTLS": "true"}, [PASSWORD, CA], {"ca": "hello"}, "fail", "holds no certificate"),
        ({"enableTLS": "true", "unsafeSsl": "true"}, [PASSWORD], {}, "warn", "KEDA does not verify"),
        (
            {"enableTLS": "true", "address": f"{NAME}.svc:6379"},
            [PASSWORD, CA],
            {},
            "fail",
            f"KEDA does not trust this Redis: TLS: its certificate is for another name ({NAME}.svc)",
        ),
    ],
)
def test_a_keda_that_asks_a_redis_with_tls_otherwise_is_reported(world, metadata, references, values, verdict, message):
    """Without TLS, without an authority, unverified, or by a name that the certificate does not have."""
    keda_asks(world, metadata, *references, **values)
    outcome = world.verdict(MAY_ASK)
    assert (outcome.verdict.value, message in outcome.observed) == (verdict, True), outcome


def test_another_authority_than_that_of_redis_is_reported(world, tmp_path):
    """KEDA's connection would fail, though the toolkit's does not."""
    other = Authority(tmp_path / "pki").ca_file.read_text()
    keda_asks(world, {"enableTLS": "true"}, PASSWORD, CA, ca=other)
    outcome = world.verdict(MAY_ASK)
    assert outcome.verdict.value == "fail" and "KEDA does not trust this Redis" in outcome.observed
    assert "parameter ca" in outcome.fix


def test_a_smoke_test_hands_keda_the_authority_and_turns_tls_on(world, owner):
    """By the parameters that KEDA takes: enableTLS in the trigger, ca and password from one Secret."""
    systems, parameters = world.systems, event_source(world.systems).trigger_parameters()
    secret, authentication = smoke_objects.login(systems.environment, "smoke-1", parameters, "run")
    handed = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert handed == {"password": "value", "ca": owner.ca_file.read_text()}
    assert [reference["parameter"] for reference in authentication["spec"]["secretTargetRef"]] == ["password", "ca"]
    made = smoke_objects.scaled_job(systems, "smoke-1", 5, "run")["spec"]
    (trigger,) = made["triggers"]
    assert trigger["metadata"]["enableTLS"] == "true" and trigger["authenticationRef"] == {"name": "smoke-1"}
    pods = [made["jobTargetRef"]["template"]["spec"], canary.job(systems, "c")["spec"]["template"]["spec"]]
    for pod in pods:
        variables = {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}
        assert (variables["REDIS_TLS"], variables["REDIS_TLS_CA"]) == ("true", owner.ca_file.read_text())


def test_the_systems_authorities_are_handed_to_nobody(world):
    """KEDA and the workers have those of their images; without a password there is nothing to hand over at all."""
    speak_tls(world)
    redis = world.systems.environment.redis.model_copy(update={"password": None})
    world.systems.environment = world.systems.environment.model_copy(update={"redis": redis})
    assert event_source(world.systems).trigger_parameters() == {}
    assert smoke_objects.login(world.systems.environment, "smoke-1", {}, "run") == []
    made = smoke_objects.scaled_job(world.systems, "smoke-1", 5, "run")["spec"]
    (trigger,), (container,) = made["triggers"], made["jobTargetRef"]["template"]["spec"]["containers"]
    assert trigger["metadata"]["enableTLS"] == "true" and "authenticationRef" not in trigger
    named = [variable["name"] for variable in container["env"]]
    assert "REDIS_TLS" in named and "REDIS_TLS_CA" not in named and "REDIS_PASSWORD" not in named


def test_without_tls_nothing_of_it_is_said():
    """As ever: no word of TLS in the trigger or the workers' environment."""
    systems = World().systems
    made = str(smoke_objects.scaled_job(systems, "smoke-1", 5, "run")) + str(canary.job(systems, "c"))
    assert "TLS" not in made and "REDIS_STREAM_HOST" in made


def test_a_file_of_authorities_that_is_gone_is_named(world, tmp_path):
    """Before anything is made: by the client, and by what is handed on."""
    speak_tls(world, ca_file=tmp_path / "gone.crt")
    world.systems._made.pop("redis")
    for ask in (lambda: world.systems.redis, lambda: event_source(world.systems).trigger_parameters()):
        with pytest.raises(Missing, match=r"gone\.crt cannot be read"):
            ask()


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("tls: {}", NAME, REDIS),
        ("tls: {server_name: prompt-redis.prompt-redis.svc}", f"{NAME}.svc", f"{NAME}.svc:6379"),
        ("tls: {}\n  service: redis.test\n  reach: direct", "redis.test", "redis.test.prompt-redis:6379"),
    ],
)
def test_the_name_that_is_verified_is_the_one_that_keda_asks(text, name, address, tmp_path):
    """KEDA verifies the host of its address: another name in the certificate is another address."""
    file = tmp_path / "own.yaml"
    (tmp_path / "local").symlink_to(FOLDER / "local")
    given = {**dict.fromkeys(("kubeconfig", "ca_file", "vault_role_id_file", "vault_secret_id_file"), "/x")}
    given |= dict.fromkeys(("context", "kube_system_uid", "keda_manifests"), "x")
    given |= {"ca_sha256": "0" * 64, "keda_manifests_sha256": "0" * 64, "worker_image": "a/b:1"}
    given |= {"ldap_url": "ldaps://l", "vault_url": "https://v", "registry_url": "https://r"}
    given |= {"redis_password": {"path": "p", "key": "k"}, "worker_image": f"a/b@sha256:{'0' * 64}"}
    old = "  reach: port-forward # as in production: prompt-redis.prompt-redis:6379 exists only inside\n"
    whole = (FOLDER / "local.yaml").read_text()
    assert old in whole
    file.write_text(whole.replace(old, f"  {text}\n"))
    redis = load_environment(file, given).redis
    assert (redis.server_name, redis.inside_address) == (name, address)
