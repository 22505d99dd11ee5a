"""One API server for all benchmarks of the operator: what one of them has filled it with serves the next."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.bench.arena import Arena, arena
from tests.cluster.client import KubeClient
from tests.cluster.programs import unsupported


@pytest.fixture(scope="session")
def area() -> Iterator[Arena]:
    """API server and etcd; skips where none can run."""
    if reason := unsupported():
        pytest.skip(reason)
    with arena() as found:
        yield found


@pytest.fixture
async def kube(area: Arena) -> AsyncIterator[KubeClient]:
    """The administrator's client."""
    async with area.plane.client() as client:
        yield client
