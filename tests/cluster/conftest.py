"""A control plane per test process, a namespace per test, and clients of both."""

from collections.abc import AsyncIterator, Generator, Iterator
from itertools import count
from typing import Any

import pytest

from tests.cluster.client import NAMESPACES, SERVICE_ACCOUNTS, KubeClient
from tests.cluster.controlplane import ControlPlane, control_plane
from tests.cluster.programs import Programs, find_programs, unsupported

NUMBERS = count(1)


@pytest.fixture(scope="session")
def programs() -> Programs:
    """The programs that were built; skips where none can run."""
    if reason := unsupported():
        pytest.skip(reason)
    return find_programs()


@pytest.fixture(scope="session", name="control_plane")
def running_control_plane(programs: Programs) -> Iterator[ControlPlane]:
    """One for the whole session, for tests that leave it as they found it; others start their own."""
    with control_plane(programs) as plane:
        yield plane


@pytest.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    """The administrator's client."""
    async with control_plane.client() as client:
        yield client


@pytest.fixture
async def namespace(kube: KubeClient) -> AsyncIterator[str]:
    """An empty namespace in which pods can be made; what the test leaves is removed behind its back."""
    name = f"test-{next(NUMBERS)}"
    await kube.create(NAMESPACES, {"metadata": {"name": name}})
    await kube.until(SERVICE_ACCOUNTS, "default", name, lambda _: True)
    yield name
    await kube.delete(NAMESPACES, name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show with a failed test what the control plane complained of."""
    report = yield
    plane = getattr(item, "funcargs", {}).get("control_plane")
    if report.failed and isinstance(plane, ControlPlane):
        report.sections.append(("control plane", plane.describe()))
    return report
