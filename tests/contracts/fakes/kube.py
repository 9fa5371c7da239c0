"""An API server in memory: objects, UIDs, field managers, owners and watches. No validation, no controllers."""

from __future__ import annotations

import copy
import threading
import uuid
from datetime import UTC, datetime, timedelta

from prompt_keda.clients.kube.errors import FIXES
from prompt_keda.clients.kube.expiry import LoginLife
from prompt_keda.clients.kube.resources import CONFIG_MAPS, JOBS, NAMESPACES, PODS, SECRETS, Resource
from prompt_keda.core.errors import BadAnswer, Missing, Refused, Unreachable

ADDRESS = "https://fake.test:6443"


class FakeKube:
    """Behaves as `Kube` does, for the kinds in ``served``.

    ``denied`` holds (verb, plural) pairs that are answered with 403; ``denied_to`` the rights that a service account
    lacks: (namespace, name, verb, plural).
    """

    def __init__(self, served=(NAMESPACES, CONFIG_MAPS, SECRETS, JOBS, PODS)):
        self.address = ADDRESS
        self.ca_sha256 = "0" * 64
        self.served = {(resource.api_version, resource.kind): resource for resource in served}
        self.denied = set()
        self.policies = set()
        self.denial = "ValidatingAdmissionPolicy 'no' denied request: not here"
        made = datetime.now(UTC).replace(microsecond=0)
        self.life = LoginLife("token", made + timedelta(minutes=15), made, renews=True)
        self.denied_to = set()
        self.pages = {}  # (namespace, pod, port, path) → text
        self.signals = []
        self._objects = {}  # (Resource, namespace or None, name) → object
        self._owners = {}  # the same → field path → manager
        self._version = 0
        self._expired_count = 0

    def get(self, resource, name, namespace=None):
        self._allow("get", resource)
        return copy.deepcopy(self._have(resource, name, namespace))

    def find(self, resource, name, namespace=None):
        try:
            return self.get(resource, name, namespace)
        except Missing:
            return None

    def list(self, resource, namespace=None, label_selector="", field_selector=""):
        self._allow("list", resource)
        return [
            copy.deepcopy(obj)
            for (kind, where, _), obj in sorted(self._objects.items(), key=lambda item: item[0][2])
            if kind == resource and namespace in (None, where) and _fits(obj, label_selector)
            if _has_fields(obj, field_selector)
        ]

    def names(self, resource, namespace=None, label_selector=""):
        return [{"metadata": obj["metadata"]} for obj in self.list(resource, namespace, label_selector)]

    def each(self, resource, namespace=None, label_selector="", page_count=250, field_selector=""):
        """Yield what is there at the first page; a page that is asked for after `expire_pages` is too old (410)."""
        objects, began = self.list(resource, namespace, label_selector, field_selector), self._expired_count
        for number, obj in enumerate(objects):
            if number and number % page_count == 0 and self._expired_count > began:
                raise BadAnswer("Kubernetes", ADDRESS, "410 on GET: the provided continue parameter is too old")
            yield obj

    def expire_pages(self):
        """Forget the state of every list that has begun, as a compaction of etcd does."""
        self._expired_count += 1

    def create(self, resource, body, namespace=None, dry_run=False):
        self._admit("create", resource, namespace, body["metadata"].get("name", ""))
        if dry_run:
            return copy.deepcopy(body)
        self._allow("create", resource)
        key = self._key(resource, body["metadata"]["name"], namespace)
        if key in self._objects:
            raise BadAnswer("Kubernetes", ADDRESS, f"409 on POST: {resource.plural} {key[2]!r} already exists")
        return self._store(key, body)

    def apply(self, obj, force=False, dry_run=False, field_manager="prompt-keda"):
        """Apply as ``field_manager``; a field of another one that differs is a conflict unless ``force``."""
        if dry_run:
            copied = copy.deepcopy(self)
            return FakeKube.apply(
                copied, obj, force, field_manager=field_manager
            )  # an instance may have another in a test
        resource, metadata = self.resource_of(obj), obj["metadata"]
        there = self._key(resource, metadata["name"], metadata.get("namespace"), exists=True) in self._objects
        self._admit("update" if there else "create", resource, metadata.get("namespace"), metadata["name"])
        self._allow("patch", resource)
        key = self._key(resource, metadata["name"], metadata.get("namespace"))
        wanted = {path: value for path, value in _leaves(obj) if path[0] not in ("apiVersion", "kind")}
        before = dict(_leaves(self._objects.get(key, {})))
        owners = self._owners.get(key, {})
        taken = [
            path for path in wanted if owners.get(path, field_manager) != field_manager and before[path] != wanted[path]
        ]
        if taken and not force:
            raise BadAnswer("Kubernetes", ADDRESS, f"409 on PATCH: {_conflict(owners, taken)}")
        given_up = [path for path, owner in owners.items() if owner == field_manager and path not in wanted]
        merged = _merge(self._objects.get(key, {}), obj)
        for path in given_up:
            _remove(merged, path)
        kept = {path: owner for path, owner in owners.items() if path not in given_up}
        free = [path for path in wanted if force or path not in kept]
        self._owners[key] = {**kept, **dict.fromkeys(free, field_manager)}
        return self._store(key, merged)

    def patch(self, resource, name, namespace, body, subresource="", dry_run=False):
        self._admit("update", resource, namespace, name)
        if dry_run:
            return FakeKube.patch(copy.deepcopy(self), resource, name, namespace, body)
        self._allow("patch", resource)
        before = self._have(resource, name, namespace)
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted not in (None, before["metadata"]["resourceVersion"]):
            raise BadAnswer("Kubernetes", ADDRESS, "409 on PATCH: the object has been modified")
        return self._store(self._key(resource, name, namespace), _merge(before, body))

    def delete(self, resource, name, namespace=None, uid=None, propagation="Background", dry_run=False):
        self._admit("delete", resource, namespace, name)
        if dry_run:
            return FakeKube.delete(copy.deepcopy(self), resource, name, namespace, uid, propagation)
        self._allow("delete", resource)
        key = self._key(resource, name, namespace, exists=True)
        current = self._objects.get(key)
        if current is None or (uid and current["metadata"]["uid"] != uid):
            return
        del self._objects[key]
        self._owners.pop(key, None)
        self._tell(key)
        for other, obj in list(self._objects.items()):
            owned = any(ref["uid"] == current["metadata"]["uid"] for ref in obj["metadata"].get("ownerReferences", []))
            if (resource == NAMESPACES and other[1] == name) or (owned and propagation != "Orphan"):
                self.delete(other[0], other[2], other[1])

    def resource_of(self, obj):
        try:
            return self.served[obj["apiVersion"], obj["kind"]]
        except KeyError:
            message = f"the kind {obj['kind']} of {obj['apiVersion']} is not served"
            raise Missing("Kubernetes", ADDRESS, message) from None

    def watch(self, targets):
        made = FakeWatch(targets)
        if any(_concerns(targets, key) for key in self._objects):
            made.changed.set()  # a real watch begins with what is there
        self.signals.append(made)
        return made

    def can_i(self, verb, group, plural, namespace="", name="", subresource=""):
        return (verb, plural) not in self.denied

    def rules(self, namespace):
        """Everything, or nothing that would prove anything: then `can_i` tells."""
        return [] if self.denied else [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]

    def login_life(self):
        return self.life

    def may(self, account, asked):
        return (*account, asked["verb"], asked["resource"]) not in self.denied_to

    def page(self, namespace, pod, port, path):
        if ("get", "pods/portforward") in self.denied:
            raise Refused("Kubernetes", ADDRESS, "port-forward: HTTP 403")
        self._have(PODS, pod, namespace)
        if all(page[:3] != (namespace, pod, port) for page in self.pages):
            raise Unreachable("Kubernetes", f"{namespace}/{pod}:{port}", f"{path}: the connection broke")
        if (namespace, pod, port, path) not in self.pages:
            raise BadAnswer("Kubernetes", ADDRESS, f"{path}: HTTP 404")
        return self.pages[namespace, pod, port, path]

    def version(self):
        return "v1.35.4"

    def not_ready(self):
        return ()

    def server_time(self):
        return datetime.now(UTC).replace(microsecond=0)

    def whoami(self):
        return {"username": "ldap:oncall", "groups": ["ldap:prompt-keda-operators"]}

    def _admit(self, operation, resource, namespace, name):
        """Deny what an admission policy denies: ``policies`` holds (operation, plural, namespace or None)."""
        if (operation, resource.plural, namespace) in self.policies:
            message = f"422 on {resource.plural}/{name}: {self.denial}"
            raise BadAnswer("Kubernetes", ADDRESS, message)

    def _allow(self, verb, resource):
        if (verb, resource.plural) in self.denied:
            raise Refused("Kubernetes", ADDRESS, f"403: cannot {verb} resource {resource.plural!r}", FIXES[403])

    def _have(self, resource, name, namespace):
        try:
            return self._objects[self._key(resource, name, namespace, exists=True)]
        except KeyError:
            raise Missing("Kubernetes", ADDRESS, f"404: {resource.plural} {name!r} not found") from None

    def _key(self, resource, name, namespace, exists=False):
        where = namespace if resource.namespaced else None
        if not exists and resource.namespaced and (NAMESPACES, None, where) not in self._objects:
            raise Missing("Kubernetes", ADDRESS, f"404: namespaces {where!r} not found")
        return resource, where, name

    def _store(self, key, obj):
        resource, namespace, name = key
        before = self._objects.get(key, {})
        made = copy.deepcopy({**obj, "apiVersion": resource.api_version, "kind": resource.kind})
        metadata = made["metadata"]
        if namespace:
            metadata["namespace"] = namespace
        metadata["name"], metadata["uid"] = name, before.get("metadata", {}).get("uid") or str(uuid.uuid4())
        metadata["resourceVersion"] = before.get("metadata", {}).get("resourceVersion", "")
        metadata.setdefault("creationTimestamp", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        if made != before:
            self._version += 1
            metadata["resourceVersion"] = str(self._version)
            self._objects[key] = made
            self._tell(key)
        return copy.deepcopy(made)

    def _tell(self, key):
        for signal in self.signals:
            if _concerns(signal.targets, key):
                signal.changed.set()


class FakeWatch:
    """A `prompt_keda.core.waiting.Signal`."""

    def __init__(self, targets):
        self.targets = list(targets)
        self.changed = threading.Event()

    def wait(self, timeout_s):
        changed = self.changed.wait(timeout_s)
        self.changed.clear()
        return changed

    def close(self):
        self.targets = []


def _concerns(targets, key) -> bool:
    resource: Resource = key[0]
    return any(resource == kind and namespace in (None, key[1]) for kind, namespace in targets)


def _fits(obj, selector) -> bool:
    labels = obj["metadata"].get("labels") or {}
    for part in filter(None, selector.split(",")):
        name, equals, value = part.partition("=")
        if name not in labels or (equals and labels[name] != value.removeprefix("=")):
            return False
    return True


def _has_fields(obj, selector) -> bool:
    """Return whether an object has these fields: an Event's alone can be selected by more than name and namespace."""
    for part in filter(None, selector.split(",")):
        path, _, value = part.partition("=")
        inside = obj
        for key in path.split("."):
            inside = inside.get(key) or {}
        if inside != value:
            return False
    return True


def _conflict(owners, paths) -> str:
    """Return it as the server does, in one line (apimachinery, managedfields/internal/conflict.go)."""
    fields = {}
    for path in paths:
        fields.setdefault(owners[path], []).append(f".{'.'.join(path)}")
    if len(paths) == 1:
        return "".join(
            f'Apply failed with 1 conflict: conflict with "{name}" using v1: {x}' for name, (x,) in fields.items()
        )
    parts = [f'conflicts with "{name}" using v1: {" ".join(f"- {x}" for x in value)}' for name, value in fields.items()]
    return f"Apply failed with {len(paths)} conflicts: {' '.join(parts)}"


def _leaves(obj, path=()):
    for key, value in obj.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        elif (*path, key)[:1] != ("metadata",) or key not in ("name", "namespace", "uid", "resourceVersion"):
            yield (*path, key), value


def _merge(old, new):
    """JSON merge patch, RFC 7386: None removes a key; a list is replaced."""
    made = dict(old)
    for key, value in new.items():
        if value is None:
            made.pop(key, None)
        elif isinstance(value, dict):
            made[key] = _merge(made[key] if isinstance(made.get(key), dict) else {}, value)
        else:
            made[key] = value
    return made


def _remove(obj, path):
    for key in path[:-1]:
        obj[key] = dict(obj.get(key) or {})
        obj = obj[key]
    obj.pop(path[-1], None)
