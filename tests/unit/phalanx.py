"""A Phalanx of a few lines, in a real git, and a Helm that fills in values and no more: the real one is for tests/stack."""

from __future__ import annotations

import subprocess
import sys

HELM = f"""#!{sys.executable} -SE
import pathlib, sys
arguments = sys.argv[1:]
if arguments[0] == "version":
    print("v3.99.0", end="")
    sys.exit()
values = {{}}
for flag, value in sorted(zip(arguments, arguments[1:]), key=lambda pair: pair[0] != "--values"):
    lines = open(value).read().splitlines() if flag == "--values" else []
    lines += [value.replace("=", ": ", 1)] if flag in ("--set", "--set-string") else []
    values.update(line.split(": ", 1) for line in lines if ": " in line)
text = "".join("---\\n" + path.read_text() for path in sorted(pathlib.Path("templates").glob("*.yaml")))
for name, value in values.items():
    text = text.replace(f"@{{name}}@", value)
print(text)
"""
APPLICATION = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: {name}, namespace: argocd}}
spec:
  destination: {{namespace: {name}, server: "https://kubernetes.default.svc"}}
  project: prompt
  source:
    path: applications/{name}
    repoURL: https://git.test/phalanx.git
    targetRevision: "@targetRevision@"
    helm:
      parameters: [{{name: global.host, value: "@fqdn@"}}]
      valueFiles: [values.yaml, "values-@name@.yaml"]
"""
OPERATOR = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: keda-operator}
spec: {replicas: @replicas@, template: {spec: {containers: [{name: op, image: keda, env: null}]}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: keda-operator, creationTimestamp: null}
"""
SCALED_JOB = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata: {name: prompt-keda-lsstcam, annotations: {argocd.argoproj.io/hook: PostSync}}
spec: {maxReplicaCount: @max@, triggers: []}
---
apiVersion: batch/v1
kind: Job
metadata: {name: init-prompt-keda-lsstcam, annotations: {argocd.argoproj.io/hook: Sync}}
spec: {}
"""
INSTRUMENT = "prompt-keda-lsstcam"
FILES = {
    "environments/Chart.yaml": "name: environments\n",
    "environments/values.yaml": "targetRevision: main\n",
    "environments/values-prod-there.yaml": "name: prod-there\nfqdn: prod.test\n",
    "environments/templates/keda.yaml": APPLICATION.format(name="keda"),
    f"environments/templates/{INSTRUMENT}.yaml": APPLICATION.format(name=INSTRUMENT),
    "applications/keda/Chart.yaml": "name: keda\n",
    "applications/keda/values.yaml": "replicas: 1\n",
    "applications/keda/values-prod-there.yaml": "",
    "applications/keda/templates/operator.yaml": OPERATOR,
    f"applications/{INSTRUMENT}/Chart.yaml": f"name: {INSTRUMENT}\n",
    f"applications/{INSTRUMENT}/values.yaml": "max: 10\n",
    f"applications/{INSTRUMENT}/values-prod-there.yaml": "max: 1700\n",
    f"applications/{INSTRUMENT}/templates/scaled-job.yaml": SCALED_JOB,
    ".gitignore": "/applications/*/charts/*.tgz\n",
}


def git(folder, *arguments):
    """Run git, and return what it wrote."""
    name = ("-c", "user.name=t", "-c", "user.email=t@t.test", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", folder, *name, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder, files, message="change"):
    """Write files, commit all, and return the commit."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def a_phalanx(folder, files=FILES):
    """Write a repository, and return a clone of it."""
    upstream = folder / "upstream"
    upstream.mkdir(parents=True)
    git(upstream, "init", "--quiet", "--initial-branch=main")
    commit(upstream, files)
    git(folder, "clone", "--quiet", str(upstream), "phalanx")
    return folder / "phalanx"


def a_helm(folder):
    """Write that Helm, and return its path."""
    program = folder / "helm"
    program.write_text(HELM)
    program.chmod(0o755)
    return program
