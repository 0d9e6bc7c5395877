"""Where something may be sent: every recipient in a call must be inside an allowed domain.

Addresses are read by a narrow grammar, not as mail programs read them: a spelling about which two
programs could disagree is not inside any domain.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.policy.conditions import ConditionError

USUAL = ("to", "cc", "bcc")
"""Looked at whenever a call has them, whether a rule names them or not."""
MAX_RECIPIENTS = 1000
MAX_NAMES = 1000
"""Arguments of a call: each name may be that of a recipient in another case."""

# No quotes, brackets, comments or routes (`%`, `!`), and nothing outside ASCII.
_LOCAL = re.compile(r"[A-Za-z0-9_+'-]+(?:\.[A-Za-z0-9_+'-]+)*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
MAX_ADDRESS = 254
MAX_TEXT = MAX_RECIPIENTS * (MAX_ADDRESS + len(", "))
"""Characters of all recipients, with what stands between them."""


def is_domain(text: str) -> bool:
    """Is this `corp.com`, or `*.corp.com` for all below it?"""
    plain = text.removeprefix("*.")
    return len(text) <= MAX_ADDRESS and _DOMAIN.fullmatch(plain) is not None


@dataclass(frozen=True, slots=True)
class Recipients:
    """The arguments that hold recipients, and the domains they may be in."""

    args: tuple[str, ...]
    domains: tuple[str, ...]

    def all_inside(self, args: Mapping[str, Any]) -> bool:
        """Tell whether the call names recipients, and each is in an allowed domain.

        Raises ConditionError for more arguments than are looked through.
        """
        if len(args) > MAX_NAMES:
            raise ConditionError("there are too many arguments")
        wanted = dict.fromkeys((*self.args, *USUAL))
        folded = {name.casefold() for name in wanted}
        values: list[str] = []
        for name, value in args.items():
            if name in wanted:
                found = _strings(value)
                if found is None:
                    return False
                values += found
            elif name.strip().casefold() in folded:
                return False  # `BCC`: a server may read it as the other
        addresses = _addresses(values)
        return bool(addresses) and all(self._inside(address) for address in addresses)

    def _inside(self, address: str) -> bool:
        if len(address) > MAX_ADDRESS:
            return False
        local, _, domain = address.partition("@")
        if _LOCAL.fullmatch(local) is None or _DOMAIN.fullmatch(domain) is None:
            return False
        return _is_in(domain.lower(), self.domains)


def _is_in(domain: str, allowed: Iterable[str]) -> bool:
    for one in allowed:
        wanted = one.lower()
        if domain == wanted or (wanted[:2] == "*." and domain.endswith(wanted[1:])):
            return True
    return False


def _addresses(values: list[str]) -> list[str]:
    """Return what stands between commas; nothing when that is more than could be recipients."""
    # All of it is counted before any of it is taken apart: it may be megabytes of commas.
    if sum(map(len, values)) > MAX_TEXT:
        return []
    if len(values) + sum(value.count(",") for value in values) > MAX_RECIPIENTS:
        return []
    return [part.strip(" ") for value in values for part in value.split(",")]


def _strings(value: Any) -> list[str] | None:
    """Return an argument's strings, none for null; None for anything but a string or a list."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or len(value) > MAX_RECIPIENTS:
        return None
    return value if all(isinstance(one, str) for one in value) else None
