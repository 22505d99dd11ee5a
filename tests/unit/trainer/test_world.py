"""Who trains together: cores divided among processes and threads, and the nodes as torch's launcher tells of them."""

import pytest

from plumbline_trainer.failures import BadConfiguration, BadSpec
from plumbline_trainer.world import SMALL_MODEL_BYTES, Nodes, World, plan_team, read_nodes

SMALL, LARGE = SMALL_MODEL_BYTES - 1, SMALL_MODEL_BYTES
FOUR = {"PET_NNODES": "4", "PET_NODE_RANK": "3", "PET_MASTER_ADDR": "run-0.run", "PET_MASTER_PORT": "29400"}


@pytest.mark.parametrize(
    ("cores", "batch", "size", "expected"),
    [
        (1, 32, SMALL, (1, 1)),
        (2, 32, SMALL, (2, 1)),
        (3, 32, SMALL, (2, 1)),
        (4, 32, SMALL, (4, 1)),
        (16, 32, SMALL, (4, 4)),
        (2, 2, SMALL, (1, 2)),
        (2, 7, SMALL, (1, 2)),
        (8, 32, LARGE, (1, 8)),
    ],
)
def test_cores_are_for_processes_where_the_model_is_small(
    cores: int, batch: int, size: int, expected: tuple[int, int]
) -> None:
    team = plan_team(Nodes(), cores, batch, size)
    assert (team.processes, team.threads, team.size) == (*expected, expected[0])


def test_several_nodes_share_the_batch() -> None:
    nodes = read_nodes(FOUR)
    assert nodes == Nodes(4, 3, "run-0.run", 29400)
    team = plan_team(nodes, 2, 16, SMALL)
    assert (team.processes, team.threads, team.size) == (1, 2, 4)
    with pytest.raises(BadSpec, match="18 cannot be divided among 4 nodes; give a multiple of 4"):
        plan_team(nodes, 2, 18, SMALL)


def test_each_gpu_has_a_process_however_large_the_model_is() -> None:
    team = plan_team(read_nodes(FOUR), 8, 32, SMALL, gpus=2)
    assert (team.processes, team.threads, team.size) == (2, 4, 8)
    assert team.world(1) == World(rank=7, size=8, local_rank=1, gpu=True)
    with pytest.raises(BadSpec, match="20 cannot be divided among 8 GPUs; give a multiple of 8"):
        plan_team(read_nodes(FOUR), 8, 20, SMALL, gpus=2)


def test_without_variables_there_is_one_node() -> None:
    assert read_nodes({}) == read_nodes({"PET_NNODES": "1", "PET_NODE_RANK": "7"}) == Nodes()


@pytest.mark.parametrize(
    "change",
    [
        {"PET_NODE_RANK": "4"},
        {"PET_NODE_RANK": ""},
        {"PET_NNODES": "many"},
        {"PET_MASTER_ADDR": ""},
        {"PET_MASTER_PORT": "0"},
        {"PET_MASTER_PORT": "70000"},
        {"PET_NODE_RANK": "-1"},
    ],
)
def test_variables_that_make_no_sense_are_refused_by_name(change: dict[str, str]) -> None:
    with pytest.raises(BadConfiguration, match="|".join(change)):
        read_nodes(FOUR | change)
