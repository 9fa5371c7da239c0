"""The site's pages: one a check, one a fault, and every link leads to one of them. Sphinx itself runs in the test run."""

from __future__ import annotations

import posixpath
import re

import pytest

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.lab import docs_site
from prompt_keda.lab.docs_site import LINK, PARTS
from prompt_keda.lab.drills.drill import runbook_of
from prompt_keda.lab.faults import ALL_FAULTS
from tests.unit.test_house_rules import ROOT


@pytest.fixture(scope="module")
def site():
    return docs_site.pages()


def test_each_check_and_fault_has_a_page_with_its_command(site):
    """Made from what is kept once; each leads to what detects it, and to what answers it."""
    for check in ALL_CHECKS:
        page = site[f"docs/checks/{check.id.replace('/', '-')}.md"]
        assert f"# {check.id}\n" in page and f"--only {check.id}\n" in page and check.title in page
    for fault in ALL_FAULTS:
        page = site[f"docs/faults/{fault.id.replace('/', '-')}.md"]
        assert f"./run fault {fault.id} --revert" in page and f"runbooks/{runbook_of(fault)}.md" in page


def test_every_link_leads_to_a_page(site):
    """Sphinx sees the same; here it takes no time."""
    for name, text in site.items():
        for target in LINK.findall(text) if name.endswith(".md") else ():
            path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target.partition("#")[0]))
            assert path in site, f"{name}: {target}"


def test_every_page_is_listed(site):
    """In the menu, or by a page of the menu: nobody finds what only the search knows."""
    listed = {name for names in PARTS.values() for name in names}
    for name in (name.removesuffix(".md") for name in site if name.endswith(".md") and name != "index.md"):
        folder, _, own = name.rpartition("/")
        index = site.get(f"{folder}/index.md", "")
        assert name in listed or f"({own}.md)" in index or re.search(rf"^{re.escape(own)}$", index, re.MULTILINE), name


def test_the_readme_fits_two_screens():
    """What it is, two commands, what one sees, an incident's commands, links."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
