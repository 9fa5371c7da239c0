"""The pages of docs/ and runbooks/ as a site with search: laid out here, built by Sphinx in an environment of its own.

A page for each check and each fault is made from the sections of docs/checks.md and the rows of docs/faults.md: nothing is
kept twice. Sphinx's warnings are errors.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from prompt_keda.components.catalogue import ALL_CHECKS
from prompt_keda.core.errors import LabError
from prompt_keda.core.event import Event, EventKind, Observer
from prompt_keda.core.places import CODE
from prompt_keda.lab.drills.drill import runbook_of
from prompt_keda.lab.faults import ALL_FAULTS
from prompt_keda.lab.faults.fault import Fault
from prompt_keda.report.parts import Nothing
from prompt_keda.report.progress import ProgressPrinter
from prompt_keda.report.result import Result

SITE = CODE / ".site"
VENV = CODE / ".venv-docs"
LOCK = CODE / "requirements-docs.lock"
SETTINGS = CODE / "docs" / "site"
TAKEN = (
    "*.md",
    "docs/**/*.md",
    "docs/*.svg",
    "docs/*.png",
    "runbooks/*.md",
    "environments/*.md",
    "environments/**/*.yaml",
    "alerts/*",
)
PARTS: Mapping[str, tuple[str, ...]] = {
    "In an incident": (
        "runbooks/index",
        "docs/checks/index",
        "alerts/README",
        "docs/watch",
        "docs/by-hand",
        "docs/failure-modes",
    ),
    "To understand": (
        "docs/domain",
        "docs/delivery",
        "docs/captures/index",
        "docs/capacity",
        "docs/output",
        "environments/README",
        "docs/acceptance",
    ),
    "To practise": (
        "docs/local-stack",
        "docs/kind",
        "docs/faults/index",
        "docs/drills",
        "docs/chaos",
        "docs/recovery",
        "docs/recovery-vcluster",
        "docs/found",
    ),
    "To develop": (
        "ARCHITECTURE",
        "CONTRIBUTING",
        "STYLE",
        "docs/decisions/index",
        "docs/benchmarks",
        "docs/licences",
        "CHANGELOG",
    ),
}
"""Part of the menu → its pages."""
PLACES = {
    "README.md": "index.md",
    "runbooks/README.md": "runbooks/index.md",
    "docs/checks.md": "docs/checks/index.md",
    "docs/faults.md": "docs/faults/index.md",
}
"""A page of the clone → where it is on the site."""
ALONE = "---\norphan: true\n---\n"
"""Of a page that is listed by another one and not in the menu: with 200 more the menu is of no use, and takes minutes."""
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)]+)\)")


def build(observer: Observer) -> Result[Nothing]:
    """Build the site into .site/, from scratch.

    Raises
    ------
    LabError
        When this is no clone, the packages of requirements-docs.lock cannot be installed, or Sphinx warns; with what it said.
    """
    if not LOCK.exists():
        raise LabError("the pages are not shipped with the package", "Run this in a clone.")
    _ensure_sphinx(observer)
    with TemporaryDirectory(prefix="prompt-keda-docs-") as folder:
        source = Path(folder)
        for name, text in pages().items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
        shutil.rmtree(SITE, ignore_errors=True)
        sphinx: list[str | Path] = [VENV / "bin" / "python", "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "2"]
        _run([*sphinx, "-d", source / ".doctrees", "-c", SETTINGS, source, SITE], "the site")
    observer(Event(EventKind.FINISHED, "docs", "done", f"{sum(1 for _ in SITE.rglob('*.html'))} pages in {SITE.name}/"))
    return Result("docs", "", str(SITE / "index.html"), Nothing())


def pages() -> dict[str, str | bytes]:
    """Return each file of the site's source by its path, with links that lead to pages of the site."""
    texts: dict[str, str | bytes] = {}
    for pattern in TAKEN:
        for path in sorted(CODE.glob(pattern)):
            name = str(path.relative_to(CODE))
            texts[name] = path.read_bytes() if path.suffix in (".svg", ".png") else path.read_text()
    menu = (_toctree(names, ":hidden:", f":caption: {title}") for title, names in PARTS.items())
    texts["index.md"] = "\n".join([str(texts.pop("README.md")), *menu])
    texts |= {
        name: _linked(name, text) for name, text in texts.items() if isinstance(text, str) and name.endswith(".md")
    }
    texts |= dict(_checks(str(texts.pop("docs/checks.md"))))
    texts |= dict(_faults(str(texts.pop("docs/faults.md"))))
    texts["docs/captures/index.md"] = _captures()
    texts["runbooks/index.md"] = (
        str(texts.pop("runbooks/README.md")) + "\n" + _toctree(_inside("runbooks", texts), ":hidden:")
    )
    texts["docs/decisions/index.md"] = "# Decisions\n" + _toctree(_inside("docs/decisions", texts), ":maxdepth: 1")
    return texts


def _linked(name: str, text: str) -> str:
    """Let a page's links lead to where pages of the site are; a diagram that only a code host draws stays as its text."""
    folder = posixpath.dirname(name)

    def new(match: re.Match[str]) -> str:
        target, hash_, anchor = match[1].partition("#")
        place = posixpath.normpath(posixpath.join(folder, target)) + "/index.md" * target.endswith("/")
        return f"]({posixpath.relpath(PLACES.get(place, place), folder or '.')}{hash_}{anchor})"

    return LINK.sub(new, text.replace("```mermaid", "```text"))


def _deeper(text: str) -> str:
    """Let the links of a page hold one folder further down."""
    return LINK.sub(r"](../\1)", text)


def _toctree(names: Sequence[str], *options: str) -> str:
    return "\n".join(["```{toctree}", *options, "", *names, "```", ""])


def _inside(folder: str, names: Iterable[str]) -> list[str]:
    return sorted(Path(name).stem for name in names if posixpath.dirname(name) == folder)


def _file(id_: str) -> str:
    return id_.replace("/", "-")


def _checks(text: str) -> Iterator[tuple[str, str]]:
    """Yield a page for each check, and one that lists them by category, from the sections of docs/checks.md."""
    head, *categories = re.split(r"^## ", _deeper(text), flags=re.MULTILINE)
    faults_of = {check.id: [fault for fault in ALL_FAULTS if check.id in fault.expected_checks] for check in ALL_CHECKS}
    listed = [head]
    for category in categories:
        before, *sections = re.split(r"^### ", category, flags=re.MULTILINE)
        listed.append(f"## {before}")
        rows = []
        for section in sections:
            id_, _, body = section.partition("\n")
            title = body.removeprefix("**").partition("**")[0]
            rows.append(f"- [{id_}]({_file(id_)}.md): {title}\n")
            shown = f"```sh\n./run check-deps --env prod --only {id_}\n```\n"
            faults = "".join(f"- [{fault.title}](../faults/{_file(fault.id)}.md)\n" for fault in faults_of.get(id_, ()))
            turned = f"\n## Faults that turn it red or amber\n{faults}" if faults else ""
            yield f"docs/checks/{_file(id_)}.md", f"{ALONE}# {id_}\n{body.rstrip()}\n\n{shown}{turned}"
        listed.append("".join(rows))
    yield "docs/checks/index.md", "\n".join(listed)


def _faults(text: str) -> Iterator[tuple[str, str]]:
    """Yield a page for each fault, and one that lists them by category, from the rows of docs/faults.md."""
    head = text.partition("\n|")[0]
    rows = {cells[0]: cells for cells in map(_cells, text.splitlines()) if len(cells) >= 5}
    listed = [head]
    categories = dict.fromkeys(fault.id.partition("/")[0] for fault in ALL_FAULTS)
    for category in categories:
        faults = [fault for fault in ALL_FAULTS if fault.id.startswith(f"{category}/")]
        for fault in faults:
            yield f"docs/faults/{_file(fault.id)}.md", _fault(fault, rows.get(fault.title))
        listed.append(f"## {category}\n" + "".join(f"- [{fault.title}]({_file(fault.id)}.md)\n" for fault in faults))
    yield "docs/faults/index.md", "\n\n".join(listed)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def _fault(fault: Fault, cells: Sequence[str] | None) -> str:
    runbook = runbook_of(fault)
    checks = [
        f"- [{id_}](../checks/{_file(id_)}.md): {verdict.upper()}" for id_, verdict in fault.expected_checks.items()
    ]
    lines = [f"{ALONE}# {fault.title}", f"`{fault.id}`", ""]
    lines += [
        "**Scaling stops** while it is there." if fault.stops_scaling else "Scaling goes on while it is there.",
        "",
    ]
    if fault.case:
        lines += [f"Case {fault.case} of the [failure modes](../failure-modes.md).", ""]
    lines += ["## Detected by", *checks, ""]
    if cells:
        result = cells[4].replace("\\|", "|").replace("`", "'")
        lines += [f"The first of them says: `{result}`", ""]
    lines += ["## Answered by", f"The runbook [{runbook}](../../runbooks/{runbook}.md).", ""] if runbook else []
    lines += [
        "## Try it",
        "On the local stack:",
        "",
        "```sh",
        f"./run fault {fault.id}",
        "./run check-deps --env local",
    ]
    return "\n".join([*lines, f"./run fault {fault.id} --revert", "```", ""])


def _captures() -> str:
    """Return a page with all that is kept of terminals."""
    folder = CODE / "docs" / "captures"
    lines = ["# What people see", "Terminals of 80 columns, kept by `./run lab.captures` from the local stack.", ""]
    for path in sorted(folder.rglob("*.txt"), key=lambda file: (len(file.parts), file.name)):
        lines += [f"## {path.stem}", "```text", path.read_text().rstrip(), "```", ""]
    return "\n".join(lines)


def _ensure_sphinx(observer: Observer) -> None:
    """Make the environment that Sphinx runs in, as requirements-docs.lock has it. Idempotent: yes."""
    made_from = VENV / "made-from.lock"
    if made_from.exists() and made_from.read_bytes() == LOCK.read_bytes():
        return
    observer(Event(EventKind.STARTED, "docs", "working", f"install {LOCK.name} into {VENV.name}/ (once)"))
    shutil.rmtree(VENV, ignore_errors=True)
    _run([sys.executable, "-m", "venv", VENV], "the environment of Sphinx")
    pip: list[str | Path] = [
        VENV / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    _run([*pip, "--only-binary", ":all:", "--require-hashes", "-r", LOCK], LOCK.name)
    made_from.write_bytes(LOCK.read_bytes())


def _run(argv: Sequence[str | Path], what: str) -> None:
    done = subprocess.run([*map(str, argv)], cwd=CODE, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise LabError(f"{what} failed: {'; '.join(lines[:10])}")


if __name__ == "__main__":  # the test run's
    progress = ProgressPrinter()
    try:
        build(progress)
    except LabError as error:
        raise SystemExit(f"failed: {error.what}") from None
    finally:
        progress.close()
