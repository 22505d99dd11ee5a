"""What Jobs and Deployments share on one machine. Made by `workload`, passed to `jobs` and `deployments`."""

from dataclasses import dataclass, field

from plumbline_operator.local.cores import Cores
from plumbline_operator.local.ports import PortPool
from plumbline_operator.local.settings import LocalSettings

__all__ = ["Machine"]


@dataclass(frozen=True)
class Machine:
    """Settings, cores and ports."""

    settings: LocalSettings
    cores: Cores
    ports: PortPool = field(default_factory=PortPool)
