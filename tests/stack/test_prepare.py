"""A plan takes manifests that an https address gave, once `prepare` has fetched them, and never fetches by itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from prompt_keda.lab.pki import Authority
from tests.contracts.conftest import recording

from .conftest import ROOT, at_the_stack_only, run_json, run_task


@at_the_stack_only  # the web server of this test is on the loopback of this machine
def test_manifests_by_https_are_fetched_once_and_then_used(deployed, endpoints, tmp_path):
    """Without them: exit code 2 and the command that helps. With them, the plan works while the web server is away."""
    data = Path(endpoints["keda_manifests"]).read_bytes() + b"\n"  # another SHA-256 than the cache has
    sha256 = hashlib.sha256(data).hexdigest()
    authority = Authority(tmp_path / "pki")
    authority.ensure_server("server", ["127.0.0.1"])
    changed = tmp_path / "by-https.yaml"
    with recording(authority, lambda path, headers: (200, {}, data)) as (port, requests):
        environment = yaml.safe_load((ROOT / "environments" / "local.yaml").read_text())
        address = f"https://127.0.0.1:{port}/keda.json"
        source = {"source": address, "sha256": sha256, "ca_file": str(authority.ca_file)}
        environment["keda"]["manifests"] = source
        environment["instruments"][0]["manifest"] = str(ROOT / "environments/local/prompt-keda-lsstcam.yaml")
        changed.write_text(yaml.safe_dump(environment))
        refused = run_task("plan", "--env", str(changed))
        assert refused.returncode == 2 and "./run prepare --env" in refused.stderr and not requests
        code, document = run_json("prepare", "--env", str(changed))
        file = Path(document["prepared"][0]["file"])
        assert code == 0 and document["prepared"][0]["fetched"] and file.read_bytes() == data
    try:
        again = run_json("prepare", "--env", str(changed))
        assert again[0] == 0 and not again[1]["prepared"][0]["fetched"]
        assert run_json("plan", "--env", str(changed))[0] == 0
    finally:
        file.unlink()
