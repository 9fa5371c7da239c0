"""Results of checks as JUnit XML, for CI systems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from prompt_keda.core.check import CheckResult, Verdict
from prompt_keda.core.untrusted import one_line


def to_xml(results: Sequence[CheckResult]) -> str:
    """Return a test suite: FAIL is a failure, UNKNOWN an error, SKIPPED skipped."""
    count = {verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict}
    suite = ElementTree.Element(
        "testsuite",
        name="check-deps",
        tests=str(len(results)),
        failures=str(count[Verdict.FAIL]),
        errors=str(count[Verdict.UNKNOWN]),
        skipped=str(count[Verdict.SKIPPED]),
    )
    tags = {Verdict.FAIL: "failure", Verdict.UNKNOWN: "error", Verdict.SKIPPED: "skipped"}
    for result in results:
        category, _, name = result.id.partition("/")
        case = ElementTree.SubElement(suite, "testcase", classname=category, name=name, time=f"{result.duration_s:.3f}")
        if result.verdict in tags:
            message = one_line(result.observed)
            ElementTree.SubElement(case, tags[result.verdict], message=message).text = one_line(result.fix)
        elif result.verdict is Verdict.WARN:
            ElementTree.SubElement(
                case, "system-out"
            ).text = f"warning: {one_line(result.observed)}\n{one_line(result.fix)}"
    return ElementTree.tostring(suite, encoding="unicode") + "\n"


def merge(files: Sequence[Path]) -> str:
    """Return one document with the test suites of several, as pytest writes them."""
    merged = ElementTree.Element("testsuites")
    for file in files:
        merged.extend(ElementTree.parse(file).getroot())  # noqa: S314  pytest has just written it
    return ElementTree.tostring(merged, encoding="unicode") + "\n"
