"""Is a certificate good today, and is it for the names that agents use. Judged purely."""

import ipaddress
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from shared.checkup import SkippedError
from tunnel_relay.checks import check_tls
from tunnel_relay.doctor.findings import Finding, FoundError
from tunnel_relay.doctor.scene import Scene

SOON_DAYS = 21
"""Renewals by machines come earlier than this."""


async def certificate(scene: Scene) -> str:
    """Do certificate and key belong together, is it good today, and for which names?"""
    settings = scene.settings
    if settings.tls is None:
        raise SkippedError("none: this listener speaks plain HTTP, on loopback or to a balancer")
    check_tls(settings.tls)
    leaf = x509.load_pem_x509_certificates(settings.tls.cert_file.read_bytes())[0]
    hosts = [urlsplit(origin).hostname or "" for origin in settings.public_url]
    return judge(leaf, hosts[:1], scene.now())


def judge(leaf: x509.Certificate, hosts: list[str], now: float) -> str:
    """Judge a certificate for these hosts; raises FoundError. Pure."""
    here = datetime.fromtimestamp(now, UTC)
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not begins <= here <= ends:
        raise FoundError(
            Finding.CERTIFICATE_OVER,
            f"it is good from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, and today is {here:%Y-%m-%d}",
        )
    names = names_of(leaf)
    for host in hosts:
        if not any(fits(name, host) for name in names):
            listed = ", ".join(names[:10]) or "no name at all"
            raise FoundError(Finding.CERTIFICATE_NAMES, f"it is for {listed}, not for {host}")
    days = (ends - here).days
    soon = "ENDS SOON: " if days < SOON_DAYS else ""
    return f"{soon}good for {days} days, for {', '.join(names[:4])}"


def names_of(leaf: x509.Certificate) -> list[str]:
    """Return the host names and addresses a certificate is for."""
    try:
        found = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return []
    if not isinstance(found, x509.SubjectAlternativeName):
        return []
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]


def fits(name: str, host: str) -> bool:
    """Tell whether a name of a certificate covers a host (RFC 6125: one label for a star)."""
    name, host = name.lower(), host.lower()
    if name == host:
        return True
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(host)
    except ValueError:
        return name.startswith("*.") and host.partition(".")[2] == name[2:]
