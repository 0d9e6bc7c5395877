"""Proposes a class for a tool, for a person to confirm: its name and annotations are hints.

Nothing here ever sets a class. A server that calls its delete tool read-only gets a proposal that a
person sees beside the name, and an unknown verb is taken for one that writes. Pure.
"""

import re
from collections.abc import Mapping
from typing import Any

from shared.policy.classes import IN_ORDER, ToolClass

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERBS: tuple[tuple[ToolClass, frozenset[str]], ...] = (
    (
        ToolClass.ADMIN,
        _words(
            "delete drop destroy purge wipe truncate revoke grant permission permissions"
            " role roles admin sudo exec execute shell eval command chmod chown password"
            " credential credentials secret secrets install uninstall shutdown reboot"
            " restart deploy format erase kill terminate ban impersonate rollback migrate"
            " policy"
        ),
    ),
    (
        ToolClass.EXTERNAL_SEND,
        _words(
            "send mail email post publish pay payment transfer wire tweet notify share"
            " forward reply invite sms message dispatch push upload export webhook broadcast"
            " purchase order refund invoice submit"
        ),
    ),
    (
        ToolClass.DRAFT,
        _words("draft preview propose plan prepare stage simulate dry"),
    ),
    (
        ToolClass.WRITE,
        _words(
            "create add update set write edit insert put patch move rename remove save"
            " store append modify change close open assign merge commit checkout reset"
            " archive restore cancel start stop run enable disable mark apply import sync"
            " copy replace upsert register book unset clear lock unlock approve reject init"
            " branch stage increment"
        ),
    ),
    (
        ToolClass.READ,
        _words(
            "get list read search find show view describe fetch lookup query count status"
            " info diff log check validate convert calculate compare summarize ping version"
            " inspect browse head tail stat exists echo history help now time"
        ),
    ),
)
_OF = {verb: kind for kind, verbs in reversed(_VERBS) for verb in verbs}


def propose(definition: Mapping[str, Any]) -> ToolClass:
    """Return the class to propose for a tool's definition; total."""
    name = definition.get("name")
    parts = [part.lower() for part in _PARTS.findall(name)] if isinstance(name, str) else []
    by_name = _by_name(parts)
    notes = definition.get("annotations")
    hints = notes if isinstance(notes, Mapping) else {}
    return _more(ToolClass.WRITE if by_name is None else by_name, hints)


def _by_name(parts: list[str]) -> ToolClass | None:
    """Judge by the first verb, and by any word in the name that names something graver."""
    known = [_OF[part] for part in parts if part in _OF]
    if not known:
        return None
    sends = known[0] is ToolClass.EXTERNAL_SEND
    if ToolClass.DRAFT in known and ToolClass.ADMIN not in known and not sends:
        return ToolClass.DRAFT
    if known[0] is ToolClass.READ and "and" not in parts:
        # `get_order`, `list_roles`: the verb counts, and what it looks at does not.
        grave = [part for part in parts if part in ("delete", "drop", "exec", "execute", "eval")]
        return ToolClass.ADMIN if grave else ToolClass.READ
    return max(known, key=IN_ORDER.index)


def _more(proposed: ToolClass, hints: Mapping[str, Any]) -> ToolClass:
    """Let hints make it graver, never lighter."""
    graver = hints.get("destructiveHint") is True or hints.get("readOnlyHint") is False
    return ToolClass.WRITE if graver and not proposed.changes else proposed
