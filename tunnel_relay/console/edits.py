"""What was edited in a form; its fields come with marks of what they held when it was made. Pure.

Everything else in a form is as old as its page. What somebody else took away meanwhile would come
back if it were saved too.
"""

import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import Any

from tunnel_relay.admin.checks import changed_meanwhile
from tunnel_relay.console.forms import Form


def mark(value: str | Collection[str]) -> str:
    """Return what stands for a field's value, so that a long list need not go twice."""
    # Blank lines of a field are nothing, so a blank text of a list is neither.
    held = value if isinstance(value, str) else sorted({each for each in value if each.strip()})
    return sha256(json.dumps(held).encode()).hexdigest()[:32]


def edited(
    form: Form,
    given: Mapping[str, str | Collection[str] | None],
    now: Mapping[str, Any],
    whose: str,
) -> dict[str, Any]:
    """Return of what a form gives that which was edited; a field without its mark was not shown.

    Raises RelayError CHANGED_MEANWHILE for what somebody else made something third of meanwhile.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        was = form.text(f"was_{name}")
        if not was or value is None or mark(value) in (was, mark(now[name])):
            continue
        if mark(now[name]) != was:
            raise changed_meanwhile(name, whose)
        found[name] = value if isinstance(value, str) else list(value)
    return found
