"""Judges a certificate that was not believed: what is wrong with it, and who made it. Pure."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from tunnel_client.doctor.errors import InterceptedError
from tunnel_client.errors import CertificateError, ClientError

_INSPECTORS = (
    *("zscaler", "netskope", "fortinet", "fortigate", "palo alto", "blue coat", "bluecoat"),
    *("symantec web", "forcepoint", "websense", "sophos", "check point", "barracuda", "mcafee web"),
    *("skyhigh", "cisco umbrella", "cisco secure", "mitmproxy", "squid", "charles proxy"),
    *("fiddler", "burp", "portswigger", "untangle", "watchguard", "sonicwall", "kaspersky"),
    *("eset ssl", "avast", "avg ", "bitdefender", "cato networks", "menlo", "iboss", "smoothwall"),
    *("lightspeed", "securly", "ssl inspection", "ssl decryption", "tls inspection"),
)
"""Words in the names of authorities that inspect TLS; in lower case."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a certificate says of itself; times in UTC."""

    issuer: str
    subject: str
    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    @property
    def inspector(self) -> bool:
        """Does the issuer's name say that it opens TLS?"""
        return any(word in self.issuer.lower() for word in _INSPECTORS)


def read_shown(der: bytes) -> Shown:
    """Read a certificate; raises ValueError for what is none."""
    found = x509.load_der_x509_certificate(der)
    try:
        names = found.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        listed = tuple(map(_general_name, names))  # type: ignore[call-overload]
    except (x509.ExtensionNotFound, ValueError):
        listed = ()
    return Shown(
        _name(found.issuer),
        _name(found.subject),
        listed[:20],
        found.not_valid_before_utc,
        found.not_valid_after_utc,
    )


def judge(shown: Shown, why: str, host: str, ca_file: str | None, now: float) -> ClientError:
    """Return what is wrong with a certificate that the check of it refused because of `why`.

    `ca_file` is the file of authorities in the configuration, `now` the time here.
    """
    here = datetime.fromtimestamp(now, UTC)
    by = f"it was issued by {shown.issuer}"
    if shown.inspector:
        return InterceptedError(f"a middlebox opens TLS to {host}: its certificate says that {by}")
    if not shown.begins <= here <= shown.ends:
        span = f"{shown.begins:%Y-%m-%d} to {shown.ends:%Y-%m-%d}"
        return CertificateError(
            f"the certificate of {host} is good from {span}, and this clock says {here:%Y-%m-%d}",
            "date -u; if it is right, the relay needs a new certificate: tunnel-relay doctor there",
        )
    if "mismatch" in why.lower() or "not valid for" in why.lower():
        listed = ", ".join(shown.names) or shown.subject
        return CertificateError(
            f"the certificate is for {listed}, not for {host}; {by}",
            "compare relay.url with public_url of the relay, and with what a proxy resolves",
        )
    if ca_file is not None:
        return CertificateError(
            f"{by}, who is neither in {ca_file} nor trusted by this system: the wrong authority, "
            "or a middlebox that opens TLS",
            "fetch the authority's certificate from the relay's admin, and set relay.ca_file to it",
        )
    return InterceptedError(
        f"{by}, whom this system does not trust: a middlebox that opens TLS, or an authority of "
        "your own that relay.ca_file has to name",
    )


def issuer_of(tls: ssl.SSLObject) -> tuple[str, bool]:
    """Return the issuer of a certificate that was believed, and whether it inspects TLS."""
    der = tls.getpeercert(True)
    if der is None:
        return "nobody", False
    shown = read_shown(der)
    return shown.issuer, shown.inspector


def _name(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME):
        found = name.get_attributes_for_oid(oid)
        if found:
            first = str(found[0].value)
            organization = name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
            other = str(organization[0].value) if organization else first
            return first if other == first else f"{first} ({other})"
    return name.rfc4514_string() or "a name that is empty"


def _general_name(name: x509.GeneralName) -> str:
    return str(name.value)
