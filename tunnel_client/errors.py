"""What stops the client or keeps it from connecting, as its operator meets it.

Every class has a stable code `MT2nnn`; every instance says the cause and the next command to run.
Codes are never reused. `docs/` has a section for each.
"""

import re
from typing import ClassVar, Self

from shared.errors import TunnelError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
EXIT_NOT_PERMITTED = 77
EXIT_CONFIGURATION = 78


class ClientError(TunnelError):
    """A refusal with a stable code, a cause and the next command; never holds a secret.

    `retryable` tells whether the same attempt may succeed later without anybody's help.
    """

    code: ClassVar[str] = "MT2000"
    exit_code: ClassVar[int] = EXIT_FAILED
    retryable: ClassVar[bool] = False
    next_command: ClassVar[str] = "tunnel-client check-config"

    def __init__(self, cause: str, next_command: str | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.next = next_command or self.next_command

    def naming(self, **known: str) -> Self:
        """Put what is known for the words in capitals of the next command that its code gives."""
        if self.next == self.next_command:
            words = re.compile(rf"\b(?:{'|'.join(known)})\b")
            self.next = words.sub(lambda found: known[found[0]], self.next)
        return self

    def __str__(self) -> str:
        return f"{self.code}: {self.cause}\n  next: {self.next}"


# 20xx: configuration and secrets


class SettingsError(ClientError):
    """The configuration cannot be used; the cause names file, line and nearest key."""

    code = "MT2001"
    exit_code = EXIT_CONFIGURATION


class UnsafeFileError(ClientError):
    """A file or folder that must be private is open to others or owned by somebody else."""

    code = "MT2002"
    exit_code = EXIT_CONFIGURATION


class SecretError(ClientError):
    """A secret could not be read from where the configuration says it is."""

    code = "MT2003"
    exit_code = EXIT_CONFIGURATION


class NoProgramError(ClientError):
    """The program of a stdio upstream does not exist or may not be run."""

    code = "MT2004"
    exit_code = EXIT_CONFIGURATION


# 250x: policy


class NoPolicyError(ClientError):
    """There is no policy file, or it cannot be read; without one nothing is served."""

    code = "MT2500"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client policy init"


class PolicyBrokenError(ClientError):
    """The policy cannot be used; the cause names each fault with its line and nearest key."""

    code = "MT2504"
    exit_code = EXIT_CONFIGURATION
    next_command = "mend these lines, then: tunnel-client policy check"


class FixturesBrokenError(ClientError):
    """A file of calls to hold a policy against cannot be used."""

    code = "MT2505"
    exit_code = EXIT_USAGE
    next_command = "tunnel-client policy test --help"


class PolicyExistsError(ClientError):
    """A policy is there already and is never overwritten."""

    code = "MT2506"
    next_command = "tunnel-client policy check"


# 21xx: identity and state


class NotEnrolledError(ClientError):
    """There is no key or no enrolment in the state folder."""

    code = "MT2101"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client enroll wss://RELAY"


class BrokenStateError(ClientError):
    """A file in the state folder does not hold what this program wrote there."""

    code = "MT2102"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client enroll wss://RELAY --force"


class AlreadyRunningError(ClientError):
    """Another process uses the same state folder."""

    code = "MT2103"
    exit_code = EXIT_UNAVAILABLE
    next_command = "tunnel-client status"


class AlreadyEnrolledError(ClientError):
    """An enrolment exists and was not to be replaced."""

    code = "MT2104"
    next_command = "tunnel-client run"


class StateWriteError(ClientError):
    """The state folder could not be written, so no connection may be made."""

    code = "MT2105"
    exit_code = EXIT_UNAVAILABLE
    retryable = True
    next_command = "df -h; tunnel-client check-config"


class NotRunningError(ClientError):
    """No daemon runs with the state folder."""

    code = "MT2106"
    exit_code = EXIT_UNAVAILABLE
    next_command = "tunnel-client run"


class NotAnsweringError(NotRunningError):
    """A process holds the state folder, and no daemon answers: it hangs, or is stopped."""

    code = "MT2107"
    next_command = "journalctl -u tunnel-client -n 50; then systemctl restart tunnel-client"


# 22xx: the way to the relay


class DialError(ClientError):
    """No connection to the relay could be made."""

    code = "MT2200"
    exit_code = EXIT_UNAVAILABLE
    retryable = True
    next_command = "tunnel-client check-config"


class NameLookupError(DialError):
    """The relay's (or proxy's) host name has no address."""

    code = "MT2201"
    next_command = "getent hosts RELAY; where a proxy alone knows it: --proxy, later relay.proxy"


class ConnectError(DialError):
    """Nothing accepted a TCP connection."""

    code = "MT2202"
    next_command = "curl -v https://RELAY/ from here: a firewall, a port, or a proxy to be named"


class ProxyError(DialError):
    """The proxy refused to connect us or did not speak HTTP."""

    code = "MT2203"
    next_command = "curl -v --proxy PROXY https://RELAY/ from here"


class ProxyLoginError(ProxyError):
    """The proxy wants a user and a password, or others than those it got."""

    code = "MT2711"
    next_command = "user:password into a 0600 file; --proxy-auth file:FILE, later relay.proxy_auth"


class CertificateError(DialError):
    """The certificate shown is not one for this host from an authority we trust."""

    code = "MT2204"
    next_command = "a private authority is named with --ca-file, later with relay.ca_file"


class TlsError(DialError):
    """TLS could not be agreed on."""

    code = "MT2205"
    next_command = (
        "openssl s_client -connect RELAY:443 shows who answers; a relay speaks TLS 1.2 or newer"
    )


class DialSettingsError(DialError):
    """The connection cannot be made as configured: CA file, proxy or URL."""

    code = "MT2206"
    exit_code = EXIT_CONFIGURATION
    retryable = False


class NotARelayError(ClientError):
    """What listens at the relay's address is something else."""

    code = "MT2702"
    exit_code = EXIT_CONFIGURATION
    retryable = True
    next_command = "compare relay.url with public_url of the relay; a balancer must pass WebSockets"

    @classmethod
    def at(cls, place: str, said: object) -> "NotARelayError":
        """Return the refusal of who gave itself away at a place by what it said."""
        return cls(f"something else than a relay answers at {place}: {said}")


class PingsTooRareError(ClientError):
    """The relay's links may be silent for longer than this client serves without hearing it."""

    code = "MT2060"
    exit_code = EXIT_CONFIGURATION
    retryable = True
    next_command = "lower limits.ping_interval at the relay, or raise relay.lease here"


# 23xx: enrolment


class JoinCodeRefusedError(ClientError):
    """The relay does not take this join code; it never says why."""

    code = "MT2301"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "on the relay: tunnel-relay tunnel rotate NAME, then enroll with the new code"


class EnrolBusyError(ClientError):
    """The relay asks to wait before another attempt."""

    code = "MT2302"
    exit_code = EXIT_UNAVAILABLE
    retryable = True
    next_command = "wait a minute, then enroll again"


class EnrolRefusedError(ClientError):
    """The relay's answer to the enrolment is not one we can use."""

    code = "MT2303"
    exit_code = EXIT_UNAVAILABLE
    next_command = "tunnel-relay status, on the relay"


class BadJoinCodeError(ClientError):
    """What was given as the join code is not one."""

    code = "MT2304"
    exit_code = 2
    next_command = "paste the whole code, as `tunnel-relay tunnel create` printed it"


# 232x: what happened, written down


class AuditFolderError(ClientError):
    """The log cannot be opened: its folder, its key, or a record that is not what was written."""

    code = "MT2320"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client audit verify"


class AuditUnwritableError(ClientError):
    """What a command is about to do cannot be written down, so it was not done."""

    code = "MT2321"
    exit_code = EXIT_UNAVAILABLE
    next_command = "tunnel-client status"


class AuditUnreadableError(ClientError):
    """There is no log to read, or it cannot be read."""

    code = "MT2322"
    next_command = "give the folder: tunnel-client audit tail --folder FOLDER"


class CheckpointUnusableError(ClientError):
    """A file of `audit verify --checkpoint` holds something else, or one of another log."""

    code = "MT2323"
    exit_code = EXIT_USAGE
    next_command = "give what this printed of the same log: tunnel-client audit checkpoint"


class LogsMixedError(ClientError):
    """What is held against each other is the log of one relay and those of its clients."""

    code = "MT2324"
    exit_code = EXIT_USAGE
    next_command = "tunnel-client audit reconcile RELAY_FOLDER CLIENT_FOLDER..."


class ExportFailingError(ClientError):
    """A copy of the log does not go out: its sink is down, slow, or not who it should be."""

    code = "MT2610"
    exit_code = EXIT_UNAVAILABLE
    next_command = "tunnel-client status"


class ExportGapError(ClientError):
    """Records were removed, or the log exchanged, before all of it was exported."""

    code = "MT2611"
    next_command = "tunnel-client audit verify"


class AuditPurgeError(ClientError):
    """Nothing here tells two people apart, so no record is removed by command."""

    code = "MT2590"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "stop the client and move its log away whole; it begins a new one"


# 234x: the health port


class HealthPortError(ClientError):
    """The health port cannot be opened."""

    code = "MT2340"
    exit_code = EXIT_UNAVAILABLE
    next_command = "end what listens there, or choose another port in [health] listen"
