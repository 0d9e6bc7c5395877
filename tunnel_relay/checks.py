"""What `check-config` looks at beyond the text: keys, policy, certificate and database file."""

import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from tunnel_relay.errors import Code, RelayError
from tunnel_relay.files import read_config, read_private
from tunnel_relay.keyfiles import read_relay_key, read_secret, read_session_key
from tunnel_relay.policy.load import load_policy
from tunnel_relay.settings import POLICY_FILE, Settings, Tls, read_settings


def check(path: Path, environ: Mapping[str, str]) -> list[RelayError]:
    """Return everything that would keep the relay from serving; changes nothing."""
    try:
        settings = read_settings(path, environ)
    except RelayError as error:
        return [error]
    steps: list[Callable[[], object]] = [
        partial(look, settings) for look in (_relay_key, _session_key, _policy, check_database)
    ]
    return _problems(steps) + check_others(settings, environ)


def check_beside(
    settings: Settings, running: Settings, environ: Mapping[str, str]
) -> list[RelayError]:
    """Return what would keep a relay from serving with `settings`, while one does with `running`.

    What SIGHUP has read again itself is left out, and so is the database: SQLite's locks are the
    process's, and to open and close the file once more would let go of them.
    """
    steps: list[Callable[[], object]] = [
        *(partial(_relay_key, settings), partial(_session_key, settings))
    ]
    if settings.policy != running.policy:
        steps.append(partial(_policy, settings))
    fresh = [tls for tls in _pairs(settings) if tls not in _pairs(running)]
    steps += [partial(check_tls, tls) for tls in fresh]
    return _problems([*steps, partial(_secrets, settings, environ)])


def check_others(settings: Settings, environ: Mapping[str, str]) -> list[RelayError]:
    """Return what is wrong with certificates and with the secrets and files of others."""
    return _problems([partial(_tls, settings), partial(_secrets, settings, environ)])


def _problems(steps: Iterable[Callable[[], object]]) -> list[RelayError]:
    problems: list[RelayError] = []
    for step in steps:
        try:
            step()
        except RelayError as error:
            problems.append(error)
    return problems


def check_tls(tls: Tls) -> ssl.SSLContext:
    """Return what serves with certificate and key; raises RelayError FILE_UNSAFE, KEY_UNUSABLE.

    They are the relay's own, can be read and belong together.
    """
    read_config(tls.cert_file)
    read_private(tls.key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    except (OSError, ValueError) as error:
        message = f"{tls.cert_file} and {tls.key_file} are no certificate and its key"
        raise RelayError(Code.KEY_UNUSABLE, message) from error
    return context


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal and wait.
    return ""


def _relay_key(settings: Settings) -> None:
    read_relay_key(settings.relay_key)


def _session_key(settings: Settings) -> None:
    read_session_key(settings.mcp_session_key)


def _policy(settings: Settings) -> None:
    load_policy(settings.policy or settings.state_dir / POLICY_FILE)


def _tls(settings: Settings) -> None:
    for tls in _pairs(settings):
        check_tls(tls)


def _pairs(settings: Settings) -> list[Tls]:
    """Return certificate and key of every listener that has them."""
    others = (each.tls for each in (settings.links, settings.admin) if each is not None)
    return [tls for tls in (settings.tls, *others) if tls is not None]


def _secrets(settings: Settings, environ: Mapping[str, str]) -> None:
    _issuers(settings, environ)
    if settings.approvals.webhook_secret is not None:
        read_secret(settings.approvals.webhook_secret, environ)


def _issuers(settings: Settings, environ: Mapping[str, str]) -> None:
    """Look for the files and the secret of issuers; nobody is asked anything."""
    oidc = settings.oidc
    for section in (*settings.issuer, *(() if oidc is None else (oidc,))):
        if section.ca_file is not None:
            read_config(section.ca_file)
            try:
                ssl.create_default_context(cafile=str(section.ca_file))
            except (OSError, ValueError) as error:
                message = f"{section.ca_file} holds no certificates of authorities"
                raise RelayError(Code.KEY_UNUSABLE, message) from error
    if oidc is not None and oidc.client_secret is not None:
        read_secret(oidc.client_secret, environ)


def check_database(settings: Settings) -> None:
    """Check that the database, when there is one, is ours alone and can be written."""
    if settings.database.exists():
        try:
            with settings.database.open("r+b"):
                pass
        except OSError as error:
            message = f"cannot write {settings.database}: {error.strerror}"
            raise RelayError(Code.STORE_UNAVAILABLE, message) from error
        if settings.database.stat().st_mode & 0o077:
            message = f"{settings.database} can be read by others"
            raise RelayError(Code.FILE_UNSAFE, message)
