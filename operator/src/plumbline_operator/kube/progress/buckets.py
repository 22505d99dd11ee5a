"""How often something may happen for each of many keys: token buckets, as many as are in use. Knows no I/O."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["Buckets"]


class Buckets:
    """A bucket for every key; a full one need not be remembered."""

    def __init__(self, *, burst: int, period: float, most: int, time: Callable[[], float]) -> None:
        """Begin with full buckets.

        Args:
            burst: What a full bucket holds.
            period: Seconds until one more is in it.
            most: How many buckets are remembered; those that were not used for longest are forgotten.
            time: The time in seconds; it only grows.
        """
        self._burst, self._period, self._most, self._time = burst, period, most, time
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()
        """The moment at which a bucket will be full again."""

    def take(self, key: Hashable) -> float:
        """Take one from the bucket; gives 0, or where it is empty the seconds until it is not."""
        now = self._time()
        full_at = max(self._full_at.get(key, now), now)
        wait = full_at + self._period - self._burst * self._period - now
        if wait > 1e-9:
            return wait
        self._full_at[key] = full_at + self._period
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return 0.0
