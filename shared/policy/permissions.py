"""The permission map: what one user could do through one agent, server by server."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from shared.policy.classes import IN_ORDER, ToolClass
from shared.policy.methods import RULED, TOOL
from shared.policy.model import Action, Effect, Policy, Subject
from shared.policy.rules import outlook

Tool = tuple[str, str, ToolClass | None]
"""Server, tool, class."""
ANY = "(any)"
ANY_NAME = "-"
"""Stands for a tool that no rule names; only patterns as wide as `*` fit it."""
_OTHER = sorted(RULED - {TOOL})


class Row(NamedTuple):
    """What can become of one kind of call; two or more effects: it depends on the arguments."""

    server: str
    what: str
    tool_class: ToolClass | None
    effects: tuple[Effect, ...]
    rules: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The effects in words."""
        if len(self.effects) == 1:
            return self.effects[0].value
        return "depends: " + ", ".join(self.effects)

    def as_data(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "server": self.server,
            "what": self.what,
            "class": self.tool_class,
            "effects": list(self.effects),
            "rules": list(self.rules),
        }


def permission_map(
    policy: Policy, subject: Subject, tools: Iterable[Tool], servers: Sequence[str] = ()
) -> list[Row]:
    """Return a row for each known tool, for each class, and for each other method a rule decides.

    `servers` are shown even without known tools. The rows of a class speak of tools that no rule
    names.
    """
    known = sorted(set(tools), key=lambda tool: (tool[0], tool[1]))
    rows: list[Row] = []
    for server in dict.fromkeys([*servers, *(tool[0] for tool in known)]):
        for _, name, tool_class in (tool for tool in known if tool[0] == server):
            action = Action(server, TOOL, name, tool_class, None)
            rows.append(_row(policy, subject, action, name))
        for tool_class in IN_ORDER:
            action = Action(server, TOOL, ANY_NAME, tool_class, None)
            rows.append(_row(policy, subject, action, f"{ANY} tool"))
        for method in _OTHER:
            action = Action(server, method, ANY_NAME, None, None)
            rows.append(_row(policy, subject, action, method))
    return rows


def _row(policy: Policy, subject: Subject, action: Action, what: str) -> Row:
    effects, rules = outlook(policy, subject, action)
    return Row(action.server, what, action.tool_class, tuple(effects), tuple(rules))
