"""Runs Helm to render a chart: no cluster, no network, and nothing of the person's own Helm."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prompt_keda.core.bounded_program import run_bounded
from prompt_keda.core.errors import BadAnswer, Refusal

TIMEOUT = timedelta(seconds=60)
MOST_BYTES = 16 * 2**20
"""Of one rendering; KEDA's has 0.8 MB."""
KNOWN = re.compile(r"v[34](\.[0-9]+){1,2}[A-Za-z0-9.+-]{0,40}")
MISSING_DEPENDENCY = "missing in charts/ directory"
"""What Helm 3 and 4 say when a chart's dependency has to be put there first, and what Argo CD looks for (util/helm)."""
NOWHERE = "http://127.0.0.1:1"
GET_IT = (
    "Install Helm 3 or 4: one program, from helm.sh (Install) or your package manager; or name it: --helm PATH. "
    "Only prepare --phalanx needs it; a redeploy does not."
)


class MissingDependency(BadAnswer):
    """A chart's dependency is not in its folder charts/."""


@dataclass(frozen=True)
class HelmProgram:
    """One Helm. `find_helm` makes it.

    Parameters
    ----------
    home
        A folder of its own for all that Helm keeps.
    """

    path: Path
    version: str
    home: Path

    def template(self, chart: Path, arguments: Sequence[str]) -> str:
        """Render a chart, and return what Helm wrote.

        Raises
        ------
        MissingDependency
            When a dependency is not in its folder charts/.
        BadAnswer
            When Helm fails, with its last line; or writes too much.
        Unreachable
            When it is not done in time.
        """
        return self._run(chart, "template", ".", *arguments)

    def build_dependencies(self, chart: Path) -> None:
        """Put a chart's dependencies from the same checkout into its folder charts/. Raises as `template` does."""
        self._run(chart, "dependency", "build", ".")

    def _run(self, chart: Path, *arguments: str) -> str:
        ended = run_bounded([str(self.path), *arguments], chart, _environment(self.home), TIMEOUT, MOST_BYTES)
        if ended.exit_code:
            lines = ended.stderr.decode(errors="replace").splitlines()
            kind = MissingDependency if any(MISSING_DEPENDENCY in line for line in lines) else BadAnswer
            error = next((line for line in lines if line.startswith("Error: ")), ended.last_line)
            raise kind("helm", "/".join(chart.parts[-2:]), error.removeprefix("Error: ").replace(f"{chart}/", "")[:500])
        try:
            return ended.stdout.decode()
        except UnicodeDecodeError as error:
            raise BadAnswer("helm", "/".join(chart.parts[-2:]), "what it wrote is not UTF-8") from error


def find_helm(named: str, home: Path) -> HelmProgram:
    """Return the Helm that a person named, else the one on the PATH.

    Raises
    ------
    Refusal
        When there is none, with how to get it; or when it is neither Helm 3 nor 4.
    """
    path = shutil.which(named or "helm")
    if path is None:
        what = f"--helm {named} is no program" if named else "helm is not on this machine's PATH"
        raise Refusal(f"{what}, and renders the charts of Phalanx", GET_IT)
    where = Path(path).absolute()
    ended = run_bounded([str(where), "version", "--template", "{{.Version}}"], home, _environment(home), TIMEOUT, 4096)
    version = ended.stdout.decode(errors="replace").strip()
    if ended.exit_code or not KNOWN.fullmatch(version):
        raise Refusal(f"{where} is neither Helm 3 nor 4: it says {version[:40] or ended.last_line!r}", GET_IT)
    return HelmProgram(where, version, home)


def _environment(home: Path) -> dict[str, str]:
    """Return all that Helm finds in its environment. What it might ask of the network ends at a closed door."""
    folders = {f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    proxies = {name: NOWHERE for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}
    own = {"HOME": str(home), "TMPDIR": str(home), "KUBECONFIG": os.devnull, "HELM_PLUGINS": str(home / "plugins")}
    return {**folders, **proxies, **own, "PATH": os.defpath, "LC_ALL": "C.UTF-8"}
