"""What the Kubernetes client promises: on the double, and on the API server of the local stack."""

from __future__ import annotations

import json
import secrets
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from prompt_keda.clients.kube.access_reviews import missing_rights
from prompt_keda.clients.kube.client import Kube
from prompt_keda.clients.kube.resources import CONFIG_MAPS, NAMESPACES, PODS, ROLE_BINDINGS, ROLES, SECRETS, Resource
from prompt_keda.core.errors import BadAnswer, Missing, Refused
from prompt_keda.core.rights import Right
from prompt_keda.lab import settings, state
from tests.contracts.conftest import SECONDS
from tests.contracts.fakes.kube import FakeKube

pytestmark = pytest.mark.stack_only
NAMESPACE = f"contract-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def endpoints():
    """Where the local stack is. `./run test` brings it up; by hand: ./run lab.up."""
    return state.endpoints()


@pytest.fixture(scope="module", params=["fake", "real"])
def kube(request):
    """A client with a namespace for these tests alone; the real one is the person oncall."""
    if request.param == "fake":
        made = FakeKube()
    else:
        made = Kube.connect(Path(request.getfixturevalue("endpoints")["kubeconfig"]), None, SECONDS)
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield made
    made.delete(NAMESPACES, NAMESPACE)


@pytest.fixture(scope="module")
def real(endpoints):
    return Kube.connect(Path(endpoints["kubeconfig"]), None, SECONDS)


def config_map(name, labels=None, **data):
    metadata = {"name": name, "namespace": NAMESPACE, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def test_names_give_metadata_and_nothing_else(kube):
    """So the contents of Secrets are not even sent."""
    body = {"metadata": {"name": "named", "labels": {"owner": "helm"}}, "stringData": {"release": "x" * 1000}}
    kube.create(SECRETS, body, NAMESPACE)
    (names,) = kube.names(SECRETS, NAMESPACE, "owner=helm")
    assert names["metadata"]["name"] == "named" and names["metadata"]["uid"]
    assert set(names) <= {"metadata", "apiVersion", "kind"}
    assert kube.names(SECRETS, NAMESPACE, "owner=nobody") == []


def somebody_applies(kube, obj):
    """Take an object's fields as another field manager."""
    kube.apply(obj, force=True, field_manager="somebody")


def test_a_person_comes_in_through_the_directory(kube):
    """Person → LDAP → token → API server."""
    user = kube.whoami()
    assert user["username"] == "ldap:oncall" and "ldap:prompt-keda-operators" in user["groups"]
    assert kube.version().startswith("v1.") and kube.not_ready() == ()


def test_who_acts_as_another_has_the_others_rights_alone(endpoints, tmp_path):
    """`as` of the kubeconfig, for requests and port-forwards: kubectl would see the same user, with the same rights."""
    document = yaml.safe_load(Path(endpoints["kubeconfig"]).read_text())
    document["users"][0]["user"].update({"as": "someone", "as-groups": ["a", "b"]})
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(document))
    kube = Kube.connect(path, None, SECONDS)
    user = kube.whoami()
    assert (user["username"], user["groups"]) == ("someone", ["a", "b", "system:authenticated"])
    assert not kube.can_i("create", "", "pods", "prompt-redis", subresource="portforward")
    with pytest.raises(Refused, match='User "someone" cannot list'):
        kube.list(PODS, "prompt-redis")
    with pytest.raises(Refused):
        kube.port_forward("prompt-redis", "prompt-redis-0", 6379)


def test_the_server_reports_its_time(kube):
    """Exact to a second; both clocks of these tests are this machine's."""
    assert abs((datetime.now(UTC) - kube.server_time()).total_seconds()) < 5


def test_a_dry_run_changes_nothing_and_reports_a_conflict(kube):
    """The server says what it would do: 409 for a field of somebody else's, and the object stays as it was."""
    kube.apply(config_map("tried", key="1"))
    assert kube.apply(config_map("tried", key="2"), dry_run=True)["data"] == {"key": "2"}
    assert kube.get(CONFIG_MAPS, "tried", NAMESPACE)["data"] == {"key": "1"}
    assert kube.apply(config_map("new", key="1"), dry_run=True)["metadata"]["name"] == "new"
    assert kube.find(CONFIG_MAPS, "new", NAMESPACE) is None
    somebody_applies(kube, config_map("tried", key="3"))
    with pytest.raises(BadAnswer, match="conflict"):
        kube.apply(config_map("tried", key="4"), dry_run=True)


def test_dry_runs_of_the_other_writes_change_nothing(kube):
    """A deletion, above all: it is asked for before anything of KEDA is removed."""
    made = kube.apply(config_map("kept", key="1"))
    uid = made["metadata"]["uid"]
    kube.delete(CONFIG_MAPS, "kept", NAMESPACE, uid=uid, propagation="Foreground", dry_run=True)
    assert kube.patch(CONFIG_MAPS, "kept", NAMESPACE, {"data": {"key": "2"}}, dry_run=True)["data"] == {"key": "2"}
    kube.create(CONFIG_MAPS, {"metadata": {"name": "never"}}, NAMESPACE, dry_run=True)
    assert kube.get(CONFIG_MAPS, "kept", NAMESPACE)["data"] == {"key": "1"}
    assert "deletionTimestamp" not in kube.get(CONFIG_MAPS, "kept", NAMESPACE)["metadata"]
    assert kube.find(CONFIG_MAPS, "never", NAMESPACE) is None


def test_a_patch_with_an_old_version_is_a_conflict(kube):
    """The version as precondition: what changed meanwhile is not written over."""
    first = kube.apply(config_map("versions", key="1"))
    version = first["metadata"]["resourceVersion"]
    kube.patch(CONFIG_MAPS, "versions", NAMESPACE, {"metadata": {"resourceVersion": version}, "data": {"key": "2"}})
    with pytest.raises(BadAnswer, match="409"):
        kube.patch(CONFIG_MAPS, "versions", NAMESPACE, {"metadata": {"resourceVersion": version}, "data": {"key": "3"}})
    assert kube.get(CONFIG_MAPS, "versions", NAMESPACE)["data"] == {"key": "2"}


def test_apply_is_idempotent(kube):
    """The second apply changes nothing; a third with another value does, and keeps the UID."""
    first = kube.apply(config_map("a", key="1"))
    again = kube.apply(config_map("a", key="1"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    changed = kube.apply(config_map("a", key="2"))
    assert changed["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert changed["metadata"]["uid"] == first["metadata"]["uid"] and changed["data"] == {"key": "2"}


def test_apply_removes_the_fields_that_it_no_longer_names(kube):
    """They are its own; those of others stay."""
    kube.apply(config_map("fields", mine="1", dropped="1"))
    somebody_applies(kube, config_map("fields", theirs="1"))
    assert kube.apply(config_map("fields", mine="1"))["data"] == {"mine": "1", "theirs": "1"}


def test_apply_reports_a_conflict_by_manager_and_field(kube):
    """A field that another manager owns is not taken, unless with force."""
    kube.apply(config_map("conflict", key="1"))
    somebody_applies(kube, config_map("conflict", key="2"))
    with pytest.raises(BadAnswer) as caught:
        kube.apply(config_map("conflict", key="1"))
    assert "somebody" in caught.value.what and ".data.key" in caught.value.what
    assert kube.apply(config_map("conflict", key="1"), force=True)["data"] == {"key": "1"}


def test_create_says_when_it_is_there_already(kube):
    """Unlike apply."""
    kube.create(CONFIG_MAPS, config_map("new"), NAMESPACE)
    with pytest.raises(BadAnswer, match="already exists"):
        kube.create(CONFIG_MAPS, config_map("new"), NAMESPACE)


def test_a_patch_changes_what_it_names_alone(kube):
    """JSON merge patch: None removes; what is missing is Missing."""
    kube.apply(config_map("patched", keep="1", change="1", drop="1"))
    changed = kube.patch(CONFIG_MAPS, "patched", NAMESPACE, {"data": {"change": "2", "drop": None}})
    assert changed["data"] == {"keep": "1", "change": "2"}
    with pytest.raises(Missing):
        kube.patch(CONFIG_MAPS, "missing", NAMESPACE, {"data": {}})


def test_a_deletion_by_uid_spares_another_object(kube):
    """The UID is a precondition; what is missing is fine."""
    uid = kube.apply(config_map("b"))["metadata"]["uid"]
    kube.delete(CONFIG_MAPS, "b", NAMESPACE, uid="00000000-0000-0000-0000-000000000000")
    assert kube.find(CONFIG_MAPS, "b", NAMESPACE) is not None
    kube.delete(CONFIG_MAPS, "b", NAMESPACE, uid=uid)
    kube.delete(CONFIG_MAPS, "b", NAMESPACE, uid=uid)
    assert kube.find(CONFIG_MAPS, "b", NAMESPACE) is None
    with pytest.raises(Missing):
        kube.get(CONFIG_MAPS, "b", NAMESPACE)


def test_what_is_made_again_has_another_uid(kube):
    """So that one can tell that it was away."""
    first = kube.apply(config_map("again"))["metadata"]["uid"]
    kube.delete(CONFIG_MAPS, "again", NAMESPACE)
    assert kube.apply(config_map("again"))["metadata"]["uid"] != first


def test_a_list_is_narrowed_by_namespace_and_labels(kube):
    """Equality and presence of labels."""
    kube.apply(config_map("one", {"app": "x", "extra": ""}))
    kube.apply(config_map("two", {"app": "x"}))
    kube.apply(config_map("three", {"app": "y"}))

    def names(selector):
        return {config_map["metadata"]["name"] for config_map in kube.list(CONFIG_MAPS, NAMESPACE, selector)}

    assert (names("app=x"), names("extra"), names("app=x,extra")) == ({"one", "two"}, {"one"}, {"one"})
    assert {"one", "two", "three"} <= {config_map["metadata"]["name"] for config_map in kube.list(CONFIG_MAPS)}
    assert kube.list(CONFIG_MAPS, "nowhere") == []


def test_a_long_list_comes_in_pages(kube):
    """Every object once, whatever the page's size; a kind that is not served has none."""
    wanted = [f"page-{number}" for number in range(5)]
    for name in wanted:
        kube.apply(config_map(name))
    names = [config_map["metadata"]["name"] for config_map in kube.each(CONFIG_MAPS, NAMESPACE, page_count=2)]
    assert sorted(name for name in names if name.startswith("page-")) == wanted
    kube.patch(CONFIG_MAPS, "page-3", NAMESPACE, {"metadata": {"labels": {"paged": "yes"}}})
    assert [config_map["metadata"]["name"] for config_map in kube.each(CONFIG_MAPS, NAMESPACE, "paged=yes", 1)] == [
        "page-3"
    ]
    assert list(kube.each(Resource("no.test/v1", "No", "nos"), NAMESPACE)) == []


def test_what_an_account_may_do_is_reported(kube):
    """By its own name and groups; not by those of who asks."""
    garbage = ("kube-system", "generic-garbage-collector")
    asked = {"verb": "create", "group": "batch", "resource": "jobs", "namespace": NAMESPACE}
    if isinstance(kube, FakeKube):
        kube.denied_to.add((*garbage, "create", "jobs"))
    assert not kube.may(garbage, asked)
    assert kube.may(garbage, {"verb": "list", "group": "batch", "resource": "jobs"})


def test_an_object_needs_its_namespace(kube):
    """Missing, with the namespace's name."""
    missing = config_map("a")
    missing["metadata"]["namespace"] = "nowhere"
    with pytest.raises(Missing, match="nowhere"):
        kube.apply(missing)


def test_a_kind_that_is_not_served_is_missing(kube):
    """As before KEDA's CRDs are there."""
    with pytest.raises(Missing, match="ScaledThing"):
        kube.resource_of({"apiVersion": "v1", "kind": "ScaledThing"})
    assert kube.resource_of(config_map("a")) == CONFIG_MAPS


def test_a_watch_wakes_up_on_a_change_and_not_without(kube):
    """It begins with what is there, and then says only that something changed."""
    kube.apply(config_map("before"))
    watch = kube.watch([(CONFIG_MAPS, NAMESPACE)])
    try:
        assert watch.wait(5.0)  # what already exists counts as a change
        while watch.wait(0.5):
            pass
        kube.apply(config_map("c"))
        assert watch.wait(5.0)
        while watch.wait(0.5):
            pass
        kube.delete(CONFIG_MAPS, "c", NAMESPACE)
        assert watch.wait(5.0)
    finally:
        watch.close()


def test_a_closed_watch_keeps_no_thread_and_no_connection(real):
    """A redeploy opens many, one after the other."""
    watch = real.watch([(CONFIG_MAPS, "default"), (PODS, "default")])
    assert watch.wait(5.0)
    mine = [connection for connection in threading.enumerate() if connection.name.startswith("watch ")]
    assert len(mine) >= 2
    watch.close()
    for connection in mine:
        connection.join(3.0)
        assert not connection.is_alive()


def test_what_a_person_may_not_do_is_refused_by_name(endpoints):
    """A reader may list pods, and is told which right is missing for Secrets."""
    reader = Kube.connect(settings.current_lab().state / "reader.kubeconfig", None, SECONDS)
    reader.list(PODS)
    with pytest.raises(Refused, match="secrets"):
        reader.list(SECRETS)
    assert reader.can_i("list", "", "pods") and not reader.can_i("list", "", "secrets")


def test_the_double_refuses_in_the_same_words():
    """So that a unit test on it sees what a person sees."""
    fake = FakeKube()
    fake.denied.add(("list", "secrets"))
    with pytest.raises(Refused, match="secrets"):
        fake.list(SECRETS)
    assert fake.can_i("list", "", "pods") and not fake.can_i("list", "", "secrets")


def test_the_rules_of_whoever_may_do_all_say_so(kube):
    """One rule with nothing but stars among them; in a namespace that is not there as well."""
    for namespace in (NAMESPACE, "prompt-keda-no-such-namespace"):
        rules = kube.rules(namespace)
        assert any(rule["verbs"] == rule["apiGroups"] == rule["resources"] == ["*"] for rule in rules), rules


def test_the_rules_of_a_reader_give_no_secrets(endpoints):
    """What they prove, the server allows; what they do not, it denies."""
    reader = Kube.connect(settings.current_lab().state / "reader.kubeconfig", None, SECONDS)
    pods, secret, nodes = Right("list", "", "pods", "default"), Right("get", "", "secrets"), Right("list", "", "nodes")
    assert missing_rights(reader, [pods, secret, nodes]) == [secret, nodes]


@pytest.fixture
def role_for_the_reader(real):
    """A Role in one namespace that names a kind of the whole cluster as well."""
    group, name = "rbac.authorization.k8s.io", {"name": "contract-reads", "namespace": "default"}
    rule = {"apiGroups": [""], "resources": ["nodes", "secrets"], "verbs": ["list"]}
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": name, "rules": [rule]}
    subject = {"kind": "User", "name": "ldap:reader", "apiGroup": group}
    reference = {"kind": "Role", "name": name["name"], "apiGroup": group}
    real.apply(role)
    bound = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": name}
    real.apply({**bound, "roleRef": reference, "subjects": [subject]})
    yield
    real.delete(ROLE_BINDINGS, name["name"], "default")
    real.delete(ROLES, name["name"], "default")


def test_a_right_in_one_namespace_proves_nothing_of_the_cluster(role_for_the_reader):
    """A Role that names nodes gives nothing: they are in no namespace."""
    reader = Kube.connect(settings.current_lab().state / "reader.kubeconfig", None, SECONDS)
    nodes, here = Right("list", "", "nodes"), Right("list", "", "secrets", "default")
    end = time.monotonic() + 10
    while missing_rights(reader, [nodes, here]) != [nodes]:  # the API server hears of a new Role a moment later
        assert time.monotonic() < end


def test_a_login_says_how_long_it_lives(kube):
    """The token of the person oncall: minutes, and the exec plugin fetches the next."""
    life = kube.login_life()
    now = datetime.now(UTC)
    assert life.kind == "token" and life.renews and life.begins <= now + timedelta(seconds=1)
    assert timedelta(0) < life.ends - now <= timedelta(minutes=15)


def test_a_port_forward_to_what_is_not_there_is_reported(real):
    """No such pod: Missing, with pod and port."""
    with pytest.raises(Missing, match="default/nowhere:6379"):
        real.port_forward("default", "nowhere", 6379)


def test_a_reader_may_not_forward_a_port(endpoints):
    """403 is Refused, not Unreachable."""
    reader = Kube.connect(settings.current_lab().state / "reader.kubeconfig", None, SECONDS)
    with pytest.raises(Refused, match="403"):
        reader.port_forward("prompt-redis", "prompt-redis-0", 6379)


def test_a_wrong_password_is_reported_in_one_line(endpoints, tmp_path):
    """The exec plugin's own words reach the person; the password does not."""
    original = settings.current_lab().state / "login-oncall.json"
    (tmp_path / "password").write_text("wrong-password")
    login = {**json.loads(original.read_text()), "password_file": str(tmp_path / "password")}
    (tmp_path / "login.json").write_text(json.dumps(login))
    changed = tmp_path / "kubeconfig"
    changed.write_text(Path(endpoints["kubeconfig"]).read_text().replace(str(original), str(tmp_path / "login.json")))
    with pytest.raises(Refused) as caught:
        Kube.connect(changed, None, SECONDS)
    assert "401" in caught.value.what and "wrong-password" not in caught.value.what
