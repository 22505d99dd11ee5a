"""A witness, nodes and a fault table for the tests of this folder; --all-faults injects each fault many times over."""

import gc
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from tests.cluster.client import KubeClient
from tests.cluster.controlplane import ControlPlane
from tests.cluster.faults.ledger import FAULTS, Fault
from tests.cluster.faults.nodes import Nodes, nodes
from tests.cluster.faults.witness import Witness, witnessing
from tests.cluster.operating import serve_kinds

UNCLOSED = "unclosed <socket|unclosed transport"
OPENED = pytest.StashKey[list[Fault]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Nothing here is a matter of seconds where all faults are injected, or where the machine does other things too."""
    for item in items:
        if "cluster/faults" in item.path.as_posix():
            item.add_marker(pytest.mark.timeout(5400 if item.config.getoption("all_faults") else 1200), append=False)
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{UNCLOSED}:ResourceWarning"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Hand on the rows of a test when it is over. A fault whose test fails was not survived."""
    report = yield
    faults = item.stash.get(OPENED, [])
    for fault in faults:
        fault.survived = fault.survived and not report.failed
    if report.when == "teardown":
        report.user_properties += [(FAULTS, asdict(fault)) for fault in faults]
    return report


@pytest.fixture(autouse=True)
def collect_half_made_connections() -> Iterator[None]:
    """A call that is cancelled while its TLS connection is being made is left to the collector (asyncio)."""
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNCLOSED, ResourceWarning)
        gc.collect()


@pytest.fixture
def open_fault(request: pytest.FixtureRequest) -> Callable[[str, str], Fault]:
    """Opens a row of the fault table: the fault, and where it is injected."""
    opened: list[Fault] = request.node.stash.setdefault(OPENED, [])

    def fault(name: str, where: str) -> Fault:
        made = Fault(name, where)
        opened.append(made)
        return made

    return fault


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often: usually, and with --all-faults."""
    return lambda usually, thoroughly: thoroughly if request.config.getoption("all_faults") else usually


@pytest.fixture(name="played")
async def played_nodes(kube: KubeClient) -> AsyncIterator[Nodes]:
    """Nodes at work."""
    async with nodes(kube) as made:
        yield made


@pytest.fixture
async def witness(control_plane: ControlPlane, kube: KubeClient, played: Nodes) -> AsyncIterator[Witness]:
    """Sees everything from before the test on; pods live meanwhile."""
    await serve_kinds(kube)
    async with witnessing(kube) as made:
        yield made
