"""What people and clients may write into names and texts; pure, raises RelayError."""

import re
from collections.abc import Mapping, Sequence

from shared.ids import is_name
from shared.policy.classes import IN_ORDER
from tunnel_relay.admin.acting import OPERATOR
from tunnel_relay.errors import Code, RelayError

MAX_TEXT = 200
MAX_HOST_PART = 60
_INSTANCE = re.compile(r"[0-9a-f]{32}")


def check_name(name: str, what: str) -> str:
    """Return a name of a tunnel or upstream; it is safe in a URL and in a shell."""
    if not is_name(name):
        raise RelayError(Code.BAD_NAME, f"this cannot be the name of {what}")
    return name


def check_text(text: str, what: str) -> str:
    """Return a user, agent, owner or reason: one printable line, so that no log line is forged."""
    text = text.strip()
    if not text or len(text) > MAX_TEXT or not text.isprintable():
        raise RelayError(
            Code.BAD_REQUEST, f"{what} must be 1 to {MAX_TEXT} printable characters on one line"
        )
    return text


def changed_meanwhile(what: str, whose: str) -> RelayError:
    """Return the refusal of a change that was made upon what is not so any more."""
    message = f"somebody changed the {what} of {whose} meanwhile: look at it as it is now"
    return RelayError(Code.CHANGED_MEANWHILE, message)


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Return classes of tools, each once and in their order; none given stays none."""
    if not {*classes} <= {*IN_ORDER}:
        raise RelayError(Code.BAD_REQUEST, f"a class is one of {', '.join(IN_ORDER)}")
    return tuple(str(each) for each in IN_ORDER if each in classes)


def split_server(server: str) -> tuple[str, str]:
    """Return tunnel and upstream of `TUNNEL/UPSTREAM`."""
    tunnel, slash, upstream = server.partition("/")
    if not slash:
        raise RelayError(Code.BAD_REQUEST, "a server is written TUNNEL/UPSTREAM")
    return check_name(tunnel, "a tunnel"), check_name(upstream, "an upstream")


def check_user(text: str, what: str) -> str:
    """Return a user's key: a login name, or `https://issuer#subject` for one of another issuer."""
    key = text.strip()
    if key == OPERATOR:
        raise RelayError(
            Code.BAD_REQUEST, f"{OPERATOR} is what records call who gives commands here"
        )
    issuer, mark, subject = key.partition("#")
    if not mark:
        return check_text(key, what)
    if not issuer.startswith(("https://", "http://localhost", "http://127.0.0.1")):
        raise RelayError(Code.BAD_REQUEST, f"{what} of another issuer is https://ISSUER#SUBJECT")
    return check_text(issuer, f"the issuer of {what}") + mark + check_text(subject, what)


def split_pattern(pattern: str) -> str:
    """Return `TUNNEL/UPSTREAM`, `TUNNEL/*` or `*`."""
    if pattern != "*":
        tunnel, slash, upstream = pattern.partition("/")
        if not slash:
            raise RelayError(Code.BAD_REQUEST, "a server is TUNNEL/UPSTREAM, TUNNEL/* or *")
        check_name(tunnel, "a tunnel")
        if upstream != "*":
            check_name(upstream, "an upstream")
    return pattern


def is_instance(text: str) -> bool:
    """Tell whether this has the shape of a client instance's identifier."""
    return _INSTANCE.fullmatch(text) is not None


def host_text(host: Mapping[str, str]) -> str:
    """Return what a client says about its machine as one harmless line."""
    parts = (host.get(key, "") for key in ("name", "platform", "version"))
    clean = ("".join(c for c in part if " " < c <= "~")[:MAX_HOST_PART] for part in parts)
    return " ".join(part for part in clean if part)
