"""What somebody without the toolkit copies from a runbook: it parses, names what exists, and a diagnosis only reads."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from prompt_keda.components.keda import names
from prompt_keda.core.places import ENVIRONMENTS, RUNBOOKS
from prompt_keda.runbooks.page import DIAGNOSIS
from tests.shell_blocks import (
    EVERYWHERE,
    KUBECTL_READS,
    KUBECTL_WRITES,
    PAGES,
    first_block,
    flags,
    lines,
    plain,
    subcommand,
)

INDEX = (RUNBOOKS / "README.md").read_text()
SET_FIRST = dict(re.findall(r"(\w+)=(\S+)", first_block()))
VARIABLE = re.compile(r"\$\{?([A-Za-z_]+)(:\?)?\}?")
OTHERS = {"kube-system", "next-visit-fan-out", "argocd"}
"""Namespaces that no environment names: Kubernetes' own, and that of the fan-out."""


def by_name(page):
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_its_blocks_are_bash(page):
    """Each page has lines for somebody without the toolkit, below the toolkit's own; bash parses them."""
    assert DIAGNOSIS in [block.section for block in page.blocks]
    for block in page.blocks:
        checked = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True)
        assert checked.returncode == 0 and not checked.stderr, checked.stderr
    text = (RUNBOOKS / f"{page.name}.md").read_text().split("## Diagnosis\n")[1]
    assert text.index("```sh\n") < text.index("```bash\n"), "the toolkit's command comes first"


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_no_command_for_people_hides_in_its_prose(page):
    """It could not be copied, and nothing would parse it."""
    for section, text in page.sections.items():
        assert not re.search(r"`(kubectl|redis-cli|vault|openssl) ", text), section


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_its_diagnosis_only_reads(page):
    """Whatever is copied from it."""
    for line in lines(page):
        assert line.section != DIAGNOSIS or line.only_reads, line.text


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_its_kubectl_knows_subcommand_and_flags(page):
    """Those of the tables of tests/shell_blocks.py, which a stack test holds against kubectl itself."""
    known = {**KUBECTL_READS, **KUBECTL_WRITES, "exec": set()}
    for words in kubectls(page):
        name = subcommand(words)
        assert name in known and flags(words) <= known[name] | EVERYWHERE, words


def kubectls(page):
    """Return the words behind each kubectl of a page."""
    return [words[1:] for line in lines(page) for words in line.commands if words[0] == "kubectl"]


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_its_names_are_those_of_keda_and_the_environments(page):
    """What is written out is the same in every environment that is shipped."""
    documents = [yaml.safe_load((ENVIRONMENTS / f"{name}.yaml").read_text()) for name in ("dev", "prod", "local")]
    keda = {document["keda"]["namespace"] for document in documents}
    redis = {document["redis"].get("namespace", "prompt-redis") for document in documents}
    services = {document["redis"].get("service", "prompt-redis") for document in documents}
    assert (len(keda), len(redis), len(services)) == (1, 1, 1)
    known = {
        "namespace": keda | {"kube-system", "$NAMESPACE"},
        "crd": set(names.NEEDED_CRDS),
        "lease": {names.LEASE},
        "secret": {names.CERTIFICATES},
        "apiservice": {names.API_SERVICE, "${NAME:?}"},
        "validatingwebhookconfiguration": {names.WEBHOOK_CONFIGURATION},
        "deployment": {names.OPERATOR, "coredns", "${NAME:?}"},
        "scaledjob": {"$SCALED_JOB", "${SCALED_JOB:?}"},
        "pod": {f"{service}-0" for service in services},
        "job": {"${JOB:?}"},
        "cronjob": {"${NAME:?}"},
    }
    for words in kubectls(page):
        if "-n" in words:
            assert words[words.index("-n") + 1] in keda | redis | OTHERS | {
                "$NAMESPACE",
                "${NAMESPACE:?}",
                "${THERE:?}",
            }
        own = words[: words.index("--")] if "--" in words else words
        bare = [part for word in plain(own) for part in word.split("/")]
        for kind, allowed in known.items():
            if kind in bare:
                rest = bare[bare.index(kind) + 1 :]
                assert set(rest if kind == "crd" else rest[:1]) <= allowed, words
    for line in lines(page):
        assert names.PART_OF.split("=")[0] not in line.text or names.PART_OF in line.text
        assert "metadata.name=" not in line.text or f"metadata.name={names.LEASE}" in line.text


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_a_line_stops_where_a_name_is_not_set(page):
    """The first block sets some; of all others the shell says that they are missing. So does a line that writes, of any."""
    for line in lines(page):
        for name, is_strict in VARIABLE.findall(line.text):
            assert is_strict or (name in SET_FIRST and line.only_reads), line.text


def test_the_first_block_sets_the_names_of_production():
    """Namespace, ScaledJob, stream and group of its instrument."""
    instrument = yaml.safe_load((ENVIRONMENTS / "prod.yaml").read_text())["instruments"][0]
    keys = {"NAMESPACE": "namespace", "SCALED_JOB": "scaled_job", "STREAM": "stream", "GROUP": "consumer_group"}
    assert {name: instrument[key] for name, key in keys.items()} == SET_FIRST


def test_the_index_lists_every_page_by_its_symptom():
    """In the order of their names."""
    assert re.findall(r"^\| (.+) \| \[([\w-]+)\]\(\2\.md\) \|$", INDEX, re.MULTILINE) == [
        (page.title, page.name) for page in PAGES
    ]
