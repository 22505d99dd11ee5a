"""Who of several replicas does the work: the holder of a Lease (coordination.k8s.io/v1), for as long as it renews it.

Only local, monotonic time decides: a lease is free when it has not changed for its whole duration while we watched, and
ours is over when we have not managed to renew it for most of that duration, measured from before the renewal was sent.
Clocks that differ between machines, or jump, change nothing. Whoever loses it must stop at once.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, Protocol

from plumbline_operator.kube.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from plumbline_operator.kube.api.resources import LEASES, Resource

__all__ = ["Election", "LeaseApi", "LeaseLost", "LeaseTimes"]

_LOG: Final = logging.getLogger(__name__)


class LeaseApi(Protocol):
    """What is needed of the API server."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Mapping[str, Any]:
        """The lease."""

    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make it."""

    async def replace(
        self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Replace it in the state that the body names."""


class LeaseLost(Exception):
    """Another replica may be at work: nothing may be written any more."""


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds. What is renewed in time is renewed long before anybody else may take it."""

    duration: float = 15.0
    """After so long without a renewal others may take the lease."""
    deadline: float = 10.0
    """After so long without a renewal the holder gives up."""
    period: float = 2.0
    """Between two renewals, and between two looks of the others."""


class Election:
    """One candidate."""

    def __init__(
        self,
        client: LeaseApi,
        namespace: str,
        name: str,
        identity: str,
        *,
        random: Random,
        clock: Callable[[], float],
        times: LeaseTimes | None = None,
    ) -> None:
        """Become a candidate; `run` begins.

        Args:
            client: The API server.
            namespace: Where the lease is.
            name: The lease.
            identity: Who we are: different for every start of every replica.
            random: For jitter.
            clock: Monotonic seconds; goes on while the process is stopped.
            times: How long things last.
        """
        self.won = asyncio.Event()
        """Set while this replica holds the lease."""
        self.tried = asyncio.Event()
        """Set once it was asked for."""
        self.since = float("inf")
        """The moment since when it is held."""
        self.times = times or LeaseTimes()
        self._client = client
        self._place = (namespace, name)
        self._identity = identity
        self._random = random
        self._clock = clock
        self._seen: tuple[str, float] = ("", 0.0)
        """The version of the lease, and since when it has been that."""
        self._lease: Mapping[str, Any] = {}
        self._until = float("-inf")

    @property
    def leading(self) -> bool:
        """Whether this replica may write now."""
        return self.won.is_set() and self._clock() < self._until

    def check(self) -> None:
        """Raise LeaseLost where this replica may not write: called before every write."""
        if not self.leading:
            raise LeaseLost("the lease was not renewed in time")

    async def run(self) -> None:
        """Win the lease and keep it; ends with LeaseLost, never otherwise.

        Raises:
            LeaseLost: when it was held and could not be kept.
        """
        while not await self._try_to_take():
            self.tried.set()
            await self._pause()
        self.since = self._clock()
        _LOG.info("lease taken", extra={"lease": "/".join(self._place), "identity": self._identity})
        self.won.set()
        self.tried.set()
        while True:
            await self._pause()
            await self._keep()

    async def release(self) -> None:
        """Let another replica take over at once."""
        if not self.leading:
            return
        self.won.clear()
        self._until = float("-inf")
        try:
            await asyncio.wait_for(self._write("", duration=1.0), self.times.period)
        except (ApiError, TimeoutError) as error:
            _LOG.warning("lease not released", extra={"error": type(error).__name__})

    async def _pause(self) -> None:
        await asyncio.sleep(self.times.period * self._random.uniform(0.8, 1.2))

    async def _try_to_take(self) -> bool:
        """Take the lease if nobody holds it; whether it is ours now."""
        try:
            lease = await self._read()
            if lease is not None and not self._is_free(lease):
                return False
            begun = self._clock()
            await asyncio.wait_for(self._write(self._identity), self.times.deadline)
        except (AlreadyExists, Conflict):
            return False
        except (ApiError, TimeoutError) as error:
            _LOG.warning("lease out of reach", extra={"error": type(error).__name__, "code": getattr(error, "code", 0)})
            return False
        self._until = begun + self.times.deadline
        return True

    async def _read(self) -> Mapping[str, Any] | None:
        try:
            self._lease = await self._client.get(LEASES, *self._place)
        except NotFound:
            self._lease = {}
            return None
        version = str(self._lease["metadata"]["resourceVersion"])
        if version != self._seen[0]:
            self._seen = (version, self._clock())
        return self._lease

    def _is_free(self, lease: Mapping[str, Any]) -> bool:
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") in (None, "", self._identity):
            return True
        duration = float(spec.get("leaseDurationSeconds") or self.times.duration)
        return self._clock() - self._seen[1] > duration

    async def _keep(self) -> None:
        """Renew once; raises LeaseLost when it is too late, or when somebody else holds the lease."""
        begun = self._clock()
        left = self._until - begun
        try:
            if left > 0 and await asyncio.wait_for(self._renew(), left):
                self._until = begun + self.times.deadline
        except (ApiError, TimeoutError) as error:
            _LOG.warning("lease not renewed", extra={"error": type(error).__name__, "left": round(left, 1)})
        if self._clock() >= self._until:
            self.won.clear()
            raise LeaseLost(f"the lease could not be renewed for {self.times.deadline:g} s")

    async def _renew(self) -> bool:
        """Write the lease; a conflict may be an earlier write of ours whose answer was lost, or the end."""
        try:
            await self._write(self._identity)
        except Conflict:
            await self._check_holder()
            return False
        return True

    async def _check_holder(self) -> None:
        lease = await self._read()
        holder = None if lease is None else (lease.get("spec") or {}).get("holderIdentity")
        if lease is not None and holder != self._identity:
            self.won.clear()
            raise LeaseLost(f"{holder or 'nobody'} holds the lease now")

    async def _write(self, identity: str, *, duration: float | None = None) -> None:
        metadata = self._lease.get("metadata") or {}
        before = self._lease.get("spec") or {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = before.get("holderIdentity") == identity
        spec = {
            "holderIdentity": identity,
            "leaseDurationSeconds": round(duration or self.times.duration),
            "acquireTime": before.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not same and bool(identity)),
        }
        namespace, name = self._place
        body: dict[str, Any] = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "spec": spec}
        if not metadata:
            body["metadata"] = {"name": name, "namespace": namespace}
            self._lease = await self._client.create(LEASES, namespace, body)
        else:
            version = metadata["resourceVersion"]
            body["metadata"] = {"name": name, "namespace": namespace, "resourceVersion": version}
            self._lease = await self._client.replace(LEASES, namespace, name, body)
