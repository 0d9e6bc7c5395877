"""Asks, before every start of a stdio upstream's program, whether it is what was agreed to.

The files that are hashed are held open, and bubblewrap mounts these very files where the program
looks for them; without bubblewrap the launcher compares them once more, right before execve.
"""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tunnel_client.consent.facts import (
    NOWHERE,
    Digests,
    Start,
    command_of,
    differences,
    gather,
    listed_paths,
)
from tunnel_client.consent.held import BentError, hold, let_go
from tunnel_client.consent.store import Consent, ConsentStore
from tunnel_client.errors import ClientError
from tunnel_client.errors_upstreams import (
    ConsentChangedError,
    DangerousCommandError,
    NotConsentedError,
    SandboxMissingError,
    SandboxPathError,
    UnpinnedCommandError,
)
from tunnel_client.sandbox.machine import Machine, look
from tunnel_client.sandbox.plan import Launch, Reached, environment_of, plan, reached
from tunnel_client.settings import UpstreamSettings, find_program
from tunnel_client.upstream.stdio_command import StdioCommand

_APPROVE = "tunnel-client consent approve"


class Guards:
    """Makes the guard of each upstream; what they share is the file of consents and the digests."""

    def __init__(
        self, state_dir: Path, own_files: Sequence[Path], machine: Machine | None = None
    ) -> None:
        self.store = ConsentStore(state_dir)
        self._own_files = tuple(own_files)
        self._machine = machine
        self._digests = Digests()

    def of(
        self, upstream: UpstreamSettings, environ: Mapping[str, str], *, absent: bool = False
    ) -> "Guard":
        """Return the guard of a stdio upstream; raises NoProgramError.

        A program that may be `absent` is looked for again at each start, and refused until then.
        """
        command = command_of(upstream, environ, absent=absent)
        shared = (self.store, self._own_files, self._digests, self._machine or look())
        return Guard(upstream, environ, command, *shared)


class Guard:
    """One upstream's: `starting` gives a child, `refusal` says why there would be none."""

    def __init__(
        self,
        upstream: UpstreamSettings,
        environ: Mapping[str, str],
        command: StdioCommand,
        store: ConsentStore,
        own_files: tuple[Path, ...],
        digests: Digests,
        machine: Machine,
    ) -> None:
        self._upstream = upstream
        self._environ = environ
        self._store = store
        self._own_files = own_files
        self._digests = digests
        self._machine = machine
        self._tmp: str | None = None
        self.command = command
        self.reached: Reached = reached(upstream.sandbox, machine)
        self.egress: str | None = None

    @property
    def allows_unpinned(self) -> bool:
        """Whether the configuration lets it fetch whatever version is newest."""
        return self._upstream.allow_unpinned

    @property
    def hosts(self) -> tuple[str, ...]:
        """The places the program may reach; empty when its sandbox needs no way out."""
        rules = self._upstream.sandbox
        return () if rules.level == "off" or rules.network else tuple(rules.hosts)

    def look(self) -> Start:
        """Return what would run now, judged only for what no consent can mend; close it after.

        Raises ClientError.
        """
        if self.command.argv[0] == NOWHERE:
            argv = find_program(self._upstream, self._environ)
            self.command = replace(self.command, argv=tuple(argv))
        self._check_machine()
        self._check_paths()
        start = gather(
            self._upstream,
            self.command,
            self._environ,
            self._own_files,
            self._digests,
            self._store.key,
        )
        reason = start.facts["unpinned"]
        if reason is not None and not self._upstream.allow_unpinned:
            start.close()
            raise UnpinnedCommandError(f"upstream {self._upstream.name}: {reason}")
        return start

    def propose(self) -> Start:
        """Return what would run now, to be shown and agreed to; raises as `look` does."""
        self._store.check()
        self._store.make_key()
        return self.look()

    def agreed(self) -> Start:
        """Return what would run now, when it is what was agreed to; raises ClientError."""
        start = self.look()
        try:
            self._compare(start)
        except BaseException:
            start.close()
            raise
        return start

    def refusal(self) -> ClientError | None:
        """Return why no child would be started now; None when one would."""
        try:
            start = self.agreed()
            try:
                let_go(self._hold(start))
            finally:
                start.close()
        except ClientError as error:
            return error
        return None

    @contextmanager
    def starting(self, more: Mapping[str, str]) -> Iterator[Launch]:
        """Give what to execute, with `more` variables; its descriptors are open in the block.

        Raises ClientError when nothing may be started.
        """
        start = self.agreed()
        held: dict[str, int] = {}
        try:
            held = self._hold(start)
            environment = {**start.wanted.environment, **more}
            wanted = replace(start.wanted, environment=environment, held=held, mark=more)
            how = (self._upstream.sandbox, self._machine, self._folder(), self.egress)
            variables = _file_of(environment_of(wanted, *how))
            try:
                yield plan(wanted, *how, variables)
            finally:
                os.close(variables)
        finally:
            let_go(held)
            start.close()

    def _hold(self, start: Start) -> dict[str, int]:
        """Open what a sandbox shows, and see that it is what was agreed to; raises ClientError."""
        if not self.reached.caged:
            return {}
        links, name = start.facts["links"], self._upstream.name
        shown = [*map(str, listed_paths(self._upstream)), *start.wanted.trees]
        try:
            return hold({path: links.get(path, path) for path in shown})
        except BentError as error:
            raise ConsentChangedError(f"upstream {name}: {error}", f"{_APPROVE} {name}") from None
        except OSError as error:
            raise SandboxPathError(
                f"upstream {name}: {error.filename} cannot be used: {error.strerror}"
            ) from None

    def approve(self, start: Start, dangers: bool) -> None:
        """Keep that the operator agreed to this; `dangers` too. Raises StateWriteError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._store.put(self._upstream.name, Consent(start.facts, now, dangers))

    def close(self) -> None:
        """Remove what children without a /tmp of their own left in theirs."""
        if self._tmp is not None:
            shutil.rmtree(self._tmp, ignore_errors=True)
            self._tmp = None

    def _folder(self) -> str:
        if self._machine.bwrap is not None or self._upstream.sandbox.level == "off":
            return ""
        if self._tmp is None:
            self._tmp = tempfile.mkdtemp(prefix="mcp-tunnel-")
        return self._tmp

    def _compare(self, start: Start) -> None:
        name = self._upstream.name
        consent = self._store.find(name)
        if consent is None:
            raise NotConsentedError(
                f"upstream {name}: nobody has agreed yet to what it starts", f"{_APPROVE} {name}"
            )
        changed = differences(consent.facts, start.facts)
        if changed:
            more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
            raise ConsentChangedError(
                f"upstream {name}: {'; '.join(changed[:3])}{more}", f"{_APPROVE} {name}"
            )
        if start.facts["dangers"] and not consent.dangers:
            raise DangerousCommandError(
                f"upstream {name}: {'; '.join(start.facts['dangers'])}",
                f"{_APPROVE} {name} --allow-dangerous",
            )

    def _check_machine(self) -> None:
        rules, machine, name = self._upstream.sandbox, self._machine, self._upstream.name
        if rules.level == "off":
            return
        if sys.platform != "linux":
            raise SandboxMissingError(
                f"upstream {name}: sandboxes are made on Linux only", 'set sandbox.level = "off"'
            )
        if rules.level == "required" and not (machine.bwrap and machine.landlock):
            why = machine.why_not or "this kernel has no Landlock"
            raise SandboxMissingError(f"upstream {name}: sandbox.level is required, but {why}")
        if rules.hosts and machine.bwrap is None:
            raise SandboxMissingError(
                f"upstream {name}: sandbox.hosts needs bubblewrap, and {machine.why_not}"
            )

    def _check_paths(self) -> None:
        name = self._upstream.name
        for path in listed_paths(self._upstream):
            # Not Path.exists, which raises where a folder above may not be searched.
            if not os.access(path, os.F_OK):
                raise SandboxPathError(f"upstream {name}: {path} does not exist")
            real = Path(os.path.realpath(path))
            for own in self._own_files:
                ours = Path(os.path.realpath(own))
                if ours.is_relative_to(real) or real.is_relative_to(ours):
                    raise SandboxPathError(
                        f"upstream {name}: {path} would show it {own}, which is the client's own",
                        "list folders below it instead, or move the client's files",
                    )


def _file_of(environment: Mapping[str, str]) -> int:
    """Return an open file, without a name, that holds variables as the launcher reads them."""
    text = "\0".join(f"{name}={value}" for name, value in environment.items())
    if text.count("\0") != max(len(environment) - 1, 0):
        raise OSError(errno.EINVAL, "a variable holds a NUL")
    descriptor = os.memfd_create("variables")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(text.encode(errors="surrogateescape"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
