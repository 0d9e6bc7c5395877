"""OAuth scopes: what an agent asks to do, in the classes of tools. Pure.

`mcp` is a server as a whole; `mcp:read`, `mcp:write` and so on name one class of tools each. A user
may consent to less than was asked for; what was granted is the `scope` of the token's answer
(RFC 6749 section 3.3).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from shared.policy.classes import IN_ORDER, ToolClass
from tunnel_relay.identity.resources import SCOPE

HANDFUL = 5
"""Names of tools beside a class."""
MAX_NAME = 80
FIELD = "class_"
"""What a box of the consent page is called, before the class."""

MEANING: Mapping[ToolClass, str] = {
    ToolClass.READ: "Look things up",
    ToolClass.DRAFT: "Prepare drafts that somebody else sends or applies",
    ToolClass.WRITE: "Change things on the server",
    ToolClass.EXTERNAL_SEND: "Send things out: mail, posts, payments",
    ToolClass.ADMIN: "Administer: change rights, delete for good",
    ToolClass.BREAK_GLASS: "Emergency tools, with a reason and a second person",
}


class Tools(NamedTuple):
    """The tools of one class, for the consent page: how many, and a handful of their names."""

    total: int
    names: tuple[str, ...]


def tools_of(by_class: Mapping[ToolClass, Sequence[str]]) -> dict[ToolClass, Tools]:
    """Return what the consent page says beside each class."""
    return {
        each: Tools(len(names), tuple(name[:MAX_NAME] for name in names[:HANDFUL]))
        for each, names in by_class.items()
    }


def scope_of(tool_class: ToolClass) -> str:
    """Return the scope that stands for one class."""
    return f"{SCOPE}:{tool_class}"


def asked(scope: str | None) -> tuple[ToolClass, ...]:
    """Return the classes that a request for these scopes is about.

    One that names no class asks for all but `break_glass`, which has to be named. Scopes nobody
    knows are passed over, as RFC 6749 lets a server do: an agent may ask several servers alike.
    """
    words = (scope or "").split()
    named = tuple(each for each in IN_ORDER if scope_of(each) in words)
    return named or tuple(each for each in IN_ORDER if each is not ToolClass.BREAK_GLASS)


def granted(classes: Iterable[str]) -> str:
    """Return the scope of a session that may use tools of these classes; none given: of all."""
    kept = set(classes)
    return " ".join([SCOPE, *(scope_of(each) for each in IN_ORDER if not kept or each in kept)])


def chosen(fields: Mapping[str, str]) -> tuple[ToolClass, ...]:
    """Return the classes that were ticked on the consent page."""
    return tuple(each for each in IN_ORDER if f"{FIELD}{each}" in fields)
