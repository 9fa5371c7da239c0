"""Environment files: every fault is told with file, line and column."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from prompt_keda.core.errors import EnvironmentFileError
from prompt_keda.core.places import ENVIRONMENTS
from prompt_keda.environment.loading import find_environment, load_environment, unfilled
from prompt_keda.environment.reference import COMMAND, pages, schema
from tests.leaks import leaks, planted

FOLDER = ENVIRONMENTS
PROD = (FOLDER / "prod.yaml").read_text()


DEV = (FOLDER / "dev.yaml").read_text()
HEX = "0123456789abcdef" * 4


def fault(tmp_path, old, new, text=PROD):
    """Load prod.yaml, or another text, with one change, and give what is said about it."""
    file = changed(tmp_path, old, new, text)
    with pytest.raises(EnvironmentFileError) as caught:
        load_environment(file, None)
    return caught.value.what


def changed(tmp_path, old, new, text=PROD):
    """Return a file with one change."""
    assert old in text
    file = tmp_path / "changed.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


def line_of(text):
    return next(n for n, line in enumerate(PROD.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  port: 6379", "  prot: 6379", "redis.prot: unknown key; did you mean 'port'?"),
        ("  port: 6379", "  port: many", "redis.port: a whole number is expected, without quotes"),
        ("  port: 6379", "  port: 70000", "redis.port: 65535 or less is expected"),
        ("  port: 6379", "  port: 0", "redis.port: 1 or more is expected"),
        ("polling_interval: 2s", "polling_interval: 2x", "a duration is a whole number and a unit"),
        ("approval: digest", "approval: maybe", "'none', 'confirm' or 'digest'"),
        ("approval: digest", "", "approval: this key is missing"),
        ("approval: digest", "approval: digest\napproval: none", "'approval' stands here twice"),
        ("name: prod", "name: !!python/object:os.system x", "the tag !!python/object:os.system is not allowed"),
        ("name: prod", "name: !x y", "the tag !x is not allowed"),
        ("name: prod", "name: [", "this is no YAML"),
    ],
)
def test_a_fault_is_reported_with_its_kind(tmp_path, old, new, message):
    """Unknown key, wrong type, range, duration, choice, missing, duplicate, tag, syntax."""
    assert message in fault(tmp_path, old, new)


WHOLE = "a whole number is expected, without quotes"
TEXT = "a text is expected; put it into quotes"
HOST_COUNT = next(line.strip() for line in PROD.splitlines() if "host_workers_count" in line)
COUNT = "a whole number from 1 on is expected, or FILL-IN"
VERSIONS = 'accepted_versions: ["1.29", "1.30", "1.31"]'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  port: 6379", '  port: "6379"', f"redis.port: {WHOLE}"),
        ("  port: 6379", "  port: true", f"redis.port: {WHOLE}"),
        ("  port: 6379", "  port: 6379.0", f"redis.port: {WHOLE}"),
        ("min_jobs: 3", "min_jobs: yes", f"instruments.0.min_jobs: {WHOLE}"),
        ("kv_version: 2", "kv_version: true", "vault.kv_version: 1 or 2 is expected"),
        ("kv_version: 2", "kv_version: 2.0", "vault.kv_version: 1 or 2 is expected"),
        ("kv_version: 2", 'kv_version: "2"', "vault.kv_version: 1 or 2 is expected"),
        ("kv_version: 2", "kv_version: 3", "vault.kv_version: 1 or 2 is expected"),
        ("name: prod", "name: 7", f"name: {TEXT}"),
        ("name: prod", "name: 2026-01-13", f"name: {TEXT}"),
        ("name: prod", "name: !!binary cHJvZA==", f"name: {TEXT}"),
        ("name: prod", 'name: ""', "name: a text that is not empty is expected"),
        ("description: Prompt", "description: !!binary cHJvZA==\nxx: Prompt", f"description: {TEXT}"),
        (VERSIONS, "accepted_versions: [1.30]", f"kubernetes.accepted_versions.0: {TEXT}"),
        (VERSIONS, 'accepted_versions: "1.30"', "kubernetes.accepted_versions: a list is expected"),
        (VERSIONS, "accepted_versions: !!set {a}", "kubernetes.accepted_versions: a list is expected"),
        ("host: ghcr.io,", "host: ghcr.io, ca_file: 7,", "registries.0.ca_file: a file's path is expected"),
        ("host: ghcr.io,", 'host: ghcr.io, ca_file: "",', "registries.0.ca_file: a file's path is expected"),
        ("host: ghcr.io,", 'host: ghcr.io, ca_file: "FILL-IN: x",', "a path cannot be FILL-IN; leave the key out"),
        ("reach: port-forward", "reach: portforward", "is expected; did you mean 'port-forward'?"),
        ("reach: port-forward", "reach: 5", "redis.reach: 'direct' or 'port-forward' is expected"),
        (
            "reach: port-forward",
            "reach: direct\n  password: hello",
            "redis.password: a mapping with the keys path and key is expected",
        ),
        ("login: {method: token}", "login: token", "with the keys method, role_id_file and secret_id_file is expected"),
        (HOST_COUNT, 'host_workers_count: "7"', f"capacity.host_workers_count: {COUNT}"),
        (HOST_COUNT, "host_workers_count: true", f"capacity.host_workers_count: {COUNT}"),
        (HOST_COUNT, "host_workers_count: 0", f"capacity.host_workers_count: {COUNT}"),
        ("syncer: {qps: 40, burst: 80}", "", "host_workers_count is about the host of a vCluster: name its syncer"),
        ("instruments:", "instruments:\n  - LSSTCam", "instruments.0: a mapping with the keys name, namespace,"),
    ],
)
def test_a_value_of_another_type_is_reported_in_plain_words(tmp_path, old, new, message):
    """Nothing is converted silently: true is no number, 1.30 is no text; and what is expected is said."""
    assert message in fault(tmp_path, old, new)


CA = 'ca_sha256: "FILL-IN: SHA-256 of the DER form of the vCluster\'s CA certificate; the S3DF vCluster admins know it"'
UID = 'kube_system_uid: "FILL-IN'
SHA = 'sha256: "FILL-IN: the same command writes it"'
SOURCE = 'source: "FILL-IN: ./run prepare --env prod --phalanx CHECKOUT writes it (a clone of lsst-sqre/phalanx; docs/delivery.md)"'
SMOKE = 'image: "FILL-IN: a small worker image by digest that this vCluster can pull, see docs/local-stack.md"'
LDAP = 'url: "FILL-IN: ldaps:// address of the SLAC directory that the vCluster authenticates people against"'
VAULT = "url: https://vault.slac.stanford.edu"
LOGIN = "login: {method: token}"
IMAGES = "- ghcr.io/lsst-dm/prompt-service:15.2.0"
POLLING = "polling_interval: 2s"
HEXDIGITS = "64 lower-case hex digits are expected"
PINNED = "smoke.image: an image pinned by its digest (name@sha256: and 64 lower-case hex digits) is expected"
START = "group_start: '$', '0' or a stream id such as '123-4', in quotes, is expected"
DURATION = "polling_interval: a duration is a whole number and a unit: 500ms, 20s, 5m or 1h; not 0, at most 24h"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("min_jobs: 3", "min_jobs: 1701", "instruments.0.max_jobs: min_jobs (1701) or more is expected"),
        (CA, f'ca_sha256: "{HEX.upper()}"', f"kubernetes.identity.ca_sha256: {HEXDIGITS}"),
        (CA, f'ca_sha256: "{HEX[1:]}"', f"kubernetes.identity.ca_sha256: {HEXDIGITS}"),
        (CA, f'ca_sha256: "{HEX}\\n"', f"kubernetes.identity.ca_sha256: {HEXDIGITS}"),
        (SHA, f'sha256: "{HEX}0"', f"keda.manifests.sha256: {HEXDIGITS}"),
        (VERSIONS, "accepted_versions: []", "kubernetes.accepted_versions: at least 1 is expected in this list"),
        (VERSIONS, 'accepted_versions: ["v1.31"]', "accepted_versions.0: a minor version such as '1.31' is expected"),
        (VERSIONS, 'accepted_versions: ["1.31.4"]', "accepted_versions.0: a minor version such as '1.31' is expected"),
        (SMOKE, "image: ghcr.io/lsst-dm/prompt-service:1", PINNED),
        (SMOKE, f'image: "ghcr.io/x/y@sha256:{HEX.upper()}"', PINNED),
        (SMOKE, f'image: "@sha256:{HEX}"', PINNED),
        (
            IMAGES,
            "- ghcr.io/lsst-dm/prompt-service",
            "images.0: an image with its tag or its digest is expected",
        ),
        (IMAGES, "- r:5000/prompt-service", "images.0: an image with its tag or its digest is expected"),
        (POLLING, "polling_interval: 0s", DURATION),
        (POLLING, "polling_interval: 00ms", DURATION),
        (POLLING, "polling_interval: 2", DURATION),
        (POLLING, "polling_interval: 25h", DURATION),
        (POLLING, "polling_interval: 99999999999999999999h", DURATION),
        (POLLING, f"polling_interval: {'9' * 5000}h", DURATION),
        (POLLING, f"{POLLING}\n    group_start: '1'", START),
        (POLLING, f"{POLLING}\n    group_start: '>'", START),
        (POLLING, f"{POLLING}\n    group_start: 123-", START),
        (POLLING, f"{POLLING}\n    group_start: 0", f"group_start: {TEXT}"),
        (LOGIN, "login: {method: approle}", "vault.login: method approle needs role_id_file and secret_id_file"),
        (LOGIN, "login: {method: approle, role_id_file: r}", "method approle needs role_id_file and secret_id_file"),
        (
            VAULT,
            "url: http://vault",
            "vault.url: an address that begins with https://, and holds no login, is expected",
        ),
        (VAULT, 'url: "https://"', "vault.url: an address that begins with https://, and holds no login, is expected"),
        (VAULT, "url: https://me:pw@vault", "vault.url: an address that begins with https://, and holds no login, is"),
        (
            VAULT,
            "url: https://vault?token=x",
            "vault.url: an address that begins with https://, and holds no login, is",
        ),
        ('url: "https://ghcr.io"', "url: ghcr.io", "registries.0.url: an address that begins with https://"),
        (
            LDAP,
            "url: ldap://directory",
            "ldap.url: an address that begins with ldaps://, and holds no login, is expected",
        ),
        (SOURCE, "source: http://x/y", "keda.manifests.source: a path or an address that begins with https://"),
    ],
)
def test_nonsense_is_refused_in_plain_words(tmp_path, old, new, message):
    """Each value is held to what it means, and the message says what is expected."""
    assert message in fault(tmp_path, old, new)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: HSC", "name: LATISS", "LATISS and LATISS have the same name"),
        (
            'stream: "instrument:hsc" # [values] keda.redisStreams\n    consumer_group: hsc_consumer_group',
            'stream: "instrument:latiss"\n    consumer_group: latiss_consumer_group',
            "HSC and LATISS have the same stream and consumer_group",
        ),
        (
            "namespace: prompt-keda-hsc # [env] templates/applications\n    scaled_job: prompt-keda-hsc",
            "namespace: prompt-keda-latiss\n    scaled_job: prompt-keda-latiss",
            "HSC and LATISS have the same namespace and scaled_job",
        ),
    ],
)
def test_two_instruments_that_are_the_same_are_refused(tmp_path, old, new, message):
    """A copied entry that was not changed would be counted, scaled and verified twice."""
    assert f"instruments: {message}; each needs its own" in fault(tmp_path, old, new, DEV)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (CA, f'ca_sha256: "{HEX}"'),
        (SHA, f'sha256: "{HEX}"'),
        (SMOKE, f'image: "ghcr.io/x/y:1@sha256:{HEX}"'),
        (VERSIONS, 'accepted_versions: ["FILL-IN: the version"]'),
        (HOST_COUNT, "host_workers_count: 1700"),
        (POLLING, f"{POLLING}\n    group_start: '1700000000000-0'"),
        (POLLING, f"{POLLING}\n    group_start: '0'"),
        (POLLING, f"{POLLING}\n    group_start: 'FILL-IN: where'"),
        (POLLING, "polling_interval: 500ms"),
        (POLLING, "polling_interval: 24h"),
        (VAULT, 'url: "FILL-IN: the address"'),
        (LDAP, "url: ldaps://directory:636"),
        ('url: "https://ghcr.io"', 'url: "FILL-IN: the address"'),
        ("min_jobs: 3", "min_jobs: 1700"),
        (LOGIN, "login: {method: approle, role_id_file: r, secret_id_file: s}"),
    ],
)
def test_what_makes_sense_is_taken(tmp_path, old, new):
    """The edges of each rule; and FILL-IN wherever a text is."""
    load_environment(changed(tmp_path, old, new), None)


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("place", ["{{webhook: {}}}", "{{webhook: {{address: {}}}}}", "{}"])
def test_the_address_of_a_webhook_is_never_written_into_the_file(tmp_path, scheme, place):
    """With or without TLS it is refused, and not shown: who knows it can write into the chat."""
    value = planted("-_")
    literal = place.format(f"{scheme}://chat.test/{value}")
    message = fault(tmp_path, "smoke:", f"incidents: {literal}\nsmoke:")
    assert (
        "incidents" in message and "a mapping with the keys" in message and leaks(message.encode(), {"it": value}) == []
    )


def test_a_webhook_is_named_by_its_place_in_vault(tmp_path):
    """Its certificate authority is a path like all others."""
    webhook = "{address: {path: a/b, key: url}, ca_file: ca.crt}"
    read = load_environment(changed(tmp_path, "smoke:", f"incidents: {{webhook: {webhook}}}\nsmoke:"), None)
    assert (read.incidents.webhook.address.path, read.incidents.webhook.ca_file) == ("a/b", tmp_path / "ca.crt")
    assert load_environment(FOLDER / "prod.yaml", None).incidents.webhook is None


def test_two_instruments_that_are_not_filled_in_yet_are_not_the_same(tmp_path):
    """The same FILL-IN text in two places says nothing about the values."""
    text = DEV.replace('stream: "instrument:hsc"', 'stream: "FILL-IN: the stream"')
    load_environment(changed(tmp_path, 'stream: "instrument:latiss"', 'stream: "FILL-IN: the stream"', text), None)


def unreadable(tmp_path, data):
    """Load a file that holds these bytes, and give what is said about it."""
    file = tmp_path / "odd.yaml"
    file.write_bytes(data)
    with pytest.raises(EnvironmentFileError) as caught:
        load_environment(file, None)
    return caught.value.what


BOMB = "the file stands for more than 100000 values"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nname: 2026-13-45\n", "odd.yaml:2:7: '2026-13-45' is no timestamp; put a text into quotes"),
        (b"name: !!int abc\n", "odd.yaml:1:7: 'abc' is no int; put a text into quotes"),
        (b"name: !!int ''\n", "odd.yaml:1:7: '' is no int"),
        (b"name: !!bool x\n", "odd.yaml:1:7: 'x' is no bool"),
        (b"name: !!timestamp x\n", "odd.yaml:1:7: 'x' is no timestamp"),
        (b"name: " + b"9" * 5000, "odd.yaml:1:7: '9999"),
        (b"name: x\n? [a]\n: b\n", "odd.yaml:2:3: a key is a text"),
        (b"name: x\n1: b\n", "odd.yaml:2:1: a key is a text; put it into quotes"),
        (b"name: x\nyes: b\n", "odd.yaml:2:1: a key is a text; put it into quotes"),
        ("a: ä\nname: ä\x01\n".encode(), "odd.yaml:2:8: the character U+0001 is not allowed"),
        (b"a: 1\nname: &x [*x]\n", "odd.yaml:2:7: what & marks here contains itself"),
        (b"name: " + b"[" * 100_000, "odd.yaml:1:56: nested deeper than 50 levels"),
        (b"- &a0 []\n" + b"".join(b"- &a%d [*a%d]\n" % (n + 1, n) for n in range(60)), "nested deeper than 50 levels"),
        (b"- &a0 [1]\n" + b"".join(b"- &a%d [%s]\n" % (n + 1, b",".join([b"*a%d" % n] * 10)) for n in range(9)), BOMB),
        (b"\xef\xbb\xbfname: x\n", "odd.yaml:1:1: the file begins with a byte order mark"),
        ("name: x\n".encode("utf-16"), "odd.yaml:1:1: the file begins with a byte order mark"),
        ("a: 1\nname: ä\n".encode("latin-1"), "odd.yaml:2:7: this is not UTF-8"),
        (b"", "odd.yaml:1:1: the file is empty"),
        (b"# nothing\n", "odd.yaml:1:1: the file is empty"),
        (b"[a]\n", "odd.yaml:1:1: an environment is one YAML mapping"),
        (b"name: x\n---\nname: y\n", "odd.yaml:3:1: an environment is one YAML document"),
    ],
)
def test_what_is_no_environment_at_all_is_reported_with_its_place(tmp_path, data, message):
    """No such day, no number, odd keys, control characters, a loop, other encodings, nothing: never a traceback."""
    assert message in unreadable(tmp_path, data)


def test_a_folder_is_no_environment(tmp_path):
    """Named as a path or read as one: it is told as what it is."""
    with pytest.raises(EnvironmentFileError, match="is a folder"):
        find_environment(f"{tmp_path}/", FOLDER)
    with pytest.raises(EnvironmentFileError, match="Is a directory"):
        load_environment(tmp_path, None)


def test_a_name_that_no_file_can_have_is_an_unknown_environment():
    """Too long for the file system: exit code 2 as for every unknown name."""
    with pytest.raises(EnvironmentFileError, match="there is no environment"):
        find_environment("x" * 5000, FOLDER)


def test_a_placeholder_that_the_stack_does_not_know_is_reported_with_its_place(tmp_path):
    """The stack is up, but older than the file."""
    file = tmp_path / "old.yaml"
    file.write_text("a: 1\nkubernetes:\n  names: [x, '${lab:nope}']\n")
    with pytest.raises(EnvironmentFileError, match=r"old\.yaml:3:14: the local stack has no value nope"):
        load_environment(file, {})


def test_a_fault_is_reported_with_line_and_column(tmp_path):
    """The place is that of the key in the file, counted from 1."""
    assert f"changed.yaml:{line_of('  port: 6379')}:3: redis.port" in fault(tmp_path, "  port: 6379", "  port: x")


def with_paths(tmp_path, path):
    """Return an environment that names a path wherever one can stand, and all these paths by their key as they were read."""
    text = PROD
    for old, new in (
        ("kubernetes:", f"kubernetes:\n  kubeconfig: {path}"),
        ("ldap:", f"ldap:\n  ca_file: {path}"),
        ("vault:", f"vault:\n  ca_file: {path}"),
        (LOGIN, f"login: {{method: approle, role_id_file: {path}, secret_id_file: {path}}}"),
        ("host: ghcr.io,", f"host: ghcr.io, ca_file: {path},"),
        (SOURCE, f"source: {path}\n    ca_file: {path}"),
        (POLLING, f"{POLLING}\n    manifest: {path}"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "paths.yaml").write_text(text)
    read = load_environment(tmp_path / "paths.yaml", None)
    return {
        "kubernetes.kubeconfig": read.kubernetes.kubeconfig,
        "ldap.ca_file": read.ldap.ca_file,
        "vault.ca_file": read.vault.ca_file,
        "vault.login.role_id_file": read.vault.login.role_id_file,
        "vault.login.secret_id_file": read.vault.login.secret_id_file,
        "registries.ca_file": read.registries[0].ca_file,
        "keda.manifests.source": read.keda.manifests.source,
        "keda.manifests.ca_file": read.keda.manifests.ca_file,
        "instruments.manifest": read.instruments[0].manifest,
    }


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("sub/x", "{folder}/sub/x"),
        ("~/x", "{home}/x"),
        ("/etc/x", "/etc/x"),
        ("~no-such-user/x", "{folder}/~no-such-user/x"),
    ],
)
def test_every_path_is_taken_from_the_folder_of_the_file(tmp_path, monkeypatch, path, read):
    """Wherever the command is given; ~ is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir("/")
    wanted = read.format(folder=tmp_path, home=tmp_path / "home")
    assert {key: str(read) for key, read in with_paths(tmp_path, path).items() if str(read) != wanted} == {}


def test_an_address_is_no_path(tmp_path):
    """The https address of KEDA's manifests, and what is still to be filled in, stay as they are."""
    address = "https://example.org/keda.json"
    read = load_environment(changed(tmp_path, SOURCE, f"source: {address}"), None)
    assert read.keda.manifests.source == address
    assert "keda.manifests.source" in dict(unfilled(load_environment(FOLDER / "prod.yaml", None)))


def test_all_faults_are_reported_at_once(tmp_path):
    """A person corrects a file once, not once for each fault."""
    file = tmp_path / "two.yaml"
    file.write_text(PROD.replace("port: 6379", "port: x").replace("approval: digest", "approval: x"))
    with pytest.raises(EnvironmentFileError) as caught:
        load_environment(file, None)
    assert len(caught.value.what.splitlines()) == 2


def test_an_unknown_environment_names_the_nearest():
    """A typing error is answered with what was probably meant."""
    with pytest.raises(EnvironmentFileError) as caught:
        find_environment("prd", FOLDER)
    assert "Did you mean prod?" in caught.value.fix


def test_the_local_environment_without_a_stack_says_how_to_get_one():
    """${lab:…} cannot be filled in while the stack is down."""
    with pytest.raises(EnvironmentFileError) as caught:
        load_environment(FOLDER / "local.yaml", None)
    assert "lab.up" in caught.value.fix


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_what_is_not_public_is_marked(name):
    """dev and prod load, and say which values are still to be filled in; never a guess."""
    wanted = dict(unfilled(load_environment(FOLDER / f"{name}.yaml", None)))
    assert "kubernetes.identity.ca_sha256" in wanted and "smoke.image" in wanted


@pytest.mark.parametrize("page", ["environment.schema.json", "README.md"])
def test_what_is_made_from_the_model_is_current(page):
    """The JSON schema and the table of all keys say what the model says."""
    assert (FOLDER / page).read_text() == pages(FOLDER)[FOLDER / page], f"run {COMMAND} and look at what it changes"


SCHEMA = json.loads(schema())
TYPES = {"string": str, "integer": int, "array": list, "object": dict, "null": type(None), "boolean": bool}


def faults(value, node, where=""):
    """Return what a JSON schema finds at a value, for the few words that ours uses."""
    known = {"$ref", "anyOf", "type", "enum", "pattern", "minLength", "minimum", "maximum", "minItems", "items"}
    known |= {"properties", "required", "additionalProperties", "title", "description", "default", "format", "$defs"}
    known |= {"const"}
    assert set(node) <= known, f"teach this test {set(node) - known}"
    if "$ref" in node:
        return faults(value, SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], where)
    if "anyOf" in node:
        alternatives = [faults(value, choice, where) for choice in node["anyOf"]]
        return [] if [] in alternatives else alternatives[0]
    if "type" in node and type(value) is not TYPES[node["type"]]:
        return [f"{where}: {value!r} is no {node['type']}"]
    choices = node.get("enum") or [node.get("const", value)]
    bad = [f"{where}: {value!r}"] if value not in choices else []
    if isinstance(value, str) and not re.search(node.get("pattern", ""), value):
        bad.append(f"{where}: {value!r} is not like {node['pattern']}")
    if isinstance(value, list):
        bad += [choice for n, item in enumerate(value) for choice in faults(item, node["items"], f"{where}[{n}]")]
    if isinstance(value, dict):
        bad += [f"{where}.{key} is missing" for key in set(node.get("required", ())) - set(value)]
        bad += [f"{where}.{key} is unknown" for key in set(value) - set(node["properties"])]
        both = set(value) & set(node["properties"])
        bad += [choice for key in both for choice in faults(value[key], node["properties"][key], f"{where}.{key}")]
    return bad


@pytest.mark.parametrize("name", ["argocd", "dev", "helm", "local", "prod", "prodlike", "vcluster"])
def test_a_shipped_environment_fits_its_schema(name):
    """An editor shows no fault in it: its first line names the schema, and the schema knows placeholders and FILL-IN."""
    text = (FOLDER / f"{name}.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=environment.schema.json\n")
    assert faults(yaml.safe_load(text), SCHEMA) == []


def test_the_schema_finds_what_is_wrong():
    """The comparison above is seen red: another type, no duration, no digest, an unknown and a missing key."""
    data = yaml.safe_load(PROD)
    data["redis"] |= {"port": "6379", "prot": 1}
    data["instruments"][0]["polling_interval"] = "0s"
    data["smoke"]["image"] = "x:1"
    del data["approval"]
    assert len(faults(data, SCHEMA)) == 5


@pytest.mark.parametrize("part", ["", *SCHEMA["$defs"]])
def test_a_default_fits_its_own_schema(part):
    """An editor may write a default into the file, and it is taken: 120s, not PT2M."""
    for key, node in (SCHEMA["$defs"][part] if part else SCHEMA)["properties"].items():
        assert "default" not in node or faults(node["default"], node) == [], key


def test_a_limit_that_nothing_looks_at_is_unknown(tmp_path):
    """limits.redeploy was read and used nowhere."""
    message = fault(tmp_path, "approval: digest", "approval: digest\nlimits: {redeploy: 10m}")
    assert "limits.redeploy: unknown key" in message
