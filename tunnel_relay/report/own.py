"""What the relay's settings come to, and who can read its files. Never a value of a secret."""

import os
import stat
from pathlib import Path
from typing import Any

from shared.audit.keys import KEY_FILE, TAGS_FILE
from tunnel_relay.setting_types import is_loopback
from tunnel_relay.settings import Settings


def settings_facts(settings: Settings) -> dict[str, Any]:
    """Return what of the settings a reviewer asks for."""
    admin = settings.admin
    return {
        "listen": {"loopback": is_loopback(settings.listen.host), "tls": settings.tls is not None},
        "admin": None
        if admin is None
        else {"loopback": is_loopback(admin.host), "tls": admin.tls is not None},
        "demo_certificate": settings.dev_authority is not None,
        "proxies": [str(each) for each in settings.trusted_proxies],
        "origins": list(settings.allowed_origins),
        "oauth": settings.oauth.enabled,
        "registration": settings.oauth.enabled and settings.oauth.dynamic_registration,
        "oidc": None if settings.oidc is None else settings.oidc.issuer,
        "issuers": [each.url for each in settings.issuer],
        "sessions": settings.sessions.model_dump(),
        "webhook": settings.approvals.webhook is not None,
        "audit": {
            "on": settings.audit.on,
            "reads_without": settings.audit.reads_without,
            "keep_days": settings.audit.keep_days,
        },
    }


def file_facts(settings: Settings) -> list[dict[str, Any]]:
    """Return the files and folders that must be the relay's alone, and who else gets in."""
    folder = settings.audit_folder
    secret: list[tuple[str, Path | None]] = [
        ("state folder", settings.state_dir),
        ("relay key", settings.relay_key),
        ("key of MCP session ids", settings.mcp_session_key),
        ("database", settings.database),
        ("log folder", folder),
        ("key of the log", folder / KEY_FILE),
        ("key of the log's tags", settings.state_dir / TAGS_FILE),
        *[
            (name, None if each is None else each.key_file)
            for name, each in (
                ("TLS key", settings.tls),
                ("TLS key of links", None if settings.links is None else settings.links.tls),
                ("TLS key of the console", None if settings.admin is None else settings.admin.tls),
            )
        ],
        *[("a secret of the settings", path) for path in _references(settings)],
    ]
    found = [_look(what, path, 0o077) for what, path in secret]
    found.append(_look("policy", settings.policy, 0o022))
    return [each for each in found if each is not None]


def _references(settings: Settings) -> list[Path]:
    oidc = settings.oidc
    given = [settings.approvals.webhook_secret, None if oidc is None else oidc.client_secret]
    return [Path(each.name) for each in given if each is not None and each.kind == "file"]


def _look(what: str, path: Path | None, forbidden: int) -> dict[str, Any] | None:
    try:
        facts = None if path is None else path.stat()
    except OSError:
        facts = None
    if path is None or facts is None:
        return None
    if facts.st_uid == 0 != os.geteuid() and stat.S_ISREG(facts.st_mode):
        forbidden &= ~0o040  # systemd hands credentials over as root's, mode 0440
    return {
        "what": what,
        "path": str(path),
        "mode": f"{stat.S_IMODE(facts.st_mode):04o}",
        "open": bool(facts.st_mode & forbidden),
        "changed": facts.st_mtime,
    }
