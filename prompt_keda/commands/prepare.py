"""prepare: what a redeploy needs from the internet, fetched before an incident."""

from __future__ import annotations

from prompt_keda.clients.systems import filled
from prompt_keda.commands.session import Session
from prompt_keda.delivery.manifests import load_keda_manifests, local_file
from prompt_keda.report.result import Result


def prepare(session: Session) -> Result:
    """Fetch what a redeploy needs into this machine's cache, so that an incident needs no internet. Idempotent: yes.

    Raises
    ------
    Unfilled
        When the environment does not say where the manifests are, or their SHA-256.
    ClientError
        When they cannot be fetched, or are others than the environment pins.
    EnvironmentFileError
        When the file on this machine cannot be read, is another one, or holds no manifests.
    """
    environment = session.environment
    manifests = environment.keda.manifests
    source = filled(manifests.source, "keda.manifests.source")
    sha256 = filled(manifests.sha256, "keda.manifests.sha256")
    file = local_file(source, sha256)
    was_there = file.exists()
    if source.startswith("https://") and not was_there:
        from prompt_keda.clients.http.download import download

        download(source, sha256, file, manifests.ca_file, environment.limits.connect)
    count = len(load_keda_manifests(file, sha256))
    result = Result("prepare", environment.name, header=f"environment {environment.name}")
    prepared = {"what": "KEDA's manifests", "file": str(file), "sha256": sha256, "objects_count": count}
    result.parts = {"prepared": [{**prepared, "fetched": not was_there}]}
    return result
