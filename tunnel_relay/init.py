"""Writes what a new relay needs: a configuration that works, and fresh keys."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from shared.keys import PrivateKey
from tunnel_relay.devcert import make_dev_certificate
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import check_state_dir, write_new
from tunnel_relay.keyfiles import new_session_key
from tunnel_relay.policy.default import default_policy
from tunnel_relay.setting_types import is_loopback
from tunnel_relay.settings import (
    DEV_AUTHORITY,
    DEV_CERTIFICATE,
    POLICY_FILE,
    Settings,
    parse_settings,
    read_settings,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the admin asked for; paths are absolute."""

    config: Path
    state_dir: Path
    public_url: str
    host: str
    port: int
    tls: tuple[Path, Path] | None = None
    demo: bool = False
    admin: tuple[str, int] | None = None
    """Where the admin API and the console listen; None: nowhere."""


def init(wanted: Wanted) -> Settings:
    """Write the files and return the settings as the relay will read them.

    Nothing is overwritten. Raises RelayError EXISTS_ALREADY, FILE_UNSAFE or CONFIG_INVALID.
    """
    tls = wanted.tls
    files: dict[Path, str] = {
        wanted.state_dir / "relay.key": PrivateKey.generate().to_pem().get_secret_value(),
        wanted.state_dir / "mcp-session.key": new_session_key().get_secret_value(),
        wanted.config.parent / POLICY_FILE: default_policy(),
    }
    if wanted.demo:
        certificate = make_dev_certificate()
        tls = wanted.state_dir / DEV_CERTIFICATE, wanted.state_dir / "dev-key.pem"
        files[tls[0]] = certificate.chain
        files[tls[1]] = certificate.key.get_secret_value()
        files[wanted.state_dir / DEV_AUTHORITY] = certificate.authority
    text = files[wanted.config] = config_text(wanted, tls)
    # Judged before anything is written, so that a refusal leaves nothing behind.
    try:
        parse_settings(text, str(wanted.config), {})
    except RelayError as error:
        message = f"nothing was written: {error.message}"
        raise RelayError(error.code, message, then="tunnel-relay init --help") from None
    for path in files:
        if path.exists():
            then = _instead(wanted)
            raise RelayError(Code.EXISTS_ALREADY, f"{path} is there already", then=then)
    check_state_dir(wanted.state_dir)
    try:
        wanted.config.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make {wanted.config.parent}: {error.strerror}"
        raise RelayError(Code.FILE_UNSAFE, message) from error
    for path, text in files.items():
        write_new(path, text)
    return read_settings(wanted.config, {})


def _instead(wanted: Wanted) -> str:
    """Say what helps where there is a relay, or part of one."""
    if wanted.config.exists():
        config = shlex.quote(str(wanted.config))
        more = "for another relay give both --config and --state-dir"
        return f"tunnel-relay serve --config {config}, or edit that file; {more}"
    return "another relay needs folders of its own: give both --config and --state-dir"


def config_text(wanted: Wanted, tls: tuple[Path, Path] | None) -> str:
    """Return the TOML of a new relay."""
    lines = [
        "# The relay's configuration. Each value can be overridden by the environment:",
        "# TUNNEL_RELAY_LISTEN__PORT=443. `tunnel-relay check-config` tells what is wrong.",
        "",
        "# Where agents and clients reach this relay; a list when there are several.",
        f"public_url = {_quoted(wanted.public_url)}",
        "# Database, keys and the control socket.",
        f"state_dir = {_quoted(str(wanted.state_dir))}",
        "",
        "# Balancers whose forwarded headers are believed (addresses or networks).",
        "trusted_proxies = []",
        "# Web pages that may call from a browser.",
        "allowed_origins = []",
        "",
        "[listen]",
        f"host = {_quoted(wanted.host)}",
        f"port = {wanted.port}",
        "",
    ]
    if tls is None:
        lines += [
            "# Without certificate files, TLS must be ended by a balancer in front.",
            "# [tls]",
            '# cert_file = "/etc/ssl/relay-chain.pem"',
            '# key_file = "/etc/ssl/private/relay-key.pem"',
        ]
    else:
        lines += [
            "[tls]",
            f"cert_file = {_quoted(str(tls[0]))}",
            f"key_file = {_quoted(str(tls[1]))}",
        ]
    if wanted.admin is not None:
        lines += _admin_lines(wanted, *wanted.admin, tls)
    lines += ["", "[sessions]", 'default_ttl = "12h"', 'default_idle = "1h"', 'max_ttl = "30d"', ""]
    return "\n".join(lines)


def _admin_lines(wanted: Wanted, host: str, port: int, tls: tuple[Path, Path] | None) -> list[str]:
    lines = [
        "",
        "# The admin API and the console. Off loopback they need [admin.tls].",
        "[admin]",
        f"host = {_quoted(host)}",
        f"port = {port}",
    ]
    if not is_loopback(host) and tls is not None:
        name = urlsplit(wanted.public_url).hostname or host
        shown = f"[{name}]" if ":" in name else name
        lines += [
            f"public_url = {_quoted(f'https://{shown}:{port}')}",
            "[admin.tls]",
            f"cert_file = {_quoted(str(tls[0]))}",
            f"key_file = {_quoted(str(tls[1]))}",
        ]
    return lines


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, but for surrogate escapes.
    return json.dumps(text, ensure_ascii=False)
