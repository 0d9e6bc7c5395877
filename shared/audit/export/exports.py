"""All exports of a running program."""

import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pydantic import SecretStr

from shared.audit.export.exporter import Codes, Exporter, Spool
from shared.audit.export.settings import ExportSettings
from shared.audit.export.sinks import make_sink
from shared.audit.private import AuditError
from shared.configfile import SecretError, SecretRef
from shared.record.export.formats import Formatter
from shared.record.export.joined import Origin
from shared.version import VERSION

FINISH_SECONDS = 2.0
"""For what is left when the program ends; the rest goes out after the next start."""
Resolve = Callable[[SecretRef], SecretStr]
"""Reads a secret; raises SecretError."""


class Program(NamedTuple):
    """Who exports."""

    name: str
    codes: Codes


class Exports:
    """Starts exports and says how far they are; empty without any."""

    def __init__(self, exporters: Sequence[Exporter] = ()) -> None:
        self._exporters = exporters

    def start(self) -> None:
        """Begin."""
        for each in self._exporters:
            each.start()

    def stop(self) -> None:
        """Send what is left, for a moment, and end. Blocks."""
        for each in self._exporters:
            each.finish(FINISH_SECONDS)
        for each in self._exporters:
            each.stop()

    def status(self) -> list[dict[str, Any]]:
        """Return how far each is."""
        return [each.status() for each in self._exporters]


def make_exports(
    settings: Sequence[ExportSettings],
    spool: Spool,
    log_origin: str,
    program: Program,
    resolve: Resolve,
) -> Exports:
    """Return the exports of a log, every file they need read once; raises AuditError."""
    origin = Origin(program.name, log_origin, VERSION, socket.gethostname())
    return Exports([_made(each, spool, origin, program, resolve) for each in settings])


def _made(
    export: ExportSettings, spool: Spool, origin: Origin, program: Program, resolve: Resolve
) -> Exporter:
    reference, token = export.token, None
    try:
        if reference is not None:
            resolve(reference)
            token = lambda: resolve(reference)  # noqa: E731 - read anew: it may be rotated
        if export.ca is not None:
            ssl.create_default_context(cafile=export.ca)
    except SecretError as error:
        raise AuditError(f"export {export.name}: {error}") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise AuditError(f"export {export.name}: cannot use {export.ca}: {why}") from None
    sink = make_sink(export, token, origin)
    syslog = export.target.scheme.startswith("syslog")
    formatter = Formatter(export.spelling, origin, syslog=syslog)
    return Exporter(export, spool, sink, formatter, program.codes)
