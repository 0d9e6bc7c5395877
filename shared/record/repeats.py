"""Reads records of calls as our own writer spells them, without parsing what calls share.

Who called, what and why end an intent, and are the same for all calls of a session to a tool: each
such end is parsed once. What is matched here is an object that `shared.record.model.parse` takes,
by its grammar; whatever is spelled in another way is for `parse`.
"""

import re

import jiter

MAX_KNOWN = 4096
"""Ends that are remembered; then the memory begins anew."""
_N = rb"(?:0|[1-9][0-9]{0,17})"
_CALL = rb'"call":"([0-9a-z.]{1,64})"'
COMPLETION = re.compile(
    rb'\{"bytes":N,CALL,"delivery":"[a-z_]{1,32}","intent":(N),"kind":"call\.completion",'
    rb'"result":"([a-z_]{1,32})",(?:"scrub_hits":N,)?"seq":(N),"status":N,"time":(N),"us":N,"v":1\}'.replace(
        b"CALL", _CALL
    ).replace(b"N", _N)
)
"""Matches a whole completion: call, intent, result, seq and time."""
_INTENT = re.compile(
    rb'\{(?:"arguments":(?:\{\}|\{"[A-Za-z0-9_]{1,64}":"hmac:[0-9a-f]{32}"\}|(\{[^{}]{1,4096}\})),)?'
    rb'"body":"[0-9a-f]{64}",CALL,"kind":"call\.intent","seq":(N),"time":(N),'
    rb'(?:"trace":"[0-9a-f-]{1,64}",)?("v":1,"what":.*)'.replace(b"CALL", _CALL).replace(b"N", _N),
    re.DOTALL,
)
_END = {"v", "what", "who", "why"}
"""What the end says and nothing else: what stands before it is said once."""


class Intents:
    """Matches intents; remembers the ends that it saw."""

    def __init__(self) -> None:
        self._known: dict[bytes, bool] = {}

    def match(self, record: bytes) -> re.Match[bytes] | None:
        """Return the match of a whole intent: arguments, call, seq, time and how it ends."""
        found = _INTENT.fullmatch(record)
        if found is None:
            return None
        arguments, end = found[1], found[5]
        known = self._known.get(end)
        if known is None:
            known = self._learn(end)
        return found if known and (arguments is None or _object(arguments) is not None) else None

    def _learn(self, end: bytes) -> bool:
        facts = _object(b"{" + end)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[end] = known = facts is not None and facts.keys() == _END
        return known


def _object(text: bytes) -> dict[str, object] | None:
    try:
        found = jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
