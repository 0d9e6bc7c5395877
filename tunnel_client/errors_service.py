"""Why `tunnel-client service` does nothing: systemd, rights, files of others."""

from tunnel_client.errors import (
    EXIT_CONFIGURATION,
    EXIT_NOT_PERMITTED,
    EXIT_UNAVAILABLE,
    ClientError,
)

# 273x: `tunnel-client service`


class NoSystemdError(ClientError):
    """systemd does not run here, or no instance of it for this user."""

    code = "MT2730"
    exit_code = EXIT_UNAVAILABLE
    next_command = "tunnel-client run"


class NotRootError(ClientError):
    """Only root installs a service of the whole machine."""

    code = "MT2731"
    exit_code = EXIT_NOT_PERMITTED
    next_command = (
        "run it with sudo, or install one of your own: tunnel-client service install --user"
    )


class ForeignUnitError(ClientError):
    """A file in the unit's place was written by somebody else and is left alone."""

    code = "MT2732"
    next_command = "move it away, then: tunnel-client service install"


class UnfitServiceError(ClientError):
    """The configuration or the installation cannot be run as a service as it is."""

    code = "MT2733"
    exit_code = EXIT_CONFIGURATION
    next_command = "tunnel-client service install --dry-run"


class ServiceCommandError(ClientError):
    """systemctl refused, or the service did not start."""

    code = "MT2734"
    exit_code = EXIT_UNAVAILABLE
    next_command = "journalctl -u tunnel-client -n 20"
