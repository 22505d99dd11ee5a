"""Whose token a report comes with: TokenReviews for the one audience that names the Job, asked seldom.

Called by the status endpoint. An answer counts for a minute. Tokens are remembered by their hash alone, and what nobody
can vouch for costs the API server little: so many reviews at a time, and so many of new tokens for each Job.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from plumbline_operator.kube.api.client import KubeClient
from plumbline_operator.kube.api.resources import TOKEN_REVIEWS
from plumbline_operator.kube.progress.buckets import Buckets

__all__ = ["Caller", "Reviews", "TooManyReviews"]

_FRESH: Final = 60.0
"""Seconds for which an answer counts: that long a report of a pod that was just deleted may come in."""
_MOST: Final = 8_192
_MOST_REFUSED: Final = 1_024
"""Answers that are remembered; those that were refused have a place of their own, which they fill in vain."""
_AT_A_TIME: Final = 8
_MOST_WAITING: Final = 512
_BURST: Final = 5
_PERIOD: Final = 5.0
"""Unknown tokens for a Job: one at once for each of a few pods and renewals, and then one every five seconds."""
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"


class TooManyReviews(Exception):
    """The token is unknown, and asking for it has to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


@dataclass(frozen=True)
class Caller:
    """Who a token belongs to."""

    user: str
    pod_uid: str | None
    """The pod that the token is bound to."""


@dataclass(frozen=True)
class _Answer:
    caller: Caller | None
    until: float


class Reviews:
    """Asks the API server, and remembers what it said; made within a running loop."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._time = asyncio.get_running_loop().time
        self._known: OrderedDict[bytes, _Answer] = OrderedDict()
        self._refused: OrderedDict[bytes, _Answer] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._buckets = Buckets(burst=_BURST, period=_PERIOD, most=_MOST, time=self._time)

    async def ask(self, token: str, audience: str) -> Caller | None:
        """Whose token it is; None where it is nobody's, or not made for this audience.

        Raises:
            TooManyReviews: The answer is not known, and the API server is not to be asked now.
            ApiError: The API server did not answer.
        """
        digest = hashlib.sha256(f"{audience} {token}".encode()).digest()
        answer = self._known.get(digest) or self._refused.get(digest)
        if answer is not None and answer.until > self._time():
            return answer.caller
        task = self._asking.get(digest)
        if task is None:
            wait = self._buckets.take(audience) or float(len(self._asking) >= _MOST_WAITING)
            if wait:
                raise TooManyReviews(wait)
            task = asyncio.get_running_loop().create_task(self._review(digest, token, audience))
            self._asking[digest] = task
            task.add_done_callback(lambda done: self._asked(digest, done))
        return await asyncio.shield(task)

    def _asked(self, digest: bytes, task: asyncio.Task[Caller | None]) -> None:
        self._asking.pop(digest, None)
        if not task.cancelled():
            # Whoever waited has its error already; where nobody waits any more, nobody has to know.
            task.exception()

    async def close(self) -> None:
        """End what is being asked."""
        left = list(self._asking.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _review(self, digest: bytes, token: str, audience: str) -> Caller | None:
        body = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "spec": {"token": token, "audiences": [audience]},
        }
        async with self._turns:
            review = await self._client.create(TOKEN_REVIEWS, None, body)
        caller = _caller(review.get("status") or {}, audience)
        memory, most = (self._refused, _MOST_REFUSED) if caller is None else (self._known, _MOST)
        memory[digest] = _Answer(caller, self._time() + _FRESH)
        memory.move_to_end(digest)
        if len(memory) > most:
            memory.popitem(last=False)
        return caller


def _caller(status: Mapping[str, Any], audience: str) -> Caller | None:
    # A server that knows nothing of audiences names none, and would let any token pass.
    if not status.get("authenticated") or audience not in (status.get("audiences") or ()):
        return None
    user = status.get("user") or {}
    pods = (user.get("extra") or {}).get(_POD_UID) or [None]
    return Caller(str(user.get("username", "")), pods[0])
