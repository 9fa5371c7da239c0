"""An image of the toolkit for the local stack's registry: this machine's Python, the packages of the lock, and the wheel.

environments/watch.Containerfile is the recipe for a real one: nothing here builds from a base image, because none can be pulled.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from prompt_keda.core.errors import LabError
from prompt_keda.lab import images, services, settings, state

FOLDER = "/opt/prompt-keda"
"""Where the wheel is; everything else stands where it stands on this machine."""
SITE = sysconfig.get_path("purelib")
LEFT_OUT = ("__pycache__", "test", "tests", "idlelib", "tkinter", "ensurepip", "site-packages", "turtledemo", "lib2to3")
"""Of Python's own library: what no task needs."""
FOR_DEVELOPERS = ("mypy", "ruff", "pip", "setuptools", "grimp", "importlinter", "_pytest", "pytest", "pkg_resources")


def build(root, folder):
    """Build the image, push it to the stack's registry, and return its name by digest."""
    lab = settings.current_lab()
    entry = (_python(), f"{FOLDER}/bin/prompt-keda")
    image = images.ImageContents("prompt-keda", "local", _files(_wheel(root, folder)), entry)
    built = images.build(image, folder / "cache")
    password = state.ensure_secret(lab, "registry-password")
    url = state.endpoints(lab)["registry_url"]
    with images.registry_client(url, lab.pki / "ca.crt", services.REGISTRY_USER, password) as client:
        return f"{settings.REGISTRY_HOST}/{images.push(built, client)}"


def environment():
    """Return what its container needs to find the packages."""
    return [{"name": "PYTHONPATH", "value": f"{FOLDER}:{SITE}"}]


def _wheel(root, folder):
    """Install the wheel of this clone into a folder."""
    source, target = folder / "source", folder / "installed"
    names = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(names, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(lambda name: name and (root / name).is_file(), listing):
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((root / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile", "--target", str(target), str(source)]
    subprocess.run([*pip, *offline], check=True, capture_output=True)
    return target


def _files(installed):
    """Return path in the image → file."""
    python, standard = Path(_python()), Path(sysconfig.get_path("stdlib"))
    files = {str(python): python, **_below(standard, LEFT_OUT)}
    for package in Path(SITE).iterdir():
        if not package.name.startswith(FOR_DEVELOPERS) and "mypyc" not in package.name:
            files |= _below(package, ("__pycache__",)) if package.is_dir() else {str(package): package}
    files |= {f"{FOLDER}/{path.relative_to(installed)}": path for path in installed.rglob("*") if path.is_file()}
    for library in [python, *(path for path in files.values() if ".so" in path.suffixes)]:
        try:
            files |= images.shared_libraries(["ldd", str(library)])
        except LabError:  # what this machine cannot load either, such as an optional part of Python's
            continue
    return files


def _below(folder, left_out):
    def is_left_out(path):
        return set(path.relative_to(folder).parts) & set(left_out)

    return {
        str(path): path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".a" and not is_left_out(path)
    }


def _python():
    return str(Path(sys.executable).resolve())
