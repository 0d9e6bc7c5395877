"""Every refusal an operator can meet: a code that never changes, a cause, a next command.

Codes MT1xxx are the relay's, MT2xxx the client's. Exit codes follow sysexits.h where it fits.
"""

from dataclasses import dataclass

from shared.errors import TunnelError
from tunnel_relay.codes import Code as Code

FAILED, USAGE, UNAVAILABLE, NOT_PERMITTED, CONFIGURATION = 1, 2, 69, 77, 78


@dataclass(frozen=True, slots=True)
class Explained:
    """What one code means: the program's exit code, why it happens, what to type next."""

    exit_code: int
    cause: str
    next: str


EXPLAINED = {
    Code.CONFIG_INVALID: Explained(
        CONFIGURATION, "the configuration does not hold", "tunnel-relay check-config"
    ),
    Code.CONFIG_MISSING: Explained(
        CONFIGURATION, "there is no configuration file here", "tunnel-relay init --help"
    ),
    Code.FILE_UNSAFE: Explained(
        CONFIGURATION,
        "others could read or change a file that must be the relay's own",
        "chmod 600 the file (700 a folder) and chown it to the relay's user",
    ),
    Code.KEY_UNUSABLE: Explained(
        CONFIGURATION,
        "a key is missing, broken, too short or a known example",
        "restore the key from a backup, or make a new relay with tunnel-relay init",
    ),
    Code.EXISTS_ALREADY: Explained(
        FAILED,
        "a file is there already and is never overwritten",
        "keep it, or choose another place",
    ),
    Code.STORE_UNAVAILABLE: Explained(
        UNAVAILABLE, "the database cannot be read or written", "tunnel-relay check-config"
    ),
    Code.RELAY_SILENT: Explained(
        UNAVAILABLE,
        "a relay holds this state folder but does not answer",
        "journalctl -u tunnel-relay -n 50; then kill -CONT its process where that is stopped, "
        "else systemctl restart tunnel-relay",
    ),
    Code.STATE_IN_USE: Explained(
        UNAVAILABLE,
        "another relay or command uses this state folder or its database",
        "tunnel-relay status",
    ),
    Code.NOT_YET_STORED: Explained(
        UNAVAILABLE,
        "it holds, and the journal has it for the next start, but the database refused",
        "mend the database; it is stored by itself then, see tunnel-relay status",
    ),
    Code.NOT_PERMITTED: Explained(
        NOT_PERMITTED, "the relay's state belongs to another user", "run it as the relay's user"
    ),
    Code.TUNNEL_UNKNOWN: Explained(FAILED, "no tunnel has this name", "tunnel-relay tunnel list"),
    Code.TUNNEL_EXISTS: Explained(
        FAILED, "a tunnel has this name already", "tunnel-relay tunnel rotate NAME"
    ),
    Code.BAD_NAME: Explained(USAGE, "names are 1 to 63 of a-z, 0-9 and -", "choose another name"),
    Code.SESSION_UNKNOWN: Explained(
        FAILED, "no session, or more than one, starts with this", "tunnel-relay session list"
    ),
    Code.BAD_DURATION: Explained(
        USAGE, "durations look like 90s, 15m, 8h or 7d", "tunnel-relay session create --help"
    ),
    Code.BAD_REQUEST: Explained(USAGE, "the request was not understood", "tunnel-relay --help"),
    Code.LOCK_UNKNOWN: Explained(
        FAILED, "no lock, or more than one, starts with this", "tunnel-relay lock list"
    ),
    Code.LOCKED: Explained(
        NOT_PERMITTED, "an admin locked this user, agent or server", "tunnel-relay lock list"
    ),
    Code.JOIN_REFUSED: Explained(
        NOT_PERMITTED,
        "the join code is unknown, used, expired, or its tunnel is disabled",
        "tunnel-relay tunnel rotate NAME",
    ),
    Code.INSTANCE_LOCKED: Explained(
        NOT_PERMITTED,
        "two machines used one client key: a copied disk or a restored image",
        "tunnel-relay tunnel rotate NAME, then enrol the rightful machine again",
    ),
    Code.USER_UNKNOWN: Explained(FAILED, "no user has this name", "tunnel-relay user list"),
    Code.USER_EXISTS: Explained(
        FAILED, "a user has this name already", "tunnel-relay user change USER"
    ),
    Code.USER_DISABLED: Explained(
        NOT_PERMITTED, "the user or the agent is switched off", "tunnel-relay user enable USER"
    ),
    Code.WEAK_PASSWORD: Explained(
        USAGE, "the password is too short or far too long", "choose another password"
    ),
    Code.LAST_ADMIN: Explained(
        NOT_PERMITTED,
        "nobody could administer this relay any more",
        "tunnel-relay user change OTHER --role admin",
    ),
    Code.AGENT_UNKNOWN: Explained(
        FAILED, "no agent has this identifier", "tunnel-relay agent list"
    ),
    Code.TOO_MANY_SESSIONS: Explained(
        FAILED,
        "the user has as many living sessions as limits.user_sessions allows",
        "tunnel-relay session list",
    ),
    Code.CHANGED_MEANWHILE: Explained(
        FAILED,
        "what is to be changed is not any more what it was when the change was made up",
        "tunnel-relay user show USER; then change it again",
    ),
    Code.AGENT_EXISTS: Explained(
        FAILED, "an agent has this identifier already", "tunnel-relay agent list"
    ),
    Code.LOGIN_NEEDED: Explained(
        NOT_PERMITTED,
        "the admin API takes an admin token or a login of the console",
        "tunnel-relay user token USER",
    ),
    Code.ROLE_NEEDED: Explained(
        NOT_PERMITTED,
        "the user's roles do not allow this command",
        "tunnel-relay user change USER --role ROLE",
    ),
    Code.TOKEN_UNKNOWN: Explained(
        FAILED, "no admin token, or more than one, starts with this", "tunnel-relay user tokens"
    ),
    Code.FOREIGN_PAGE: Explained(
        NOT_PERMITTED,
        "the request came by another host name, or from a page that is not the console's",
        "set admin.public_url to the origin in the browser's address bar",
    ),
    Code.CANNOT_LISTEN: Explained(
        UNAVAILABLE,
        "a port is taken, or the address is not this machine's",
        "set another host or port in the configuration, or end what listens there",
    ),
    Code.ISSUER_UNREACHABLE: Explained(
        UNAVAILABLE,
        "the keys of an issuer cannot be fetched; its new tokens wait, or are refused",
        "compare issuer.url or oidc.issuer with the issuer's metadata, and see that the relay "
        "reaches it",
    ),
    Code.SECRET_UNUSABLE: Explained(
        CONFIGURATION,
        "a secret that the configuration refers to is absent, empty or open to others",
        "tunnel-relay check-config",
    ),
    Code.NOT_KEPT: Explained(
        UNAVAILABLE,
        "it holds in memory alone: neither database nor journal took it, a restart forgets it",
        "do not restart the relay; mend its disk first, then see tunnel-relay status",
    ),
    Code.CLOCK_BEHIND: Explained(
        UNAVAILABLE,
        "the clock is behind a time this relay has seen: sessions that ended then stay ended",
        "set the clock right; if it was ahead before, see docs/operations.md, The clock",
    ),
    Code.APPROVAL_UNKNOWN: Explained(
        FAILED,
        "no approval that you may see, or more than one, starts with this",
        "tunnel-relay approval list --all",
    ),
    Code.APPROVER_NEEDED: Explained(
        NOT_PERMITTED,
        "an approval is a person's: the operator of the relay is nobody in particular",
        "tunnel-relay user token USER, then tunnel-relay approval approve ID --token file:PATH",
    ),
    Code.OWN_REQUEST: Explained(
        NOT_PERMITTED,
        "the approver is the user whose agent asks",
        "let another approver of the rule's groups look at it",
    ),
    Code.APPROVAL_OVER: Explained(
        FAILED,
        "it was decided, used or has expired, or what it was for has ended",
        "tunnel-relay approval show ID",
    ),
    Code.REASON_NEEDED: Explained(
        USAGE, "a break-glass call needs a reason", "tunnel-relay approval approve --help"
    ),
    Code.SIGNATURE_NEEDED: Explained(
        NOT_PERMITTED,
        "the client's policy lists approvers' keys, and this is no signature of one",
        "tunnel-relay approval approve ID --key FILE",
    ),
    Code.LOGIN_STALE: Explained(
        NOT_PERMITTED,
        "who approves or gives rights has to have proved who they are in the last five minutes",
        "give the password with the form, or log out and in again",
    ),
    Code.TOO_MANY_APPROVALS: Explained(
        FAILED,
        "a session or a user has as many unanswered requests for approval as it may",
        "tunnel-relay approval list; then approve or deny, or revoke the session",
    ),
    Code.WEBHOOK_FAILED: Explained(
        UNAVAILABLE,
        "a request for approval could not be announced to approvals.webhook; it waits all the same",
        "tunnel-relay approval list, and see that the webhook answers with a 2xx",
    ),
    Code.AGENT_TOKEN: Explained(
        NOT_PERMITTED,
        "an agent's session token came to the admin API",
        "tunnel-relay session list; revoke the session if its agent is not yours to trust",
    ),
    Code.NOT_AS_SHOWN: Explained(
        FAILED,
        "what the relay shows is not what it asks to have signed",
        "sign nothing; ask the relay's operator",
    ),
    Code.PASSKEY_UNKNOWN: Explained(
        FAILED, "no passkey, or more than one, starts with this", "tunnel-relay user passkeys"
    ),
    Code.PASSKEY_REFUSED: Explained(
        FAILED,
        "a browser made no passkey that can be registered here, or it is registered already",
        "add it anew on the console's page, with an authenticator that verifies its user",
    ),
    Code.PERMIT_TOO_LONG: Explained(
        FAILED,
        "the signatures of a permit do not fit on their way to the client",
        "lower the rule's count, or sign with keys of the command line",
    ),
    Code.PAGE_NEEDED: Explained(
        NOT_PERMITTED,
        "a passkey is added by a browser that is logged in, never by a token or the operator",
        "log in to the console and open Passkeys",
    ),
    Code.LEASE_LAPSED: Explained(
        UNAVAILABLE,
        "the database could not be written for longer than limits.lease: agents are refused",
        "mend the database; the relay serves again by itself, see tunnel-relay status",
    ),
    Code.POLICY_MISSING: Explained(
        CONFIGURATION,
        "there is no policy file, or it cannot be read; without one nothing is served",
        "tunnel-relay policy init",
    ),
    Code.POLICY_BROKEN: Explained(
        CONFIGURATION, "the policy cannot be used", "tunnel-relay policy check"
    ),
    Code.FIXTURES_BROKEN: Explained(
        USAGE, "a file of calls for a policy cannot be used", "tunnel-relay policy test --help"
    ),
    Code.TOOL_UNKNOWN: Explained(
        FAILED, "no connected client tells of such a tool", "tunnel-relay tool list TUNNEL/UPSTREAM"
    ),
    Code.REPORT_UNWRITABLE: Explained(
        FAILED, "the report cannot be written there", "tunnel-relay report --output FILE"
    ),
    Code.CLIENT_PART_UNUSABLE: Explained(
        USAGE,
        "a file given with --client is not what a client wrote for the report",
        "on the client's machine: tunnel-client report --json",
    ),
    Code.AUDIT_UNREADABLE: Explained(
        FAILED,
        "there is no log to read, it cannot be read, or nothing in it is meant",
        "give the folder: tunnel-relay audit tail --folder FOLDER",
    ),
    Code.CHECKPOINT_UNUSABLE: Explained(
        USAGE,
        "a file of verify --checkpoint holds something else, or a checkpoint of another log",
        "give what this printed of the same log: tunnel-relay audit checkpoint",
    ),
    Code.RECORD_UNKNOWN: Explained(
        FAILED,
        "the log has no such record or session, or segments with it were removed",
        "tunnel-relay audit query --help",
    ),
    Code.AUDIT_OFF: Explained(
        CONFIGURATION,
        "this relay keeps no log, so a look at an old one could not be written down",
        "set audit.on, or read the files: tunnel-relay audit tail --folder FOLDER",
    ),
    Code.PURGE_UNKNOWN: Explained(
        FAILED,
        "no removal of that name waits for a second person; after an hour it is forgotten",
        "tunnel-relay audit purge",
    ),
    Code.SECOND_PERSON: Explained(
        NOT_PERMITTED,
        "records are removed by two different people who may, each logged in or with their token",
        "have somebody else: tunnel-relay audit purge --confirm ID --token REF",
    ),
    Code.PURGE_REFUSED: Explained(
        NOT_PERMITTED,
        "what is younger than audit.keep_days stays, and so does a file that is still written",
        "tunnel-relay audit purge --help",
    ),
    Code.LOGS_MIXED: Explained(
        USAGE,
        "what is held against each other is the log of one relay and those of its clients",
        "tunnel-relay audit reconcile RELAY_FOLDER CLIENT_FOLDER...",
    ),
    Code.AUDIT_UNUSABLE: Explained(
        CONFIGURATION,
        "the log of what happened cannot be opened, so nothing is served",
        "see that the folder is the relay's alone and whole, then start again",
    ),
    Code.AUDIT_FAILING: Explained(
        UNAVAILABLE,
        "what is asked for cannot be written down now, so it is not done",
        "make room on the disk of the log; it is tried again by itself",
    ),
    Code.EXPORT_FAILING: Explained(
        UNAVAILABLE, "a copy of the log does not go out; it waits", "tunnel-relay status"
    ),
    Code.STOPPED_EARLY: Explained(
        FAILED, "calls still ran when the relay had to stop", "raise limits.drain_seconds"
    ),
    Code.SOCKET_UNUSABLE: Explained(
        CONFIGURATION,
        "a socket that was handed over at the start is none that the relay can serve",
        "systemctl cat tunnel-relay.socket; ListenStream= with an address and port, Accept=no",
    ),
    Code.SOCKET_UNWANTED: Explained(
        CONFIGURATION,
        "a socket that was handed over at the start is not where a listener should be",
        "make ListenStream= of the socket unit the same as host and port in the configuration",
    ),
    Code.EXPORT_GAP: Explained(
        FAILED, "records were removed before they were exported", "tunnel-relay audit verify"
    ),
    Code.PRIVATE_SIDE: Explained(
        NOT_PERMITTED,
        "only the private side decides which tools agents may use, and of which class they are",
        "on the client's machine, the command that the message shows",
    ),
}


class RelayError(TunnelError):
    """A refusal with its code; the message may be shown and never holds a secret.

    `cause` and `then`, what to do next, are given where more is known than a code can say.
    """

    def __init__(
        self, code: Code, message: str, *, cause: str | None = None, then: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self._cause = cause
        self._then = then

    @property
    def explained(self) -> Explained:
        """What the code means, as far as is known here."""
        known = EXPLAINED[self.code]
        return Explained(known.exit_code, self._cause or known.cause, self._then or known.next)
