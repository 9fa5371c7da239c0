"""What Phalanx's app of apps says of an Application: which chart Argo CD renders, with which files and parameters.

Nothing of it is guessed: the chart ``environments/`` is rendered as Argo CD does, and its Application is read. What its
source says and is not known here is refused, because Argo CD would render something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompt_keda.core.errors import BadAnswer, Refusal
from prompt_keda.core.untrusted import one_line
from prompt_keda.delivery import go_yaml
from prompt_keda.delivery.helm_program import HelmProgram

APP_OF_APPS = "environments"
VALUES = re.compile(r"values-([A-Za-z0-9._-]+)\.yaml")
BEFORE_A_COMMA = re.compile(r"(?<!\\),")
KNOWN_IN_SOURCE = {"path", "repoURL", "targetRevision", "helm"}
KNOWN_IN_HELM = {"parameters", "valueFiles", "releaseName", "ignoreMissingValueFiles", "version"}
OVERRIDES = (".argocd-source.yaml", ".argocd-source-{name}.yaml")
"""Files beside a chart by which Argo CD would change the Application's source."""


@dataclass(frozen=True)
class Application:
    """What Argo CD renders, and where it puts it.

    Parameters
    ----------
    path
        Of its chart, from the top of the checkout.
    parameters
        Arguments of Helm, in the order of the Application.
    """

    name: str
    namespace: str
    path: str
    target_revision: str
    release: str
    value_files: tuple[str, ...]
    parameters: tuple[str, ...]
    ignores_missing_files: bool = False

    def arguments(self, tree: Path, kube_version: str) -> list[str]:
        """Return the arguments with which Argo CD calls ``helm template`` (util/helm/cmd.go and util/helm/helm.go).

        Raises
        ------
        Refusal
            When a value file is missing, or is not in the checkout.
        """
        words = ["--name-template", self.release, "--namespace", self.namespace, "--kube-version", kube_version]
        words += self.parameters
        for file in self.value_files:
            path = self._value_file(tree, file)
            if path is not None:
                words += ["--values", str(path)]
        return [*words, "--include-crds"]

    def _value_file(self, tree: Path, file: str) -> Path | None:
        base = tree if file.startswith("/") else tree / self.path
        path = (base / file.lstrip("/")).resolve()
        if "://" in file or not path.is_relative_to(tree):
            raise Refusal(f"Application {self.name}: the value file {one_line(file)} is not in the checkout")
        if path.is_file():
            return path
        if self.ignores_missing_files:
            return None
        raise Refusal(f"Application {self.name}: there is no value file {self.path}/{one_line(file)}")


def known_environments(tree: Path) -> list[str]:
    """Return the environments that Phalanx has values for."""
    return sorted(
        match[1] for path in (tree / APP_OF_APPS).glob("values-*.yaml") if (match := VALUES.fullmatch(path.name))
    )


def read_applications(
    helm: HelmProgram, tree: Path, environment: str, revision: str, kube_version: str, names: Sequence[str]
) -> list[Application]:
    """Return the Applications of these names, as Phalanx's app of apps makes them for one of its environments.

    Parameters
    ----------
    tree
        The files of one commit.
    environment
        As Phalanx calls it.
    revision
        The targetRevision with which the app of apps is installed; empty: as its values say.

    Raises
    ------
    Refusal
        When Phalanx does not know the environment, or has no such Application in it, or when the source of one says
        something that is not known here.
    ClientError
        When the app of apps cannot be rendered.
    """
    chart, known = tree / APP_OF_APPS, known_environments(tree)
    if not (chart / "Chart.yaml").is_file():
        raise Refusal(
            f"the commit has no {APP_OF_APPS}/Chart.yaml: this is no Phalanx",
            "Name a clone of Phalanx: --phalanx CHECKOUT",
        )
    if environment not in known:
        raise Refusal(
            f"Phalanx knows no environment {environment!r}",
            f"Correct phalanx.environment. It knows: {', '.join(map(one_line, known)) or 'none'}.",
        )
    arguments = ["--name-template", "app-of-apps", "--namespace", "argocd", "--kube-version", kube_version]
    arguments += ["--set-string", f"targetRevision={_escaped(revision)}"] if revision else []
    arguments += ["--values", str(chart / "values.yaml"), "--values", str(chart / f"values-{environment}.yaml")]
    documents = go_yaml.read_documents(helm.template(chart, arguments), APP_OF_APPS)
    made = {document["metadata"]["name"]: document for document in documents if _is_application(document)}
    for name in names:
        if name not in made:
            raise Refusal(
                f"Phalanx has no Application {name} in environment {environment}",
                f"Is it enabled in {APP_OF_APPS}/values-{environment}.yaml? There are: {', '.join(sorted(map(one_line, made)))}.",
            )
    return [_application(made[name], tree) for name in names]


def _is_application(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and document.get("kind") == "Application"
        and isinstance(document.get("metadata"), dict)
        and isinstance(document["metadata"].get("name"), str)
    )


def _application(made: Mapping[str, Any], tree: Path) -> Application:
    name = made["metadata"]["name"]
    try:
        spec, source = made["spec"], made["spec"]["source"]
        helm = source.get("helm") or {}
        odd = {*source} - KNOWN_IN_SOURCE | {*helm} - KNOWN_IN_HELM
        if odd:
            raise Refusal(
                f"Application {name} says {', '.join(sorted(map(one_line, odd)))}, which prepare does not know",
                "Argo CD would render something else: report it to the authors of this toolkit.",
            )
        application = Application(
            name,
            _text(spec["destination"]["namespace"]),
            _text(source["path"]),
            _text(source.get("targetRevision") or "HEAD"),
            _text(helm.get("releaseName") or name),
            tuple(map(_text, helm.get("valueFiles") or ())),
            tuple(part for parameter in helm.get("parameters") or () for part in _parameter(parameter)),
            helm.get("ignoreMissingValueFiles") is True,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(
            "helm", APP_OF_APPS, f"Application {one_line(name)} has not the form of one: {error!r}"
        ) from error
    chart = (tree / application.path).resolve()
    if not chart.is_relative_to(tree) or not (chart / "Chart.yaml").is_file():
        raise Refusal(f"Application {name}: there is no chart in {one_line(application.path)}")
    for file in (pattern.format(name=name) for pattern in OVERRIDES):
        if (chart / file).exists():
            raise Refusal(
                f"{application.path}/{file} changes the Application's source, which prepare does not know",
                "Take it away.",
            )
    return application


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or value.startswith("-") or one_line(value) != value:
        raise TypeError(f"{value!r} is no plain text")
    return value


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, str]:
    name, value = _text(parameter["name"]), parameter.get("value", "")
    if not isinstance(value, str) or "$" in value:  # Argo CD puts its own variables there
        raise TypeError(f"the value of parameter {name} is no plain text")
    return ("--set-string" if parameter.get("forceString") is True else "--set", f"{name}={_escaped(value)}")


def _escaped(value: str) -> str:
    """Return a parameter's value as Argo CD hands it to Helm: a comma would end it, but in a list in braces."""
    return value if value.startswith("{") and value.endswith("}") else BEFORE_A_COMMA.sub(r"\,", value)
