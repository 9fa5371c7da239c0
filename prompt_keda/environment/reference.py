"""What an environment's keys are, made from the model: the table in environments/README.md, and the JSON schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from prompt_keda.environment.model import Environment, format_duration

COMMAND = ".venv/bin/python -m prompt_keda.commands.reference"
BEGIN, END = "<!-- keys: made by the command above -->\n", "<!-- end of keys -->\n"
Node = dict[str, Any]


class _Schema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Return a default as the file would say it: ``120s``, which pydantic would write as ``PT2M``."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def schema() -> str:
    """Return the JSON schema of an environment file."""
    return json.dumps(_model(), indent=1, sort_keys=True) + "\n"


def table() -> str:
    """Return the table of all keys, as Markdown."""
    lines = ["| key | meaning | default |", "|---|---|---|"]
    lines += [f"| `{key}` | {meaning} | {default} |" for key, meaning, default in _rows(_model(), _model(), "", {})]
    return "\n".join(lines) + "\n"


def pages(folder: Path) -> dict[Path, str]:
    """Return each file that is made from the model, with what it should hold."""
    readme = folder / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return {folder / "environment.schema.json": schema(), readme: before + BEGIN + table() + END + after}


def _model() -> Node:
    return Environment.model_json_schema(schema_generator=_Schema)


def _rows(part: Node, root: Node, where: str, shown: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield a row for each key. A mapping that stands in several places is shown in the first."""
    for name, node in part["properties"].items():
        key, inner = f"{where}{name}", _mapping_in(node)
        if "items" in node and inner:
            key += "[]"
        again = f" Keys as in `{shown[inner]}`." if inner in shown else ""
        yield key, _meaning(node, inner, root) + again + _choices(node), _default(name, node, part)
        if inner and inner not in shown:
            shown[inner] = key
            yield from _rows(root["$defs"][inner], root, f"{key}.", shown)


def _mapping_in(node: Node) -> str:
    """Return the name of the mapping that stands at a key, alone, in a list, or where nothing could stand; else ''."""
    for candidate in (node, node.get("items", {}), *node.get("anyOf", ())):
        if "$ref" in candidate:
            return str(candidate["$ref"]).rpartition("/")[2]
    return ""


def _meaning(node: Node, inner: str, root: Node) -> str:
    """Return a key's docstring as Markdown. Pydantic leaves it out where it is the mapping's own."""
    text = node.get("description") or root["$defs"][inner]["description"]
    return " ".join(str(text).replace("``", "`").replace("None:", "Left out:").split())


def _choices(node: Node) -> str:
    choices = node.get("enum") or ([node["const"]] if "const" in node else [])
    return f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""


def _default(name: str, node: Node, part: Node) -> str:
    if name in part.get("required", ()):
        return "required"
    value = node.get("default")
    return "" if value in (None, "") or isinstance(value, dict) else f"`{value}`"
