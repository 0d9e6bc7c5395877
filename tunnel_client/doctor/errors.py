"""What only the doctor finds: which layer between here and an answer is broken."""

from tunnel_client.errors import (
    EXIT_CONFIGURATION,
    EXIT_NOT_PERMITTED,
    EXIT_UNAVAILABLE,
    ClientError,
)

# 270x and 271x: what a doctor names


class CheckFailedError(ClientError):
    """A check ended in a way nobody thought of."""

    code = "MT2700"
    next_command = "tunnel-client doctor --json, and show it to who maintains this program"


class CheckSlowError(ClientError):
    """A check got no answer within its time."""

    code = "MT2701"
    exit_code = EXIT_UNAVAILABLE
    next_command = "see what drops packets on the way: a firewall, a proxy, a route"


class RelayNotReadyError(ClientError):
    """The relay is there and turns clients away: it stops, is full, or cannot store or record."""

    code = "MT2703"
    exit_code = EXIT_UNAVAILABLE
    next_command = "on the relay: tunnel-relay doctor"


class InterceptedError(ClientError):
    """Something on the way opens TLS and shows a certificate of its own."""

    code = "MT2704"
    exit_code = EXIT_UNAVAILABLE
    next_command = "have the relay's host exempted from TLS inspection; never trust an unknown one"


class ClockError(ClientError):
    """This clock and the relay's differ by more than grants and tokens bear."""

    code = "MT2705"
    exit_code = EXIT_CONFIGURATION
    next_command = "date -u here and on the relay; then timedatectl set-ntp true"


class KeyRefusedError(ClientError):
    """The relay does not know this key for this tunnel, or holds it back by a lock."""

    code = "MT2706"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "on the relay: tunnel-relay tunnel show TUNNEL, and tunnel-relay lock list"


class KeyRevokedError(ClientError):
    """The relay revoked this client's key or disabled its tunnel."""

    code = "MT2707"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "on the relay: tunnel-relay tunnel rotate NAME; then enroll again with --force"


class KeyCopiedError(ClientError):
    """Two machines used this client's key, so the relay locked it."""

    code = "MT2708"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "remove the copy, then enroll again with --force on the rightful machine"


class WrongRelayKeyError(ClientError):
    """The relay shows another key than the one pinned when this client was enrolled."""

    code = "MT2709"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "compare `tunnel-relay status` with relay.public_key; then enroll again"


class LinkClosedError(ClientError):
    """The relay closed the link for another reason."""

    code = "MT2710"
    exit_code = EXIT_UNAVAILABLE
    next_command = "on the relay: tunnel-relay doctor, and look at its log"


class UpstreamDownError(ClientError):
    """Nothing accepts a connection where the upstream should be, or its program does not start."""

    code = "MT2712"
    exit_code = EXIT_UNAVAILABLE
    next_command = "start the server that the configuration names, then run this again"


class NotMcpError(ClientError):
    """What answers at the upstream's address does not speak MCP."""

    code = "MT2713"
    exit_code = EXIT_CONFIGURATION
    next_command = "check the path in its url (often /mcp) and that it serves Streamable HTTP"


class NothingPinnedError(ClientError):
    """No tool of the upstream can be called: none is pinned as it is now."""

    code = "MT2714"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client tool list; then tunnel-client tool pin NAME"


class PolicyDeniesError(ClientError):
    """The policy here allows no tool of the upstream, whoever asks."""

    code = "MT2715"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client policy test --user USER --agent AGENT; then mend policy.yaml"


class NoLinkError(ClientError):
    """The daemon that runs here has no link, though the way to the relay is open."""

    code = "MT2716"
    exit_code = EXIT_UNAVAILABLE
    next_command = "tunnel-client status"


class AuditBrokenError(ClientError):
    """The log of what happened cannot be written, so calls are refused."""

    code = "MT2717"
    exit_code = EXIT_UNAVAILABLE
    next_command = "make room on its disk, then tunnel-client audit verify"


class CallFailedError(ClientError):
    """A call through the relay did not come back as an answer of the upstream."""

    code = "MT2718"
    exit_code = EXIT_UNAVAILABLE
    next_command = "tunnel-client status; on the relay: tunnel-relay status"


class DiagUnwritableError(ClientError):
    """The archive of `diag` cannot be written; a file that is there is never overwritten."""

    code = "MT2720"
    next_command = "tunnel-client diag --output ANOTHER-FILE"
