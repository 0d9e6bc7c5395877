"""What exactly would run for a stdio upstream, as values that can be shown, kept and compared."""

import hashlib
import hmac
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tunnel_client.consent.risks import dangers, unpinned
from tunnel_client.errors import NoProgramError
from tunnel_client.sandbox.launch import facts_of
from tunnel_client.sandbox.plan import Checked, Wanted
from tunnel_client.sandbox.trees import chain_of, python_trees, trees_of
from tunnel_client.settings import UpstreamSettings, find_program
from tunnel_client.upstream.stdio_command import StdioCommand

Facts = dict[str, Any]
"""JSON values only, so that what is kept is what is compared."""

NOWHERE = "/nonexistent"
"""Stands for a program that is not there."""
_CHUNK = 1024 * 1024
_START_KEYS = ("command", "cwd", "inherit_env", "env", "sandbox", "allow_unpinned")


class Digests:
    """SHA-256 of files, remembered by what tells their states apart; one a process is enough."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, descriptor: int) -> str:
        """Return the digest in hex; reads the file only when it is new or has changed."""
        state = facts_of(descriptor)
        known = self._known.get(state)
        if known is None:
            if len(self._known) >= 1024:
                self._known.clear()
            digest = hashlib.sha256()
            os.lseek(descriptor, 0, os.SEEK_SET)
            while chunk := os.read(descriptor, _CHUNK):
                digest.update(chunk)
            known = digest.hexdigest()
            # What changed under our hands is not remembered under its old name.
            if facts_of(descriptor) == state:
                self._known[state] = known
        return known


@dataclass(slots=True)
class Start:
    """One possible start: what would run, what of it is consented to, and open files of it.

    The descriptors are this object's; `close` them after the child has them.
    """

    wanted: Wanted
    facts: Facts

    def close(self) -> None:
        """Close the files of the program."""
        for file in self.wanted.files:
            with suppress(OSError):
                os.close(file.descriptor)


def command_of(
    upstream: UpstreamSettings, environ: Mapping[str, str], *, absent: bool = False
) -> StdioCommand:
    """Return the command of a stdio upstream; raises NoProgramError, unless it may be `absent`."""
    try:
        argv = find_program(upstream, environ)
    except NoProgramError:
        if not absent:
            raise
        argv = [NOWHERE]
    return StdioCommand(
        argv=tuple(argv),
        cwd=None if upstream.cwd is None else str(upstream.cwd),
        inherit=tuple(upstream.inherit_env),
        env=upstream.env,
    )


def gather(
    upstream: UpstreamSettings,
    command: StdioCommand,
    environ: Mapping[str, str],
    protected: Sequence[Path],
    digests: Digests,
    key: bytes,
) -> Start:
    """Look at everything a start of this upstream would use; raises NoProgramError.

    `key` hides the values of variables in the digest of the configuration.
    """
    environment = command.environment(environ)
    cwd = None if command.cwd is None else Path(command.cwd)
    named = environment.get("HOME", "")
    home = Path(named) if named.startswith("/") else None
    files: list[Checked] = []
    listed: list[dict[str, str]] = []
    start = Start(Wanted(command.argv, command.cwd, environment), {})
    try:
        chain = chain_of(command.argv, cwd, environment)
        trees = trees_of(chain, protected, home)
        launcher = python_trees(Path(os.path.realpath(sys.executable)), protected, home)
        for path in chain.files:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            files.append(Checked(str(path), descriptor, facts_of(descriptor)))
            listed.append({"path": str(path), "sha256": digests.of(descriptor)})
    except OSError as error:
        for file in files:
            os.close(file.descriptor)
        raise NoProgramError(
            f"upstream {upstream.name}: cannot read its program: {error.strerror}"
        ) from None
    start.wanted = Wanted(
        *(command.argv, command.cwd, environment, tuple(files)),
        trees=tuple(map(str, trees)),
        launcher=tuple(map(str, launcher)),
    )
    start.facts = _bound(upstream, command, key, listed, trees)
    return start


def _bound(
    upstream: UpstreamSettings,
    command: StdioCommand,
    key: bytes,
    files: list[dict[str, str]],
    trees: Sequence[Path],
) -> Facts:
    """Return what a consent is for."""
    return {
        "argv": list(command.argv),
        "cwd": command.cwd,
        "inherit_env": sorted(command.inherit),
        "env": sorted(command.env),
        "files": files,
        "trees": [str(each) for each in trees],
        "sandbox": upstream.sandbox.model_dump(mode="json"),
        "links": _links([*listed_paths(upstream), *trees]),
        "allow_unpinned": upstream.allow_unpinned,
        "dangers": dangers(command.argv),
        "unpinned": unpinned(command.argv),
        "config": config_digest(upstream, key),
    }


def listed_paths(upstream: UpstreamSettings) -> list[Path]:
    """Return the paths that the configuration opens to the program."""
    rules = upstream.sandbox
    return [*rules.read, *rules.write, *([upstream.cwd] if upstream.cwd is not None else [])]


def _links(paths: Sequence[Path]) -> dict[str, str]:
    """Return where paths lead that go through links, so that a link cannot be bent later."""
    real = {str(each): os.path.realpath(each) for each in paths}
    return {path: place for path, place in real.items() if path != place}


def config_digest(upstream: UpstreamSettings, key: bytes) -> str:
    """Return a keyed digest of all that the configuration says about how it is started."""
    values = {name: _plain(getattr(upstream, name)) for name in _START_KEYS}
    return hmac.new(key, canonical({"name": upstream.name, **values}), hashlib.sha256).hexdigest()


def _plain(value: object) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def canonical(value: object) -> bytes:
    """Return one byte string for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def differences(agreed: Facts, now: Facts) -> list[str]:
    """Name what is not as it was agreed, each in one line; empty when all is."""
    found: list[str] = []
    for key in sorted(agreed.keys() | now.keys()):
        before, after = agreed.get(key), now.get(key)
        if before == after:
            continue
        if key == "argv":
            found.append(_argv_difference(before, after))
        elif key == "files":
            found += _file_differences(before, after)
        elif key == "sandbox":
            found += [
                f"sandbox.{name} was {_short(_get(before, name))}, is {_short(_get(after, name))}"
                for name in sorted({*_names(before), *_names(after)})
                if _get(before, name) != _get(after, name)
            ]
        elif key != "config":
            found.append(f"{_WORDS.get(key, key)} was {_short(before)}, is {_short(after)}")
    if not found and agreed.get("config") != now.get("config"):
        found.append("the value of a variable in env changed, or the file is another's")
    return found


_WORDS = {
    "env": "the list of variables set",
    "inherit_env": "the list of variables inherited",
    "links": "where links lead",
    "trees": "what it reads to run",
}


def _argv_difference(before: object, after: object) -> str:
    old, new = _list(before), _list(after)
    for at, (one, other) in enumerate(zip(old, new, strict=False)):
        if one != other:
            what = "the program" if at == 0 else f"argument {at}"
            return f"{what} was {_short(one)}, is {_short(other)}"
    return f"there were {max(len(old) - 1, 0)} arguments, there are {max(len(new) - 1, 0)}"


def _file_differences(before: object, after: object) -> list[str]:
    old = {str(_get(each, "path")): str(_get(each, "sha256")) for each in _list(before)}
    new = {str(_get(each, "path")): str(_get(each, "sha256")) for each in _list(after)}
    found = [f"{_short(path)} is no longer part of it" for path in old if path not in new]
    for path, digest in new.items():
        if path not in old:
            found.append(f"{_short(path)} is new in it")
        elif old[path] != digest:
            found.append(f"{_short(path)} changed (sha256 {old[path][:12]} -> {digest[:12]})")
    return found


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, dict) else []


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 120 else f"{text[:120]}... ({len(text)} characters)"
