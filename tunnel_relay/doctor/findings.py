"""What only the relay's doctor finds, with its codes; the rest has the codes of other commands."""

from enum import StrEnum

from shared.checkup import Fault
from shared.errors import TunnelError
from tunnel_relay.errors import FAILED, UNAVAILABLE, Explained, RelayError
from tunnel_relay.store.base import StoreError


class Finding(StrEnum):
    """Stable codes; never reused, never renumbered."""

    CERTIFICATE_OVER = "MT1200"
    CERTIFICATE_NAMES = "MT1201"
    PORT = "MT1202"
    STORE_OF_OTHER = "MT1203"
    CLOCK_BACK = "MT1204"
    NOT_REACHABLE = "MT1205"
    LOG_BROKEN = "MT1206"
    EXPOSED = "MT1207"
    NOT_READY = "MT1208"
    CHECK_FAILED = "MT1210"
    CHECK_SLOW = "MT1211"
    DIAG_UNWRITABLE = "MT1212"


FINDINGS = {
    Finding.DIAG_UNWRITABLE: Explained(
        FAILED,
        "the archive of `diag` cannot be written; a file that is there is never overwritten",
        "tunnel-relay diag --output ANOTHER-FILE",
    ),
    Finding.CERTIFICATE_OVER: Explained(
        FAILED,
        "the certificate is not good today",
        "renew it, write both files, then systemctl reload tunnel-relay",
    ),
    Finding.CERTIFICATE_NAMES: Explained(
        FAILED,
        "the certificate is not for the host of public_url",
        "get one for that name, or set public_url to the name that agents use",
    ),
    Finding.PORT: Explained(
        UNAVAILABLE,
        "a listener's port is another program's, or the running relay does not answer there",
        "ss -ltnp; then end what listens there or set another port",
    ),
    Finding.STORE_OF_OTHER: Explained(
        FAILED,
        "the database is none of ours, or a newer program made it",
        "install the newer program again, or restore a backup of this one",
    ),
    Finding.CLOCK_BACK: Explained(
        FAILED,
        "the clock is behind what was written here before",
        "date -u; then timedatectl set-ntp true",
    ),
    Finding.NOT_REACHABLE: Explained(
        UNAVAILABLE,
        "the relay cannot be reached at its public URL from its own machine",
        "curl -v PUBLIC_URL/readyz; compare DNS, the balancer and the firewall with public_url",
    ),
    Finding.LOG_BROKEN: Explained(
        FAILED,
        "the log of what happened is not what was written, not signed, or cannot be written",
        "keep a copy of the audit folder, and look at docs/audit.md",
    ),
    Finding.EXPOSED: Explained(
        FAILED,
        "the admin listener is open to a network",
        'set admin.host to "127.0.0.1" and reach it over SSH',
    ),
    Finding.NOT_READY: Explained(
        UNAVAILABLE, "the running relay says that it takes no calls", "tunnel-relay status"
    ),
    Finding.CHECK_FAILED: Explained(
        FAILED,
        "a check ended in a way nobody thought of",
        "tunnel-relay doctor --json, and show it to who maintains this program",
    ),
    Finding.CHECK_SLOW: Explained(
        UNAVAILABLE, "a check got no answer within its time", "see what drops packets on the way"
    ),
}


class FoundError(TunnelError):
    """A check found something; the message says what, and never holds a secret."""

    def __init__(self, code: Finding, message: str) -> None:
        super().__init__(message)
        self.code = code


def explain(error: Exception) -> Fault:
    """Return the fault an exception stands for; total."""
    if isinstance(error, RelayError):
        return Fault(error.code.value, error.message, error.explained.next)
    if isinstance(error, StoreError):
        return Fault("MT1010", str(error), "tunnel-relay check-config")
    if isinstance(error, TimeoutError):
        error = FoundError(Finding.CHECK_SLOW, "no answer in time")
    elif not isinstance(error, FoundError):
        # What a library says may hold anything, so only its kind is shown.
        kind = type(error).__name__
        error = FoundError(Finding.CHECK_FAILED, f"{kind} in the check itself")
    return Fault(error.code.value, str(error), FINDINGS[error.code].next)
