"""KEDA's own way into Redis: the address and login that the live ScaledJob and TriggerAuthentication name, tried."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from prompt_keda.clients.http.tls import Tls, trusting
from prompt_keda.clients.kube.objects import Object
from prompt_keda.clients.kube.resources import (
    CLUSTER_TRIGGER_AUTHENTICATIONS,
    SCALED_JOBS,
    SECRETS,
    TRIGGER_AUTHENTICATIONS,
)
from prompt_keda.clients.systems import Systems
from prompt_keda.components.event_source.redis_streams import TRIGGER
from prompt_keda.components.scaled_jobs.looks import of_every_instrument
from prompt_keda.core.check import Outcome, check
from prompt_keda.core.errors import BadAnswer, Missing, Refused, Untrusted
from prompt_keda.core.outcomes import all_of, fail, ok, unknown, warn
from prompt_keda.core.secret import Secret
from prompt_keda.environment.model import Instrument

ENABLE_TLS = {True: ("1", "t", "T", "TRUE", "true", "True"), False: ("", "0", "f", "F", "FALSE", "false", "False")}
"""What KEDA takes in a trigger for on and off (Go, strconv.ParseBool)."""
TLS = {True: ("enable",), False: ("disable",)}
"""The same in a TriggerAuthentication."""
TRUST_FIX = "Give KEDA the authority of Redis' certificate: parameter ca of the TriggerAuthentication, at the source."
LOGIN, ADDRESS = ("username", "password"), ("address", "host", "port")


@check(
    "redis/keda-may-ask",
    "KEDA's Redis login may read the lag",
    needs=("redis/answers", "keda/scaled-jobs-present"),
    runbook="redis-gone",
)
def keda_may_ask(systems: Systems) -> Outcome:
    """Log in with what the live trigger, container environment or TriggerAuthentication name, the Secret read by its
    name, and run INFO, XINFO GROUPS and XLEN (F22, F29), after a look that the trigger's address and database are
    those of the environment's Redis. No password means the login that everybody has. With TLS, Redis' certificate is
    verified as KEDA does: for the host of its address, by the authority that it is given. UNKNOWN: the ScaledJob is
    missing, the Secret may not be read from here, the password comes from elsewhere, or KEDA is given no authority
    and the environment names one.

    Cause: KEDA asks another Redis, or with TLS one that answers without, or the reverse; it does not trust Redis'
    certificate; the password was rotated and KEDA's Secret was not; or an ACL denies a command.
    Without XINFO KEDA takes the stream's length for the lag. A KEDA that is logged in works on until it connects
    again.

    Fix: The result names the login, the command, or what is wrong with TLS.

    Notes
    -----
    KEDA takes each parameter from the trigger, else from the container's environment, else from the
    TriggerAuthentication (2.16.1, pkg/scalers/redis_scaler.go). Without a password it does not log in. With TLS it
    trusts the authorities of its image and the one that it is given.
    """

    def look(instrument: Instrument) -> Outcome:
        live = systems.kube.find(SCALED_JOBS, instrument.scaled_job, instrument.namespace)
        if live is None:
            return unknown(
                f"ScaledJob {instrument.scaled_job} is missing: KEDA asks for nothing", "./run redeploy applies it."
            )
        triggers = [trigger for trigger in live["spec"].get("triggers") or [] if trigger.get("type") == TRIGGER]
        if not triggers:
            return fail(f"{instrument.scaled_job} has no trigger of type {TRIGGER}", "Correct the ScaledJob's source.")
        return all_of(
            ((instrument.scaled_job, trigger) for trigger in triggers),
            lambda trigger: _try(systems, instrument, live, trigger),
        )

    return of_every_instrument(systems, look)


def _try(systems: Systems, instrument: Instrument, live: Object, trigger: Object) -> Outcome:
    is_unverified = (trigger.get("metadata") or {}).get("unsafeSsl") in ENABLE_TLS[True]
    try:
        host, wrong = _place(systems, instrument, live, trigger)
        wrong = wrong or _wrong_about_tls(systems, instrument, live, trigger)
        login = {} if wrong else dict(_parameters(systems, instrument, live, trigger, LOGIN))
        tls = None if wrong or is_unverified else _trust(systems, instrument, live, trigger, host)
    except Refused as error:  # it is this person who may not look: that says nothing about KEDA
        return unknown(f"{instrument.scaled_job}: {error.detail}", error.fix)
    if wrong:
        return fail(f"{instrument.scaled_job}: {wrong}", "Correct the trigger in the ScaledJob's source.")
    user, password = login.get("username"), login.get("password")
    who = "a user of its own" if user else "the default user"  # its name may come from a Secret
    where = f"{instrument.scaled_job} as {who}{'' if password else ' without a password'}"
    redis = systems.redis.logged_in_as(user.reveal() if user else None, password, tls)
    try:
        denied = redis.denied(instrument.stream)
    except Untrusted as error:
        return fail(f"{instrument.scaled_job}: KEDA does not trust this Redis: {error.detail}", TRUST_FIX)
    except Refused as error:
        fix = (
            "KEDA's Secret and Redis differ: put the right password into Vault, then ./run redeploy writes the Secret."
        )
        return fail(f"{where}: the login fails: {error.detail}", fix)
    finally:
        redis.close()
    if denied:
        return fail(f"{where}: {', '.join(denied)} is denied", "ACL SETUSER: KEDA needs INFO, XINFO and XLEN.")
    if systems.environment.redis.tls and is_unverified:
        return warn(f"{where}: KEDA does not verify Redis' certificate", f"Remove unsafeSsl. {TRUST_FIX}")
    return ok(where)


def _wrong_about_tls(systems: Systems, instrument: Instrument, live: Object, trigger: Object) -> str:
    """Return what is wrong with whether KEDA asks with TLS (2.16.1, SetEnableTLS); empty if it asks as the environment says."""
    in_trigger = (trigger.get("metadata") or {}).get("enableTLS") or ""
    in_authentication = dict(_from_authentication(systems, instrument, live, trigger, "tls")).get("tls")
    if in_trigger and in_authentication:
        return "enableTLS in the trigger and tls in its TriggerAuthentication, which KEDA refuses"
    words, word = (TLS, in_authentication.reveal()) if in_authentication else (ENABLE_TLS, in_trigger)
    if word not in words[True] + words[False]:
        return "KEDA refuses its setting of TLS: neither on nor off"
    asks, answers = word in words[True], systems.environment.redis.tls is not None
    if asks and not answers:
        return "KEDA wants TLS, this Redis answers without"
    return "KEDA asks without TLS, this Redis wants it (enableTLS)" if answers and not asks else ""


def _trust(systems: Systems, instrument: Instrument, live: Object, trigger: Object, host: str) -> Tls | None:
    """Return how KEDA verifies Redis; None where it asks without TLS.

    KEDA 2.16.1 adds an authority that one trigger names to those of all its triggers (pkg/util/certificates.go and
    tls_config.go): a trigger that names none works until the operator restarts.

    Raises
    ------
    BadAnswer
        When KEDA is given no authority, and the environment has one of its own: the operator's image may have it, or not.
    """
    settings = systems.environment.redis
    if settings.tls is None:
        return None
    given = dict(_from_authentication(systems, instrument, live, trigger, "ca")).get("ca")
    if given is None and settings.tls.ca_file is not None:
        raise _unseen(
            systems, "KEDA is given no authority for Redis' certificate: parameter ca of a TriggerAuthentication"
        )
    return Tls(trusting("Redis", settings.inside_address, given.reveal() if given else ""), host)


def _place(systems: Systems, instrument: Instrument, live: Object, trigger: Object) -> tuple[str, str]:
    """Return the host that KEDA asks, and what is wrong unless it is the environment's Redis and its database 0.

    An address may come from a Secret: it is named only where the trigger itself says it.
    """
    metadata, wanted = trigger.get("metadata") or {}, systems.environment.redis
    named = {name for name in ADDRESS if metadata.get(name) or metadata.get(f"{name}FromEnv")}
    asked = ("address",) if "address" in named else ("host", "port") if "host" in named else ADDRESS  # as KEDA does
    parameters = dict(_parameters(systems, instrument, live, trigger, asked))
    given = {name: parameters[name].reveal().partition(",")[0] for name in ADDRESS if name in parameters}
    address = given.get("address") or ":".join(filter(None, (given.get("host"), given.get("port"))))
    host, _, port = address.rpartition(":")
    inside = f"{wanted.service}.{wanted.namespace}"
    names = {wanted.service} if wanted.reach == "direct" else {inside, f"{inside}.svc", f"{inside}.svc.cluster.local"}
    host, names = host.rstrip("."), names | {wanted.server_name}
    if host not in names or port != str(wanted.port):
        hidden = address and not any(metadata.get(name) for name in ADDRESS)
        shown = "an address from elsewhere" if hidden else address or "no address"
        return host, f"KEDA asks {shown}, the environment's Redis is {wanted.inside_address}"
    database = str(metadata.get("databaseIndex") or "0")
    return host, "" if database == "0" else f"KEDA asks database {database}, the streams are in 0"


def _parameters(
    systems: Systems, instrument: Instrument, live: Object, trigger: Object, names: tuple[str, ...]
) -> Iterator[tuple[str, Secret]]:
    metadata = trigger.get("metadata") or {}
    for parameter in names:
        if metadata.get(parameter):
            yield parameter, Secret(str(metadata[parameter]))
        elif metadata.get(f"{parameter}FromEnv"):
            yield parameter, _from_container(systems, instrument, live, str(metadata[f"{parameter}FromEnv"]))
        else:
            yield from _from_authentication(systems, instrument, live, trigger, parameter)


def _from_authentication(
    systems: Systems, instrument: Instrument, live: Object, trigger: Object, parameter: str
) -> Iterator[tuple[str, Secret]]:
    reference = trigger.get("authenticationRef")
    if not reference:
        return
    shared = reference.get("kind") == "ClusterTriggerAuthentication"
    kind = CLUSTER_TRIGGER_AUTHENTICATIONS if shared else TRIGGER_AUTHENTICATIONS
    spec = systems.kube.get(kind, reference["name"], None if shared else instrument.namespace).get("spec") or {}
    place = systems.environment.keda.namespace if shared else instrument.namespace
    for source in spec.get("secretTargetRef") or []:
        if source["parameter"] == parameter:
            yield parameter, _from_secret(systems, place, source["name"], source["key"])
            return
    for source in spec.get("env") or []:
        if source["parameter"] == parameter:
            yield parameter, _from_container(systems, instrument, live, source["name"], source.get("containerName", ""))
            return
    others = sorted(set(spec) - {"secretTargetRef", "env"})
    if others and parameter in ("password", "address", "ca"):
        raise _unseen(systems, f"KEDA's {parameter} comes from {', '.join(others)}")


def _from_container(systems: Systems, instrument: Instrument, live: Object, name: str, container: str = "") -> Secret:
    target = live["spec"]["jobTargetRef"]["template"]["spec"]
    wanted = container or live["spec"].get("envSourceContainerName")
    containers = [candidate for candidate in target["containers"] if wanted in (None, "", candidate.get("name"))]
    for variable in (containers[0].get("env") or []) if containers else []:
        if variable["name"] == name and "value" in variable:
            return Secret(variable["value"])
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if variable["name"] == name and reference:
            return _from_secret(systems, instrument.namespace, reference["name"], reference["key"])
    raise _unseen(systems, f"KEDA takes a part of its login from {name}, which no container's env names plainly")


def _from_secret(systems: Systems, namespace: str, name: str, key: str) -> Secret:
    value = (systems.kube.get(SECRETS, name, namespace).get("data") or {}).get(key)
    if not value:
        where = f"{namespace}/{name}"
        raise Missing("Kubernetes", systems.kube.address, f"Secret {where} has no {key}", "./run redeploy writes it.")
    return Secret(base64.b64decode(value).decode(errors="replace"))


def _unseen(systems: Systems, message: str) -> BadAnswer:
    return BadAnswer("Kubernetes", systems.kube.address, message)
