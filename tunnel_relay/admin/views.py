"""How stored things look in listings: JSON values, digests as fingerprints, never a secret."""

from typing import Any

from shared.ids import fingerprint
from shared.keys import key_fingerprint
from tunnel_relay.sessions import Refusal
from tunnel_relay.store.base import AdminToken, Agent, Bar, Instance, Session, Tunnel, User

SCHEMA_VERSION = 1


def links_by_tunnel(links: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return links by their tunnel: whoever shows many tunnels goes through all links once."""
    found: dict[str, list[dict[str, Any]]] = {}
    for link in links:
        found.setdefault(link["tunnel"], []).append(link)
    return found


def tunnel_view(tunnel: Tunnel, links: list[dict[str, Any]]) -> dict[str, Any]:
    """Show a tunnel with the state of its links; `links` may hold those of others too."""
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
        "server": session.place,
        "door": session.door.value,
        "classes": list(session.classes),
        "granted_by": session.granted_by,
        "calls": session.calls,
        "state": ended.value if ended else "live",
        "created": session.created,
        "expires": session.expires,
        "idle": session.idle,
        "last_used": session.last_used,
        "revoked": session.revoked,
        "reason": session.reason,
    }


def bar_view(bar: Bar) -> dict[str, Any]:
    """Show what a revoked session leaves behind."""
    return {
        "session": bar.id,
        "user": bar.user,
        "agent": bar.agent,
        "server": f"{bar.tunnel}/{bar.upstream}",
        "since": bar.since,
        "reason": bar.reason,
    }


def user_view(user: User) -> dict[str, Any]:
    """Show a user; of a password only whether there is one."""
    return {
        "user": user.key,
        "issuer": user.issuer,
        "subject": user.subject,
        "name": user.name,
        "roles": [role.value for role in user.roles],
        "groups": list(user.groups),
        "servers": list(user.servers),
        "login": user.password is not None,
        "created": user.created,
        "disabled": user.disabled,
        "last_login": user.last_login,
    }


def agent_view(agent: Agent) -> dict[str, Any]:
    """Show an agent; of a secret only whether there is one."""
    return {
        "agent": agent.id,
        "name": agent.name,
        "kind": agent.kind.value,
        "redirect_uris": list(agent.redirect_uris),
        "secret": agent.secret is not None,
        "created": agent.created,
        "disabled": agent.disabled,
    }


def admin_token_view(token: AdminToken) -> dict[str, Any]:
    """Show an admin token; of its secret only the fingerprint."""
    return {
        "id": token.id,
        "fingerprint": fingerprint(token.digest),
        "user": token.user,
        "name": token.name,
        "created": token.created,
        "expires": token.expires,
    }
