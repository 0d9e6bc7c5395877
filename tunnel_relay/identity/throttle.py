"""How often a login may be tried. Pure; time is passed in."""

from tunnel_relay.ratelimit import RateLimit, address_key

PER_ACCOUNT = 5 / 300, 10
"""(a second, at once): a person mistypes a few times; a guesser gets some 1,400 tries a day."""
PER_ADDRESS = 20 / 60, 40


class LoginThrottle:
    """Counts attempts for each account and each address, known or not."""

    def __init__(self) -> None:
        self._accounts = RateLimit(*PER_ACCOUNT)
        self._addresses = RateLimit(*PER_ADDRESS)

    def take(self, account: str, address: str, now: float) -> float:
        """Count an attempt; returns 0 when it may be made, else the seconds to wait."""
        return max(
            self._addresses.take(address_key(address), now),
            self._accounts.take(account[:200].casefold(), now),
        )
