"""The resources of the API server that the operator knows: their addresses, and what is watched of each. Pure.

One table: watches, permissions and the children that decide() may ask for all come from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plumbline_api.names import FIELD_MANAGER, GROUP, LABEL_MANAGED_BY, PLURALS, VERSION, Kind

__all__ = [
    "ACCESS_REVIEWS", "CHILDREN", "CONFIG_MAPS", "DEPLOYMENTS", "EVENTS", "JOBS", "JOB_SETS", "LEASES",
    "OPTIONAL", "OURS", "PODS", "SECRETS", "SERVICES", "TOKEN_REVIEWS", "WATCHED", "Resource", "Watched",
]  # fmt: skip


@dataclass(frozen=True)
class Resource:
    """A kind of object as the API server serves it."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As manifests have it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def title(self) -> str:
        """As roles and messages have it, for example jobs.batch."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The address of one object, or of all in a namespace, or (namespace None) of all there are."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        where = f"{root}/namespaces/{namespace}/{self.plural}" if namespace else f"{root}/{self.plural}"
        return where + (f"/{name}" if name else "") + (f"/{subresource}" if subresource else "")


@dataclass(frozen=True)
class Watched:
    """What is watched of a resource."""

    resource: Resource
    selector: str = ""
    """A label selector that the API server applies."""
    metadata_only: bool = False
    """Only that they exist is of interest: their content is never sent."""


OURS: Final[Mapping[Kind, Resource]] = {kind: Resource(GROUP, VERSION, PLURALS[kind], kind.value) for kind in Kind}
"""The four kinds of our group."""
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
JOB_SETS: Final = Resource("jobset.x-k8s.io", "v1alpha2", "jobsets", "JobSet")
"""Where the cluster has them; never required."""
PODS: Final = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
SERVICES: Final = Resource("", "v1", "services", "Service")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
DISRUPTION_BUDGETS: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview")
ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")

CHILDREN: Final[Mapping[str, Resource]] = {
    resource.kind: resource
    for resource in (JOBS, JOB_SETS, DEPLOYMENTS, SERVICES, CONFIG_MAPS, NETWORK_POLICIES, DISRUPTION_BUDGETS)
}
"""What decide() may ask for, by the kind that its ChildRef names."""

_OF_OURS: Final = f"{LABEL_MANAGED_BY}={FIELD_MANAGER}"

WATCHED: Final[tuple[Watched, ...]] = (
    *(Watched(resource) for resource in OURS.values()),
    Watched(JOBS, _OF_OURS),
    Watched(PODS, _OF_OURS),
    Watched(DEPLOYMENTS, _OF_OURS),
    Watched(SERVICES, _OF_OURS),
    Watched(CONFIG_MAPS, _OF_OURS, metadata_only=True),
    Watched(NETWORK_POLICIES, _OF_OURS, metadata_only=True),
    Watched(DISRUPTION_BUDGETS, _OF_OURS, metadata_only=True),
)
"""Everything that wakes the operator. ConfigMaps that people write are fetched by name, never listed."""
OPTIONAL: Final = Watched(JOB_SETS, _OF_OURS)
"""What wakes the operator too, while the cluster serves it."""
