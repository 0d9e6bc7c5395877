"""How stored things look in listings: JSON values, digests as fingerprints, never a secret."""

from typing import Any

from shared.ids import fingerprint
from shared.keys import key_fingerprint
from tunnel_relay.sessions import Refusal
from tunnel_relay.store.base import Instance, Session, Tunnel

SCHEMA_VERSION = 1


def tunnel_view(tunnel: Tunnel, links: list[dict[str, Any]]) -> dict[str, Any]:
    """Show a tunnel with the state of its links."""
    mine = [link for link in links if link.get("tunnel") == tunnel.name]
    return {
        "name": tunnel.name,
        "owner": tunnel.owner,
        "created": tunnel.created,
        "disabled": tunnel.disabled,
        "links": len(mine),
        "upstreams": sorted({name for link in mine for name in link.get("upstreams", ())}),
    }


def instance_view(instance: Instance, links: list[dict[str, Any]]) -> dict[str, Any]:
    """Show an enrolled client; its key as the fingerprint people compare."""
    return {
        "id": instance.id,
        "key": key_fingerprint(instance.public_key),
        "host": instance.host,
        "created": instance.created,
        "connects": instance.counter,
        "locked": instance.locked,
        "connected": any(link.get("instance") == instance.id for link in links),
    }


def session_view(session: Session, ended: Refusal | None) -> dict[str, Any]:
    """Show a session; `state` is `live` or what ended it."""
    return {
        "id": session.id,
        "fingerprint": fingerprint(session.digest),
        "user": session.user,
        "agent": session.agent,
        "server": f"{session.tunnel}/{session.upstream}",
        "state": ended.value if ended else "live",
        "created": session.created,
        "expires": session.expires,
        "idle": session.idle,
        "last_used": session.last_used,
        "revoked": session.revoked,
        "reason": session.reason,
    }
