"""Notes which rights each request to the double of an API server needs."""

from __future__ import annotations

from prompt_keda.core.rights import Right

VERBS = {
    "get": ("get",),
    "find": ("get",),
    "list": ("list",),
    "names": ("list",),
    "each": ("list",),
    "create": ("create",),
    "patch": ("patch",),
    "delete": ("delete",),
}
AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"


class Recorder:
    """Passes everything on to a `FakeKube`; ``asked`` holds the rights that this needs. Discovery needs none."""

    def __init__(self, kube):
        self._kube = kube
        self.asked = set()

    def __getattr__(self, name):
        there = getattr(self._kube, name)
        verbs = VERBS.get(name)
        if verbs is None:
            return there

        def call(resource, *arguments, **options):
            target = arguments[0] if arguments else options.get("name", options.get("namespace"))
            if name in ("list", "names", "each"):
                self._note(verbs, resource, options.get("namespace", target), "")
            elif name == "create":
                where = arguments[1] if len(arguments) > 1 else options.get("namespace")
                self._note(verbs, resource, where, "")
            else:
                where = arguments[1] if len(arguments) > 1 else options.get("namespace")
                self._note(verbs, resource, where, target)
            return there(resource, *arguments, **options)

        return call

    def apply(self, obj, force=False, dry_run=False, field_manager="prompt-keda"):
        resource, metadata = self._kube.resource_of(obj), obj["metadata"]
        self._note(("patch",), resource, metadata.get("namespace"), metadata["name"])
        self._note(("create",), resource, metadata.get("namespace"), "")
        return self._kube.apply(obj, force, dry_run)

    def watch(self, targets):
        self.note_watch(targets)
        return self._kube.watch(targets)

    def note_watch(self, targets):
        for resource, namespace in targets:
            self._note(("watch",), resource, namespace, "")

    def port_forward(self, namespace, pod, port):
        for verb in ("get", "create"):
            self.asked.add(Right(verb, "", "pods", namespace, "", "portforward"))

    def page(self, namespace, pod, port, path):
        self.port_forward(namespace, pod, port)
        return self._kube.page(namespace, pod, port, path)

    def logs(self, namespace, pod, *arguments, **options):
        self.asked.add(Right("get", "", "pods", namespace, "", "log"))
        return self._kube.logs(namespace, pod, *arguments, **options)

    def may(self, *arguments):
        self.asked.add(Right("create", AUTHORIZATION, "subjectaccessreviews"))
        return self._kube.may(*arguments)

    def whoami(self):
        self.asked.add(Right("create", AUTHENTICATION, "selfsubjectreviews"))
        return self._kube.whoami()

    def rules(self, namespace):
        self.asked.add(Right("create", AUTHORIZATION, "selfsubjectrulesreviews"))
        return self._kube.rules(namespace)

    def can_i(self, *arguments):
        self.asked.add(Right("create", AUTHORIZATION, "selfsubjectaccessreviews"))
        return self._kube.can_i(*arguments)

    def _note(self, verbs, resource, namespace, name):
        where = (namespace or "") if resource.namespaced else ""
        self.asked |= {Right(verb, resource.group, resource.plural, where, name or "") for verb in verbs}
