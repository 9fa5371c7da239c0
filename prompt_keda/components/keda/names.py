"""What KEDA's own objects are called, as its manifests and its operator name them (KEDA 2.16)."""

from __future__ import annotations

OPERATOR = "keda-operator"
METRICS_SERVER = "keda-operator-metrics-apiserver"
WEBHOOKS = "keda-admission-webhooks"
PARTS = (OPERATOR, METRICS_SERVER, WEBHOOKS)
"""KEDA's Deployments, and the Services of the same names."""
WEBHOOK_CONFIGURATION = "keda-admission"
API_SERVICE = "v1beta1.external.metrics.k8s.io"
CERTIFICATES = "kedaorg-certs"
"""The Secret that holds the CA and the serving certificate of all parts."""
LEASE = "operator.keda.sh"
"""The operator's leader election (KEDA 2.16.1, cmd/operator/main.go)."""
FINALIZER = "finalizer.keda.sh"
"""On every object of KEDA's kinds (KEDA 2.16.1, controllers/keda, */*_finalizer.go)."""
SCALED_JOBS_CRD = "scaledjobs.keda.sh"
NEEDED_CRDS = (SCALED_JOBS_CRD, "triggerauthentications.keda.sh")
PART_OF = "app.kubernetes.io/part-of=keda-operator"
"""Selects the Pods and Deployments of KEDA."""
VERSION_LABEL = "app.kubernetes.io/version"
