"""When a fault of the operator is over, without a stack."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from prompt_keda.core.errors import DeadlinePassed
from prompt_keda.core.waiting import until
from prompt_keda.lab.faults import keda_parts


@pytest.mark.parametrize("holder", ["keda-operator-1", "keda-operator-2"])
def test_a_young_lease_of_a_pod_that_is_gone_is_not_fresh(monkeypatch, holder):
    """The check is amber then: a fault that began or ended so would be seen by a check that it does not name."""
    monkeypatch.setattr(keda_parts, "until", lambda look, what: until(look, what, timeout_s=0))
    spec = {"holderIdentity": f"{holder}_uuid", "renewTime": datetime.now(UTC).isoformat()}
    stage = SimpleNamespace(
        environment=SimpleNamespace(keda=SimpleNamespace(namespace="keda")),
        kube=SimpleNamespace(get=lambda *place: {"spec": spec}),
        keda_pods=lambda part: [{"metadata": {"name": "keda-operator-2"}}],
    )
    if holder == "keda-operator-2":
        keda_parts.until_fresh(stage)
    else:
        with pytest.raises(DeadlinePassed, match="a fresh Lease"):
            keda_parts.until_fresh(stage)
