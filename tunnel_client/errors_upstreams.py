"""What keeps an upstream from being served; see `tunnel_client.errors`."""

from tunnel_client.errors import (
    EXIT_CONFIGURATION,
    EXIT_NOT_PERMITTED,
    EXIT_UNAVAILABLE,
    ClientError,
)

# 24xx: upstreams


class UnknownUpstreamError(ClientError):
    """No upstream of this name is configured."""

    code = "MT2401"
    next_command = "tunnel-client upstream list"


class UpstreamTestError(ClientError):
    """An upstream did not answer as an MCP server would."""

    code = "MT2402"
    unreachable = False
    """Was there nobody to ask?"""
    next_command = "start the server named in the configuration, then test again"


# 252x: credentials


class NoCredentialError(UpstreamTestError):
    """The client has no credential with which to ask an upstream by itself, or it is refused."""

    code = "MT2523"
    exit_code = EXIT_CONFIGURATION
    next_command = "mend [upstream.credential], then: tunnel-client upstream test NAME"


class CredentialOriginError(ClientError):
    """An upstream's url leads elsewhere than the credential was entered for."""

    code = "MT2520"
    exit_code = EXIT_CONFIGURATION
    next_command = "put the url back, or enter the credential anew with the new origin"


class UnusableCredentialError(ClientError):
    """A credential cannot be sent, or is too weak to be looked for in answers."""

    code = "MT2521"
    exit_code = EXIT_CONFIGURATION
    next_command = "use a longer random secret, or scrub = false for this credential"


class CredentialError(ClientError):
    """A secret could not be had from a vault, a command or a token endpoint."""

    code = "MT2522"
    exit_code = EXIT_UNAVAILABLE
    retryable = True
    status: int | None = None
    """What it answered with, where an answer came that was none."""
    next_command = "tunnel-client status"


# 254x and 255x: what upstreams list, and pins


class ListingError(ClientError):
    """An upstream did not say what it offers, or said more than is read."""

    code = "MT2540"
    exit_code = EXIT_UNAVAILABLE
    retryable = True
    next_command = "tunnel-client upstream test NAME; then tunnel-client tool list NAME"


class BrokenPinsError(ClientError):
    """The file of pins, or of what changed since, does not hold what this program wrote there."""

    code = "MT2541"
    exit_code = EXIT_CONFIGURATION
    next_command = "restore pins.json, or move it away and pin again: tunnel-client tool pin NAME"


class UnknownToolError(ClientError):
    """The upstream lists no tool of this name, or none is pinned."""

    code = "MT2542"
    next_command = "tunnel-client tool list NAME"


class NotPinnableError(ClientError):
    """What cannot be pinned: a name that is no name of a tool, or one the server lists twice."""

    code = "MT2543"
    next_command = "tunnel-client tool diff NAME; ask whoever runs that server"


class CredentialShownError(ClientError):
    """The upstream shows its own credential in a definition: no pin makes that fit for agents."""

    code = "MT2620"
    next_command = "have whoever runs that server take it out, and change the credential"


# 256x: what stdio upstreams may start


class NotConsentedError(ClientError):
    """Nobody has agreed yet that this program is started."""

    code = "MT2560"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client consent approve NAME"


class ConsentChangedError(ClientError):
    """What would be started is not what was agreed to; the cause names the difference."""

    code = "MT2561"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client consent approve NAME"


class UnpinnedCommandError(ClientError):
    """The command fetches a package or image in whatever version is newest."""

    code = "MT2562"
    exit_code = EXIT_CONFIGURATION
    next_command = "name one version; or allow_unpinned = true for this upstream"


class DangerousCommandError(ClientError):
    """The command has a part that needs a consent of its own."""

    code = "MT2563"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client consent approve NAME --allow-dangerous"


class ConsentFileError(ClientError):
    """The file of consents was edited by hand, is of another machine, or cannot be read."""

    code = "MT2564"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client consent approve NAME, for each upstream"


class SandboxMissingError(ClientError):
    """This machine has not what the upstream's sandbox is told to need."""

    code = "MT2565"
    exit_code = EXIT_CONFIGURATION
    next_command = "install bubblewrap and allow user namespaces; or change sandbox.level"


class SandboxPathError(ClientError):
    """A path of the sandbox does not exist, or would show the program our key or configuration."""

    code = "MT2566"
    exit_code = EXIT_CONFIGURATION


class ConsentDeclinedError(ClientError):
    """The question was answered with no, or there was nobody to ask."""

    code = "MT2567"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "tunnel-client consent approve NAME; in scripts, with --yes"


# 258x: permits


class PermitFileError(ClientError):
    """The list of used permits cannot be read or written, so that no permit can be honoured."""

    code = "MT2580"
    exit_code = EXIT_CONFIGURATION
    next_command = "restore permits.used in the state folder, or let a week pass before deleting it"
