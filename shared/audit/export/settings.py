"""`[[audit.export]]`: where a copy of the log goes, and in whose words."""

import ipaddress
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from shared.configfile import ConfigModel, SecretRef
from shared.ids import is_name
from shared.record.export.names import Format

MAX_EXPORTS = 8
_PORTS = {"https": 443, "http": 80, "otlp+https": 443, "otlp+http": 80, "syslog+tls": 6514}
_PLAIN = frozenset(("http", "otlp+http", "syslog+tcp"))
_SCHEMES = frozenset((*_PORTS, "syslog+tcp"))


class Target(NamedTuple):
    """A sink's address, taken apart."""

    scheme: str
    host: str
    port: int
    path: str
    """Of a file, or of a request."""

    @property
    def tls(self) -> bool:
        """Is what goes there encrypted?"""
        return self.scheme not in _PLAIN and self.scheme != "file"

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return shown if self.port == _PORTS.get(self.scheme) else f"{shown}:{self.port}"


def target(text: str) -> Target:
    """Take an address apart; raises ValueError, which does not repeat it."""
    if text.startswith("file:"):
        path = text.removeprefix("file:")
        if not path.startswith("/") or path.endswith("/") or "\0" in path:
            raise ValueError("a file is file:/absolute/path")
        return Target("file", "", 0, path)
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port, url = "", None, urlsplit("")
    if url.scheme not in _SCHEMES or not host or not text.isascii() or not text.isprintable():
        raise ValueError(
            "write file:/PATH, https://HOST/PATH, syslog+tls://HOST:PORT or otlp+https://HOST"
        )
    if "@" in url.netloc or url.query or url.fragment or " " in text:
        raise ValueError("no login, query or fragment here: a secret goes into `token`")
    if url.scheme in _PLAIN and not _is_loopback(host):
        raise ValueError("without TLS only to this machine: 127.0.0.1, ::1 or localhost")
    syslog = url.scheme.startswith("syslog")
    if syslog and url.path not in ("", "/"):
        raise ValueError("syslog has no path")
    port = port or _PORTS.get(url.scheme)
    if port is None:
        raise ValueError("syslog+tcp needs a port")
    path = url.path or "/"
    if path == "/" and url.scheme.startswith("otlp"):
        path = "/v1/traces"
    return Target(url.scheme, host, port, path)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked(text: str) -> str:
    target(text)
    return text


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("a name is 1 to 63 of a-z, 0-9 and -, and starts and ends without -")
    return text


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("write an absolute path")
    return path


class ExportSettings(ConfigModel):
    """A copy of the log that goes elsewhere, in order and without a gap."""

    name: Annotated[str, AfterValidator(_name)]
    """Names the place reached, in status and metrics. Another name begins at the first record."""
    to: Annotated[str, AfterValidator(_checked)]
    """file:/PATH, https://HOST/PATH, syslog+tls://HOST:PORT or otlp+https://HOST.

    Without TLS (http, syslog+tcp, otlp+http) to this machine only.
    """
    format: Format | None = None
    """Left out: cef over syslog, otlp (spans of calls) to otlp, else jsonl: it can be verified.

    otlp-metrics: histograms of how long calls took.
    """
    ca: Annotated[Path, AfterValidator(_absolute)] | None = None
    """PEM of the authorities that are believed, these alone; left out: the system's."""
    token: SecretRef | None = None
    """Bearer token of an HTTP sink; read anew for each connection."""

    @property
    def target(self) -> Target:
        """The address, taken apart; metrics have a path of their own unless it says one."""
        found = target(self.to)
        if self.format == "otlp-metrics" and urlsplit(self.to).path in ("", "/"):
            return found._replace(path="/v1/metrics")
        return found

    @property
    def spelling(self) -> Format:
        """The format that is used."""
        if self.format is not None:
            return self.format
        if self.target.scheme.startswith("syslog"):
            return "cef"
        return "otlp" if self.target.scheme.startswith("otlp") else "jsonl"

    @model_validator(mode="after")
    def _fits(self) -> "ExportSettings":
        scheme = self.target.scheme
        if scheme.startswith("otlp") != self.spelling.startswith("otlp"):
            raise ValueError("otlp and otlp-metrics go to otlp+https, and nothing else does")
        if self.ca is not None and not self.target.tls:
            raise ValueError("`ca` is for TLS")
        if self.token is not None and not scheme.removeprefix("otlp+").startswith("http"):
            raise ValueError("`token` is for HTTP")
        return self


def unlike(exports: list[ExportSettings]) -> list[ExportSettings]:
    """Return exports whose names differ; raises ValueError."""
    names = [each.name for each in exports]
    if len(set(names)) != len(names):
        raise ValueError("two exports have one name")
    return exports


Exports = Annotated[list[ExportSettings], Field(max_length=MAX_EXPORTS), AfterValidator(unlike)]
