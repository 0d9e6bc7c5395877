"""Writes the tables of docs/protocol.md: `python -m tests.helpers.protocol_doc --write`."""

import argparse
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from shared.errors import FINAL_CLOSE_CODES, NEVER_SENT, CloseCode, ResetCode
from shared.wire.frames import HANDSHAKE, MAY_END, ON_STREAM, UNNUMBERED, FrameType
from shared.wire.handshake import Challenge, Hello
from shared.wire.limits import MAX_LINKS, LinkLimits
from shared.wire.mux import Mux, Role
from shared.wire.stream import TRANSITIONS, Input, State

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)

RESET_MEANINGS: dict[ResetCode, tuple[str, str]] = {
    ResetCode.CANCELLED: ("relay", "the agent went away, or asked to stop"),
    ResetCode.REVOKED: ("both", "the session was revoked or has expired"),
    ResetCode.REFUSED: ("client", "the client is full, draining or does not serve this upstream"),
    ResetCode.UPSTREAM_UNREACHABLE: ("client", "no connection to the upstream could be made"),
    ResetCode.UPSTREAM_BROKE: ("client", "the upstream failed after the request was sent to it"),
    ResetCode.TOO_LARGE: ("both", "a body was larger than its receiver takes"),
    ResetCode.STALLED: ("both", "the reader took nothing for too long"),
    ResetCode.FLOW_CONTROL: ("both", "more bytes arrived than credit was given for"),
    ResetCode.PROTOCOL: ("both", "the stream broke a rule of this document"),
    ResetCode.TIMEOUT: ("client", "the upstream did not answer in time"),
    ResetCode.NEEDS_APPROVAL: ("client", "its policy asks for a human's permission for this call"),
    ResetCode.NO_GRANT: ("client", "no living grant of the session, or one for another upstream"),
}
CLOSE_MEANINGS: dict[CloseCode, str] = {
    CloseCode.NORMAL: "nothing is wrong",
    CloseCode.GOING_AWAY: "the side that closes stops or restarts",
    CloseCode.PROTOCOL: "the other side broke a rule of this document",
    CloseCode.UNSUPPORTED: "a text message came",
    CloseCode.POLICY: "not authenticated, handshake too slow, or a flood of WebSocket pings",
    CloseCode.TOO_BIG: "a message, frame or head over its limit",
    CloseCode.INTERNAL: "the side that closes failed; try again later",
    CloseCode.REVOKED: "the tunnel or the client's key was disabled",
    CloseCode.REPLACED: "a newer link of this instance is open, or its key was copied",
    CloseCode.TOO_MANY: "the relay takes fewer links of one client",
}
LIMIT_MEANINGS: dict[str, str] = {
    "message_bytes": "largest message",
    "flush_bytes": "a message is not added to once it holds this much",
    "stream_window": "credit a stream starts with",
    "stream_window_max": "what a stream's credit may grow to",
    "link_window": "credit of the link",
    "max_streams": "open streams",
    "ping_interval": "seconds from one PING to the next",
    "ping_deadline": "seconds within which anything must come",
    "resume_seconds": "seconds a link that fell silent waits for another connection; may be 0",
}


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _sender(kind: FrameType) -> str:
    if kind in HANDSHAKE:
        return "client" if kind in (FrameType.HELLO, FrameType.PROOF) else "relay"
    takes = {role: kind in Mux(role, LinkLimits())._handlers for role in Role}
    if all(takes.values()):
        return "both"
    return "relay" if takes[Role.CLIENT] else "client"


def _frames() -> str:
    rows = (
        (
            f"0x{kind:02x}",
            kind.name,
            _sender(kind),
            "both" if kind is FrameType.CREDIT else "stream" if kind in ON_STREAM else "link",
            "yes" if kind in MAY_END else "",
            "" if kind in UNNUMBERED else "yes",
        )
        for kind in FrameType
    )
    return _table(("type", "name", "sent by", "on", "may END", "numbered"), rows)


def _handshake() -> str:
    names = {"str": "text", "int": "integer below 2^53"}
    names |= {"list[int]": "list of integers", "list[str]": "list of texts"}
    special = {
        "tunnel": "DNS label",
        "instance": "32 lower-case hex digits",
        "nonce": "64 lower-case hex digits",
        "process": "32 lower-case hex digits",
        "slot": f"integer below {MAX_LINKS}",
        "resume": "16 lower-case hex digits, or empty",
        "relay_key": "32 bytes as 43 url-safe base64 characters",
    }
    rows = [
        (frame, f"`{field.name}`", special.get(field.name, names[str(_annotation(field.type))]))
        for frame, kind in (("HELLO", Hello), ("CHALLENGE", Challenge))
        for field in fields(kind)
    ]
    return _table(("frame", "field", "value"), rows)


def _annotation(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) and kind in (str, int) else str(kind)


def _limits() -> str:
    rows = (
        (f"`{field.name}`", f"{field.default:,}", LIMIT_MEANINGS[field.name])
        for field in fields(LinkLimits)
    )
    return _table(("limit", "default", "meaning"), rows)


def _states() -> str:
    lines = ["```mermaid\n", "stateDiagram-v2\n", "    [*] --> IDLE\n"]
    arrows: dict[tuple[State, State], list[str]] = {}
    for (before, happened), after in TRANSITIONS.items():
        if before is not after and happened is not Input.RESET:
            arrows.setdefault((before, after), []).append(happened.name)
    for (before, after), names in arrows.items():
        lines.append(f"    {before.name} --> {after.name}: {', '.join(names)}\n")
    lines += ["    CLOSED --> [*]\n", "```\n", "\n", "RESET leads from every state to CLOSED.\n\n"]
    rows = [
        (
            state.name,
            *(
                TRANSITIONS[state, happened].name if (state, happened) in TRANSITIONS else ""
                for happened in Input
            ),
        )
        for state in State
    ]
    return "".join(lines) + _table(("state", *(happened.name for happened in Input)), rows)


def _resets() -> str:
    rows = (
        (int(code), code.name, sender, meaning, "never sent" if code in NEVER_SENT else "unknown")
        for code, (sender, meaning) in sorted(RESET_MEANINGS.items())
    )
    return _table(("code", "name", "sent by", "meaning", "delivery"), rows)


def _closes() -> str:
    rows = (
        (int(code), code.name, meaning, "final" if code in FINAL_CLOSE_CODES else "")
        for code, meaning in sorted(CLOSE_MEANINGS.items())
    )
    return _table(("code", "name", "meaning", ""), rows)


BLOCKS = {
    "frames": _frames,
    "handshake": _handshake,
    "limits": _limits,
    "states": _states,
    "resets": _resets,
    "closes": _closes,
}


def written(text: str) -> str:
    """Return the document with every generated block written anew."""
    return _BLOCK.sub(lambda found: found[1] + BLOCKS[found[2]]() + found[4], text)


def blocks(text: str) -> list[str]:
    """Return the names of the generated blocks in the document."""
    return [found[2] for found in _BLOCK.finditer(text)]


def main() -> None:
    """Write the document, or fail while it differs from the code."""
    parser = argparse.ArgumentParser(description="The generated tables of docs/protocol.md.")
    parser.add_argument("--write", action="store_true", help="write instead of comparing")
    text = DOCUMENT.read_text()
    fresh = written(text)
    if parser.parse_args().write:
        DOCUMENT.write_text(fresh)
    elif fresh != text:
        raise SystemExit("docs/protocol.md differs from the code: run with --write")


if __name__ == "__main__":
    main()
