"""Which processes train together: how many in this pod, on how many nodes, and which of them one is. Pure, no torch.

Each takes its share of every batch, and the gradients are averaged (data-parallel training; Li et al. 2020,
arXiv:2006.15704). Planned by `stage`, started by `ranks`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from plumbline_api.names import ENV_MASTER_ADDRESS, ENV_MASTER_PORT, ENV_NODE_RANK, ENV_NODES
from plumbline_trainer.batches import MOST_PASSES
from plumbline_trainer.failures import BadConfiguration, BadSpec

__all__ = ["ALONE", "LOOPBACK", "Nodes", "Team", "World", "plan_team", "read_nodes"]

LOOPBACK: Final = "127.0.0.1"
SMALL_MODEL_BYTES: Final = 64 * 2**20
"""Below this, a step's products are so short that threads cost more by waking than they bring (docs/training.md)."""


@dataclass(frozen=True)
class Nodes:
    """The pods of one Job, and which of them this is."""

    count: int = 1
    rank: int = 0
    leader: str = LOOPBACK
    """Where the pod of rank 0 is found."""
    port: int = 0
    """Where its processes meet; 0 takes a free one, which does for one node."""


@dataclass(frozen=True)
class Team:
    """The processes of this pod among those of all."""

    processes: int
    """In each pod."""
    threads: int
    """Of each process."""
    nodes: Nodes = field(default_factory=Nodes)
    gpu: bool = False
    """Whether each process has a GPU of its own, or all of them compute on processors."""

    @property
    def size(self) -> int:
        """Processes in all pods."""
        return self.processes * self.nodes.count

    def world(self, local_rank: int) -> "World":
        """One of the processes of this pod."""
        return World(self.nodes.rank * self.processes + local_rank, self.size, local_rank, self.gpu)


@dataclass(frozen=True)
class World:
    """Which process this is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Within its pod; of several GPUs there it has the one of this number."""
    gpu: bool = False
    """Whether it computes on a GPU."""

    @property
    def leads(self) -> bool:
        """Whether this one speaks for all and leaves the model."""
        return self.rank == 0


ALONE: Final = World()
"""The process that trains by itself."""


def read_nodes(environment: Mapping[str, str]) -> Nodes:
    """The pods of this Job, in the variables of torch's own launcher (names.ENV_NODES and those beside it).

    Raises:
        BadConfiguration: they are there and make no sense.
    """
    count = _number(environment, ENV_NODES, "1")
    if count == 1:
        return Nodes()
    rank, port = _number(environment, ENV_NODE_RANK, ""), _number(environment, ENV_MASTER_PORT, "")
    leader = environment.get(ENV_MASTER_ADDRESS, "")
    if not (0 <= rank < count and 0 < port < 65536 and leader):
        raise BadConfiguration(
            f"{ENV_NODE_RANK} {rank} of {ENV_NODES} {count}, {ENV_MASTER_ADDRESS} {leader or 'missing'}, "
            f"{ENV_MASTER_PORT} {port}: give a rank below the number of nodes, and the address and port of node 0"
        )
    return Nodes(count, rank, leader, port)


def plan_team(nodes: Nodes, threads: int, batch_size: int, model_bytes: int, gpus: int = 0) -> Team:
    """Divide this pod: a process for each GPU; without, the cores, among processes where the model is small.

    Args:
        nodes: The pods of the Job.
        threads: Cores of each pod.
        batch_size: Rows or pairs of a batch, which all processes share.
        model_bytes: Size of the weights.
        gpus: GPUs of each pod.

    Raises:
        BadSpec: The batch cannot be divided among the nodes, or their GPUs.
    """
    if batch_size % nodes.count:
        raise BadSpec(
            f"batchSize: {batch_size} cannot be divided among {nodes.count} nodes; give a multiple of {nodes.count}"
        )
    share = batch_size // nodes.count
    if gpus and share % gpus:
        parts = gpus * nodes.count
        raise BadSpec(f"batchSize: {batch_size} cannot be divided among {parts} GPUs; give a multiple of {parts}")
    if gpus:
        return Team(gpus, max(1, threads // gpus), nodes, gpu=True)
    small = model_bytes < SMALL_MODEL_BYTES
    most = max(1, MOST_PASSES // nodes.count) if small else 1
    # A process with one row alone would mostly wait.
    processes = next(n for n in range(min(threads, most), 0, -1) if n == 1 or (share % n == 0 and share // n > 1))
    return Team(processes, threads // processes, nodes)


def _number(environment: Mapping[str, str], name: str, default: str) -> int:
    text = environment.get(name) or default
    if not text.isdecimal():
        raise BadConfiguration(f"{name}: {text or 'missing'} is no number; give one, or leave out {ENV_NODES}")
    return int(text)
