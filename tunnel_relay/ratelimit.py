"""A token bucket for each address, in memory and bounded; pure, time is passed in."""

import ipaddress
from collections import OrderedDict


class RateLimit:
    """Lets each key do `burst` things at once and `per_second` in the long run.

    Remembers at most `keys` of them; the one that was quiet longest is forgotten first.
    """

    def __init__(self, per_second: float, burst: float, keys: int = 4096) -> None:
        self._per_second = per_second
        self._burst = burst
        self._keys = keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Count one use; returns 0 when it is allowed, else the seconds to wait. `now` in s."""
        level, at = self._buckets.pop(key, (self._burst, now))
        level = min(self._burst, level + max(0.0, now - at) * self._per_second)
        wait = 0.0 if level >= 1 else (1 - level) / self._per_second
        self._buckets[key] = (level - 1 if level >= 1 else level, max(now, at))
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return wait

    def give_back(self, key: str) -> None:
        """Take back one use that was allowed."""
        found = self._buckets.get(key)
        if found is not None:
            self._buckets[key] = min(self._burst, found[0] + 1), found[1]

    def spent(self, key: str, now: float) -> bool:
        """Tell whether the next use would have to wait; counts nothing."""
        level, at = self._buckets.get(key, (self._burst, now))
        return level + max(0.0, now - at) * self._per_second < 1


def address_key(address: str) -> str:
    """Return what to count an address under: one IPv6 user holds a whole /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 6:
        mapped = parsed.ipv4_mapped
        if mapped is not None:
            return str(mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
