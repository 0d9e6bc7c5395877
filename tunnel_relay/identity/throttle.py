"""How often a login may be tried. Pure; time is passed in."""

from tunnel_relay.ratelimit import RateLimit, address_key

PER_ACCOUNT = 5 / 300, 10
"""(a second, at once): a person mistypes a few times; a guesser gets some 1,400 tries a day."""
PER_ADDRESS = 20 / 60, 40
PER_BOTH = 2.5 / 300, 5
"""For one account from one address: half of it, so that nobody alone locks another out."""
ACCOUNTS = 65_536
"""Names that are remembered, of users and of nobody. To have one forgotten takes as many attempts
at others, each of which costs a password verified: by then nothing of the count would be left."""


class LoginThrottle:
    """Counts attempts for each account and each address, known or not."""

    def __init__(self) -> None:
        self._accounts = RateLimit(*PER_ACCOUNT, ACCOUNTS)
        self._addresses = RateLimit(*PER_ADDRESS)
        self._both = RateLimit(*PER_BOTH, ACCOUNTS)

    def take(self, account: str, address: str, now: float) -> float:
        """Count an attempt; returns 0 when it may be made, else the seconds to wait.

        One that may not be made counts nothing against the account.
        """
        account, peer = account[:200].casefold(), address_key(address)
        return (
            self._addresses.take(peer, now)
            or self._both.take(f"{peer} {account}", now)
            or self._accounts.take(account, now)
        )

    def succeeded(self, account: str, address: str) -> None:
        """Take back what an attempt counted against the account: the password was right."""
        account = account[:200].casefold()
        self._both.give_back(f"{address_key(address)} {account}")
        self._accounts.give_back(account)
