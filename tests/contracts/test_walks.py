"""Two of the walks of CONTRIBUTING.md, done in a scratch copy: they need the files that the walk names, and no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECK = '''

@check("vault/is-active", "The Vault that answers is the active one", needs=("vault/unsealed",), runbook="vault-sealed")
def is_active(systems: Systems) -> Outcome:
    """Ask Vault what it is.

    Cause: The address is that of a standby.

    Fix: Correct vault.url.
    """
    return warn("a standby", "Correct vault.url.") if systems.vault_health().standby else ok("active")
'''
DELIVERY = '''"""Flux delivers: what is applied bears its label."""

from __future__ import annotations

from prompt_keda.delivery.base import Delivery


class FluxDelivery(Delivery):
    """Flux keeps KEDA in step."""

    field_manager = "kustomize-controller"
'''
OF_THE_CHECK = {
    "prompt_keda/components/vault/server.py": ("", CHECK),
    "tests/unit/components/vault/test_checks_vault.py": (
        "RED = [\n",
        '    ("vault/is-active", vault(standby=True), "warn", "a standby"),\n',
    ),
    "tests/unit/lab/faults/test_faults.py": (
        "SEEN_ELSEWHERE = {\n",
        '    "vault/is-active": "the stack has one Vault",\n',
    ),
}
OF_THE_DELIVERY = {
    "prompt_keda/delivery/flux.py": ("", DELIVERY),
    "prompt_keda/delivery/choice.py": (
        "from prompt_keda.delivery.base import Delivery\n",
        "from prompt_keda.delivery.flux import FluxDelivery\n",
        '    "helm": HelmDelivery,\n',
        '    "flux": lambda systems: FluxDelivery(),\n',
    ),
    "prompt_keda/environment/model.py": ('Literal["manifests", ', '"flux", '),
}
"""File → where something is put in, and what, by turns; at the end of the file where the place is empty."""


@pytest.fixture
def copy(tmp_path):
    """A copy of what is under version control, as it stands here, and a look at what has changed in it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def put_in(copy, edits):
    for name, pieces in edits.items():
        path = copy / name
        text = path.read_text() if path.exists() else ""
        for place, piece in zip(pieces[::2], pieces[1::2], strict=True):
            assert text.count(place) == 1 or not place, f"{name}: {place}"
            text = text.replace(place, place + piece) if place else text + piece
        path.write_text(text)


def python(copy, *arguments):
    argv = [sys.executable, *arguments]
    return subprocess.run(argv, cwd=copy, env={"PYTHONPATH": str(copy), "PATH": ""}, capture_output=True, text=True)


def outcome_of(copy, first, *others):
    return python(
        copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/unit/{name}" for name in (first, *others))
    )


def changed(copy):
    every = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    return {
        name for name in every if not (ROOT / name).exists() or (ROOT / name).read_bytes() != (copy / name).read_bytes()
    }


GUARDS = (
    "components/test_checks.py::test_every_check_is_seen_red",
    "components/vault/test_checks_vault.py",
    "lab/faults/test_faults.py::test_every_check_is_turned_red_by_a_fault",
    "lab/faults/test_faults.py::test_no_exception_is_out_of_date",
    "test_house_rules.py::test_every_decorated_check_is_offered",
)
MADE = "test_house_rules.py::test_what_is_made_from_the_code_is_up_to_date"


def test_a_check_is_one_function_and_what_is_missing_is_named(copy):
    """Without its row and its fault the tests name it; with them they pass, and its page is made."""
    put_in(copy, dict(list(OF_THE_CHECK.items())[:1]))
    lacking = outcome_of(copy, *GUARDS, MADE)
    assert lacking.returncode == 1, lacking.stdout
    for test in (GUARDS[0], GUARDS[2], MADE):
        assert f"FAILED tests/unit/{test}" in lacking.stdout, lacking.stdout
    assert "vault/is-active" in lacking.stdout
    put_in(copy, dict(list(OF_THE_CHECK.items())[1:]))
    assert python(copy, "-m", "prompt_keda.commands.reference").returncode == 0
    whole = outcome_of(copy, *GUARDS, MADE)
    assert whole.returncode == 0, whole.stdout[-3000:]
    assert changed(copy) == {*OF_THE_CHECK, "docs/checks.md"}


def test_a_delivery_is_a_file_a_line_and_a_value(copy):
    """The steps ask the port alone: nothing else has to know it."""
    put_in(copy, OF_THE_DELIVERY)
    assert python(copy, "-m", "prompt_keda.commands.reference").returncode == 0
    look = (
        "from prompt_keda.delivery.choice import DELIVERIES; from prompt_keda.environment.model import KedaSettings\n"
        "assert 'flux' in str(KedaSettings.model_fields['delivery'].annotation)\n"
        "assert DELIVERIES['flux'](None).field_manager == 'kustomize-controller'\n"
    )
    done = python(copy, "-c", look)
    assert done.returncode == 0, done.stderr
    whole = outcome_of(copy, MADE, "environment/test_environment_file.py")
    assert whole.returncode == 0, whole.stdout[-3000:]
    assert changed(copy) - {"environments/environment.schema.json", "environments/README.md"} == {*OF_THE_DELIVERY}
