"""An environment that uses the planted secrets: environments/local.yaml, filled in, with places of its own in Vault."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import yaml

from prompt_keda.lab import vault_contents

from .conftest import ROOT

NAME = "planted"
RECORDER = """\
import json, os, sys
with open({file!r}, "a") as said:
    said.write(json.dumps([sys.argv, dict(os.environ)], ensure_ascii=False) + chr(10))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def write(folder, endpoints, values, changes, prefix):
    """Write it into ``environments/`` of a folder.

    Parameters
    ----------
    values
        Name → planted value.
    changes
        ``vault``, ``redis``, ``registry``: keys and values; ``secret_id``: the name of the value to log in with.
    prefix
        Of the paths in Vault.
    """
    place = folder / "environments"
    manifest = place / "worker.yaml"
    manifest.write_text(resolved(ROOT / "environments/local/prompt-keda-lsstcam.yaml", endpoints))
    text = resolved(ROOT / "environments/local.yaml", endpoints)
    made = yaml.safe_load(text.replace(f"{vault_contents.PREFIX}/", f"{prefix}/"))
    login = {"method": "approle"}
    for name, value in (("role_id", "role-id"), ("secret_id", changes.get("secret_id", "secret-id"))):
        file = folder / name
        file.write_text(values[value])
        login[f"{name}_file"] = str(file)
    made["vault"] |= {"login": login, **changes.get("vault", {})}
    made["redis"] |= changes.get("redis", {})
    made["registries"][0] |= changes.get("registry", {})
    made["kubernetes"]["kubeconfig"] = str(_kubeconfig(folder, endpoints))
    made["instruments"][0]["manifest"] = str(manifest)
    made["name"] = NAME
    (place / f"{NAME}.yaml").write_text(yaml.safe_dump(made))


def resolved(path, endpoints):
    """Return a file with the stack's values in it: the toolkit looks for no stack where the state folder is another one."""

    def value(match):
        endpoint = endpoints[match[1]]
        return endpoint if isinstance(endpoint, str) else json.dumps(endpoint)

    return re.sub(r"\$\{lab:([a-z0-9_]+)\}", value, path.read_text())


def _kubeconfig(folder, endpoints):
    """Return the kubeconfig of the person oncall, whose plugin is recorded: its arguments and environment."""
    made = json.loads(Path(endpoints["kubeconfig"]).read_text())
    plugin = made["users"][0]["user"]["exec"]
    recorder = folder / "recorder.py"
    recorder.write_text(RECORDER.format(file=str(folder / "out/children.jsonl")))
    plugin["args"] = ["-S", str(recorder), plugin["command"], *plugin["args"]]
    plugin["command"] = sys.executable
    path = folder / "kubeconfig"
    path.write_text(json.dumps(made))
    return path
