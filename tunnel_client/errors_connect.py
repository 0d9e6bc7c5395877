"""Why `tunnel-client connect` does nothing, or not all of it."""

from tunnel_client.errors import (
    EXIT_CONFIGURATION,
    EXIT_NOT_PERMITTED,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    ClientError,
)

# 205x: `tunnel-client connect`


class BadServerUrlError(ClientError):
    """An address of an MCP server, or of its login, that is not called."""

    code = "MT2050"
    exit_code = EXIT_USAGE
    next_command = "on the relay: tunnel-relay connect-info TUNNEL/UPSTREAM --for stdio"


class LoginRefusedError(ClientError):
    """The login was refused, by the person or by the authorization server."""

    code = "MT2051"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "tunnel-client connect --login URL"


class LoginTimeoutError(ClientError):
    """Nobody finished the login in time."""

    code = "MT2052"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "in a terminal: tunnel-client connect --login URL"


class LoginMetadataError(ClientError):
    """What the server says about its login cannot be used, or must not be trusted."""

    code = "MT2053"
    exit_code = EXIT_UNAVAILABLE
    next_command = "ask the server's admin; a token works without a login: --token-file FILE"


class NotRegisteredError(ClientError):
    """The authorization server knows no client id for us and takes no registration."""

    code = "MT2054"
    exit_code = EXIT_CONFIGURATION
    next_command = (
        "on the relay: tunnel-relay agent add ID --redirect-uri http://127.0.0.1/callback, "
        "then connect with --agent-id ID"
    )


class TokenRefusedError(ClientError):
    """The server does not take the token: it is wrong, has expired or was revoked."""

    code = "MT2055"
    exit_code = EXIT_NOT_PERMITTED
    next_command = "on the relay: tunnel-relay session create; or log in, without a token"


class McpSessionEndedError(ClientError):
    """The server has ended the MCP session, or restarted."""

    code = "MT2056"
    exit_code = EXIT_UNAVAILABLE
    next_command = "reconnect this server in your agent"


class ServerAnswerError(ClientError):
    """The server's answer is not one of MCP, or broke off."""

    code = "MT2057"
    exit_code = EXIT_UNAVAILABLE
    next_command = "check the URL; on the relay: tunnel-relay status"


class ConnectBusyError(ClientError):
    """Too much at once: requests, or processes that log in."""

    code = "MT2058"
    exit_code = EXIT_UNAVAILABLE
    retryable = True
    next_command = "wait for what is running, then try again"


class LogoutUntoldError(ClientError):
    """A login was forgotten here, and the server that gave it does not know."""

    code = "MT2059"
    exit_code = EXIT_UNAVAILABLE
    next_command = "on the relay: tunnel-relay session list, then tunnel-relay session revoke ID"
