"""The kinds of objects that this project speaks of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resource:
    """One kind of object, and where the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def head(self) -> dict[str, str]:
        """How an object of this kind begins."""
        return {"apiVersion": self.api_version, "kind": self.kind}

    @property
    def for_kubectl(self) -> str:
        """The kind's name on kubectl's command line: ``scaledjobs.keda.sh``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of one object, or of the list (of all namespaces, if ``namespace`` is None)."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        parts = [root]
        if self.namespaced and namespace is not None:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        return "/".join(parts)


NAMESPACES = Resource("v1", "Namespace", "namespaces", False)
NODES = Resource("v1", "Node", "nodes", False)
PODS = Resource("v1", "Pod", "pods")
SECRETS = Resource("v1", "Secret", "secrets")
SERVICES = Resource("v1", "Service", "services")
CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
VOLUMES = Resource("v1", "PersistentVolume", "persistentvolumes", False)
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
JOBS = Resource("batch/v1", "Job", "jobs")
CRON_JOBS = Resource("batch/v1", "CronJob", "cronjobs")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
REPLICA_SETS = Resource("apps/v1", "ReplicaSet", "replicasets")
STATEFUL_SETS = Resource("apps/v1", "StatefulSet", "statefulsets")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False)
API_SERVICES = Resource("apiregistration.k8s.io/v1", "APIService", "apiservices", False)
SCALED_JOBS = Resource("keda.sh/v1alpha1", "ScaledJob", "scaledjobs")
VALIDATING_WEBHOOKS = Resource(
    "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", False
)
EVENTS = Resource("v1", "Event", "events")
SERVICE_ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
TRIGGER_AUTHENTICATIONS = Resource("keda.sh/v1alpha1", "TriggerAuthentication", "triggerauthentications")
CLUSTER_TRIGGER_AUTHENTICATIONS = Resource(
    "keda.sh/v1alpha1", "ClusterTriggerAuthentication", "clustertriggerauthentications", False
)
APPLICATIONS = Resource("argoproj.io/v1alpha1", "Application", "applications")
APP_PROJECTS = Resource("argoproj.io/v1alpha1", "AppProject", "appprojects")
VAULT_SECRETS = Resource("ricoberger.de/v1alpha1", "VaultSecret", "vaultsecrets")
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False)
CLUSTER_ROLE_BINDINGS = Resource("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", False)
ROLES = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
RESOURCE_QUOTAS = Resource("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGES = Resource("v1", "LimitRange", "limitranges")
