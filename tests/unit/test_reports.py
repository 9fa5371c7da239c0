"""Reports for other programs."""

from __future__ import annotations

from xml.etree import ElementTree

from prompt_keda.report import as_junit


def test_junit_of_several_runs_becomes_one_document(tmp_path):
    """Every suite with its cases, as pytest wrote them."""
    for name, case in (("a", "<testcase name='1'/>"), ("b", "<testcase name='2'><failure/></testcase>")):
        (tmp_path / f"{name}.xml").write_text(f"<testsuites><testsuite name='{name}'>{case}</testsuite></testsuites>")
    merged = ElementTree.fromstring(as_junit.merge(sorted(tmp_path.glob("*.xml"))))
    assert [one.get("name") for one in merged] == ["a", "b"] and len(merged.findall(".//failure")) == 1
