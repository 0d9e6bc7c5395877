"""The texts of units: those that are shipped, made to fit this machine."""

import re
from importlib import metadata
from pathlib import Path

from tunnel_client.errors_service import UnfitServiceError

UNIT = "tunnel-client.service"
USER_UNIT = "tunnel-client-user.service"
STDIO = "tunnel-client-stdio.conf"
MARK = (
    "# Written by `tunnel-client service install`; `tunnel-client service uninstall` removes it.\n"
)
_FOLDER = "systemd"
_DISTRIBUTION = "mcp-tunnel"
_PLAIN = re.compile(r"[A-Za-z0-9/._+@=,-]+")
"""What needs no quoting in a unit: systemd reads %, $, quotes and spaces in ways of its own."""
_POLICY = "LoadCredential=policy.yaml:/etc/tunnel-client/policy.yaml\n"
"""Our drop-in says where the policy is: it may be elsewhere, or need no copy."""
_ROOT_ONLY = re.compile(r"^(?:Protect|Private|Proc)\w+=.*\n", re.MULTILINE)
"""What the systemd of a user may not set up."""


def shipped(name: str) -> str:
    """Return the text of a unit that came with this program; raises UnfitServiceError."""
    beside = Path(__file__).resolve().parents[2] / _FOLDER / name
    if beside.is_file():
        return beside.read_text()
    try:
        files = metadata.files(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.parts[-2:] == (_FOLDER, name):
            return Path(str(file.locate())).read_text()
    raise UnfitServiceError(f"this installation lacks {name}", "install the package again")


def plain(path: Path | str) -> str:
    """Return a path that may stand in a unit; raises UnfitServiceError."""
    text = str(path)
    if _PLAIN.fullmatch(text) is None:
        raise UnfitServiceError(
            f"{text!r} has characters that do not go into a unit",
            "move it to a path of letters, digits and / . _ + @ = , -",
        )
    return text


def system_unit(program: Path, config: Path) -> str:
    """Return the unit of the machine's service; raises UnfitServiceError."""
    text = shipped(UNIT).replace("/etc/tunnel-client/client.toml", plain(config))
    text = text.replace(_POLICY, "")
    return MARK + text.replace("ExecStart=/usr/bin/tunnel-client ", f"ExecStart={plain(program)} ")


def user_unit(program: Path, config: Path) -> str:
    """Return the unit of a user's own service; raises UnfitServiceError."""
    text = shipped(USER_UNIT).replace("%E/tunnel-client/client.toml", plain(config))
    return MARK + text.replace("ExecStart=/usr/bin/tunnel-client ", f"ExecStart={plain(program)} ")


def stdio_drop_in(*, user: bool) -> str:
    """Return what a service with stdio upstreams needs on top."""
    text = shipped(STDIO)
    return MARK + (_ROOT_ONLY.sub("", text) if user else text)


def local_drop_in(variables: dict[str, str], credentials: dict[str, Path]) -> str:
    """Return the drop-in with variables and credentials of this configuration.

    `credentials` maps the name inside the service to the file outside; raises UnfitServiceError.
    """
    lines = [f"Environment={name}={plain(value)}" for name, value in variables.items()]
    for name, path in credentials.items():
        encrypted = "Encrypted" if path.parent.name.endswith(".encrypted") else ""
        lines.append(f"LoadCredential{encrypted}={plain(name)}:{plain(path)}")
    return MARK + "".join(f"{line}\n" for line in ["[Service]", *lines])


def is_ours(text: str) -> bool:
    """Tell whether this command wrote a file, or somebody copied it as it was shipped."""
    return text.startswith(MARK) or text in {shipped(name) for name in (UNIT, USER_UNIT, STDIO)}
