"""Policies and calls for tests, written as people write them."""

from typing import Any

from shared.policy.classes import ToolClass
from shared.policy.document import read_policy
from shared.policy.model import Action, Policy, Subject

ALICE = Subject("alice", frozenset({"support"}), "claude")


def policy(rules: str, top: str = "") -> Policy:
    """Read a policy with these rules, each on lines of its own from the margin."""
    return read_policy(f"version: 1\n{top}\nrules:\n{rules}\n", "policy.yaml")


def call(
    tool: str | None = "get",
    server: str = "crm",
    tool_class: ToolClass | None = ToolClass.READ,
    **args: Any,
) -> Action:
    """Make the call of a tool."""
    return Action(server, "tools/call", tool, tool_class, args)
