"""`[upstream.sandbox]`: what the program of a stdio upstream may see and use."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.configfile import ConfigModel
from tunnel_client.sandbox.hosts import parse_host


def _host(text: str) -> str:
    parse_host(text)
    return text


def _listed(path: Path) -> Path:
    if "\0" in str(path) or not (path.is_absolute() or str(path).startswith("~")):
        raise ValueError("give an absolute path, or one that starts with ~/")
    return path.expanduser()


Listed = Annotated[Path, AfterValidator(_listed)]


class SandboxSettings(ConfigModel):
    """The sandbox of one stdio upstream; part of what the operator consents to."""

    level: Literal["auto", "required", "off"] = "auto"
    """`auto` takes what is there; `required` starts nothing without bubblewrap and Landlock."""
    read: list[Listed] = Field(default_factory=list, max_length=64)
    """Files and folders it may read beside the system, its own installation and `cwd`."""
    write: list[Listed] = Field(default_factory=list, max_length=64)
    """Files and folders it may change."""
    hosts: list[Annotated[str, AfterValidator(_host)]] = Field(default_factory=list, max_length=64)
    """The only places it may reach, each `name:port` or `address:port`, through a proxy of ours."""
    network: bool = False
    """All of the machine's network instead; whatever it can reach, the program can."""
    processes: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Most processes and threads of one child; counted only under bubblewrap."""
    open_files: Annotated[int, Field(ge=16, le=1_000_000)] = 4096
    """Most open files of one process."""
    memory_mib: Annotated[int, Field(ge=16, le=1_048_576)] | None = None
    """Most address space of one process in MiB; left out: no limit, as Node reserves a lot."""
