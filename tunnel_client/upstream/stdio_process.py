"""One child process that speaks newline-delimited JSON-RPC on its standard streams.

Plain callbacks on the event loop instead of tasks: lines come out by `on_line`, and `on_end` says
once that the child is gone. Linux tells of the exit through a pidfd, which leaves the zombie in
place, so that its process group can be killed before the number can go to anybody else.
"""

import asyncio
import ctypes
import os
import secrets
import signal
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol

import structlog

from shared.audit import events
from tunnel_client.sandbox.plan import Launch, Reached
from tunnel_client.upstream.stdio_command import StdioCommand, StdioLimits
from tunnel_client.upstream.stdio_ending import in_words
from tunnel_client.upstream.stdio_pipes import LineReader, PipeWriter
from tunnel_client.upstream.stdio_stderr import StderrLog
from tunnel_client.upstream.stdio_strays import MARK, end_strays

_PR_SET_PDEATHSIG = 1
_POLL = 0.1
_DRAIN = 1.0
_STDERR_BYTES = 64 * 1024
_LAST_LINES = 5
_LINE_SHOWN = 300

_libc = ctypes.PyDLL(None) if sys.platform == "linux" else None


class Starter(Protocol):
    """Decides how a child is started, and whether at all."""

    @property
    def reached(self) -> Reached | None:
        """How far the sandbox goes; None for none."""

    def starting(self, more: Mapping[str, str]) -> AbstractContextManager[Launch]:
        """Give what to execute, with `more` variables; raises ClientError when nothing may be."""


class Unguarded:
    """Starts a command as it is: for servers of tests, never for what a configuration names."""

    reached: Reached | None = None

    def __init__(self, command: StdioCommand) -> None:
        self._command = command

    @contextmanager
    def starting(self, more: Mapping[str, str]) -> Iterator[Launch]:
        """Give the command itself."""
        environment = self._command.environment(os.environ) | dict(more)
        yield Launch(self._command.argv, self._command.cwd, environment)


class Child:
    """A running child; made by `start`, gone when `wait_gone` returns.

    `on_line` gets each non-empty line of stdout; `on_end(reason)` comes once, unless `stop` was
    called first: whoever stops a child knows. `reason` is for operators. `on_gone` comes last.
    """

    def __init__(
        self,
        command: StdioCommand,
        limits: StdioLimits,
        log: structlog.typing.FilteringBoundLogger,
        on_line: Callable[[bytes], None],
        on_end: Callable[[str], None],
        on_gone: Callable[[], None],
        starter: Starter | None = None,
    ) -> None:
        self._command = command
        self._starter = starter or Unguarded(command)
        self._limits = limits
        self._log = log
        self._on_line = on_line
        self._on_end = on_end
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._mark = secrets.token_hex(16)
        self._timers: list[asyncio.TimerHandle] = []
        self._stopping = False
        self._exited = False
        self._strays_gone = False
        self._contained = False
        self._ended = False
        self._crashed = False
        self._fast = False
        self._gone = asyncio.Event()
        self.now = self._loop.time
        self.started = self.now()
        self._said: deque[str] = deque(maxlen=_LAST_LINES)

    def start(self) -> None:
        """Start the process; raises OSError when it cannot, ClientError when it may not be done."""
        with self._starter.starting({MARK: self._mark}) as launch:
            self._execute(launch)
        self.pid = self._process.pid
        self._log = self._log.bind(pid=self.pid)
        self._open_pipes()
        self._watch()
        reached = self._starter.reached
        self._note("child.started", sandbox=str(reached))
        if reached is None or not reached.caged:
            self._log.warning("child started without a sandbox", sandbox=str(reached))
        else:
            self._log.info("child started", sandbox=str(reached))

    def _execute(self, launch: Launch) -> None:
        self._contained = launch.contained
        prepare = _die_with_parent_deaf if launch.deaf else _die_with_parent
        with warnings.catch_warnings():
            # From 3.12 on Python warns of threads; what runs before exec here are system calls.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = subprocess.Popen(  # noqa: S603 - an argv list from the local file
                launch.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=launch.cwd,
                env=dict(launch.environment),
                start_new_session=True,
                pass_fds=launch.descriptors,
                preexec_fn=prepare if _libc is not None else None,
            )

    def _open_pipes(self) -> None:
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise OSError("no pipes to the child")
        self._stdin = PipeWriter(self._loop, stdin.fileno())
        self._stdout = LineReader(
            self._loop, stdout.fileno(), self._limits.line_bytes, self._line, self._stdout_ended
        )
        self.stderr = StderrLog(self._write_stderr, self._command.secrets(), self._limits)
        os.set_blocking(stderr.fileno(), False)
        self._stderr_fd: int | None = stderr.fileno()
        self._loop.add_reader(stderr.fileno(), self._read_stderr)

    @property
    def running(self) -> bool:
        """Whether messages can still be exchanged."""
        return not self._stopping and not self._ended

    @property
    def unsent(self) -> int:
        """Bytes that wait because the child does not read."""
        return self._stdin.waiting

    def send(self, line: bytes) -> None:
        """Write one message, which holds no line break; nothing happens once the child ends."""
        if self.running:
            self._stdin.write(line + b"\n")

    def pause(self) -> None:
        """Read no more lines until `resume`; what was read already is still passed on."""
        self._stdout.pause()

    def resume(self) -> None:
        """Read again."""
        self._stdout.resume()

    def stop(self, fast: bool = False) -> None:
        """End the child: stdin closed, then SIGTERM, then SIGKILL to its group; `fast` hurries."""
        if self._gone.is_set() or (self._stopping and (self._fast or not fast)):
            return
        self._stopping, self._fast = True, fast
        self._stdin.close()
        self._stdout.resume()
        self._cancel_timers()
        if fast:
            self._signal(signal.SIGTERM)
            self._later(self._limits.fast_grace, signal.SIGKILL)
        else:
            self._later(self._limits.grace, signal.SIGTERM)
            self._later(2 * self._limits.grace, signal.SIGKILL)
        self._try_finish()

    def kill(self) -> None:
        """End the child at once after `stop`; what it still says is not waited for."""
        if self._gone.is_set():
            return
        self._signal(signal.SIGKILL)
        self._stdin.close()
        self._stdout.close()

    def give_up(self, problem: str) -> None:
        """End the child at once because it breaks a bound; whoever waits is told as of a crash."""
        if not self.running:
            return
        self._log.error("child ended by us", reason=problem)
        self._end(problem)
        # Neither what waits for it nor what it still says is of use to anybody.
        self.kill()

    async def wait_gone(self) -> None:
        """Return when the process and all it started are dead and reaped."""
        await self._gone.wait()

    def _later(self, delay: float, number: signal.Signals) -> None:
        self._timers.append(self._loop.call_later(delay, self._signal, number))

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _signal(self, number: signal.Signals) -> None:
        # Until it is reaped, the number can belong to nobody else.
        if not self._exited:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _line(self, line: bytes) -> None:
        if self.running:
            self._on_line(line)

    def _stdout_ended(self, problem: str | None) -> None:
        if problem is not None:
            self.give_up(problem)
        elif self.running and not self._exited:
            # Nothing more can come from it, so whoever waits need not wait for the exit.
            self._end("it closed its output")
            self.stop()
        self._try_finish()

    def _watch(self) -> None:
        try:
            self._pidfd: int | None = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._pidfd = None
            self._poll_exit()
        else:
            self._loop.add_reader(self._pidfd, self._exit)

    def _poll_exit(self) -> None:
        if self._process.poll() is None:
            self._loop.call_later(_POLL, self._poll_exit)
        else:
            self._exit()

    def _exit(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._signal(signal.SIGKILL)
        self._exited = True
        self._process.wait()
        self._cancel_timers()
        ending = self._loop.run_in_executor(None, end_strays, self._mark)
        ending.add_done_callback(self._strays_ended)

    def _strays_ended(self, ending: "asyncio.Future[int]") -> None:
        strays = 0 if ending.cancelled() else ending.result()
        # What the kernel ends together with a sandbox may still be dying when we look.
        if strays and not self._contained:
            self._log.warning("ended processes that a child had left behind", count=strays)
        self._strays_gone = True
        self._timers.append(self._loop.call_later(_DRAIN, self._drained))
        self._try_finish()

    def _drained(self) -> None:
        # A crash may leave a last answer in the pipe, which a slow agent has yet to take.
        if self._stdout.paused:
            self._timers.append(self._loop.call_later(_DRAIN, self._drained))
        else:
            self._stdout.close()

    def _try_finish(self) -> None:
        if not self._strays_gone or self._gone.is_set():
            return
        if not self._stdout.ended and not self._stopping:
            return
        self._cancel_timers()
        self._stdin.close()
        self._stdout.close()
        self._close_stderr()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._gone.set()
        status = self._process.returncode
        self._end(f"it ended with status {status}")
        self._note("child.ended", status=status, crashed=self._crashed)
        say = self._log.warning if self._crashed else self._log.debug
        say("child gone", status=status, crashed=self._crashed)
        self._on_gone()

    @property
    def last_words(self) -> str:
        """How it ended, when it did so by itself; empty else, and until it is gone."""
        if not self._crashed or not self._gone.is_set():
            return ""
        return in_words(self._process.returncode, self._said)

    def _note(self, kind: str, **facts: Any) -> None:
        # Whose child it is, only the log line knows.
        upstream = structlog.get_context(self._log).get("upstream", "")
        events.note(kind, upstream=upstream, pid=self.pid, **facts)

    def _end(self, reason: str) -> None:
        if not self._ended:
            self._ended = True
            if not self._stopping:
                self._crashed = True
                self._on_end(reason)

    def _read_stderr(self) -> None:
        if self._stderr_fd is None:
            return
        try:
            chunk = os.read(self._stderr_fd, _STDERR_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self.stderr.feed(chunk, self._loop.time())
        else:
            self._close_stderr()

    def _close_stderr(self) -> None:
        if self._stderr_fd is not None:
            self._loop.remove_reader(self._stderr_fd)
            self._stderr_fd = None
            self.stderr.end(self._loop.time())

    def _write_stderr(self, text: str, dropped: int) -> None:
        if dropped:
            self._log.warning("lines of a child's stderr dropped", count=dropped)
        if text:
            self._said.append(text[:_LINE_SHOWN])
            self._log.info("child says", text=text)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process with its parent; runs between fork and exec."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _die_with_parent_deaf() -> None:
    """Do the same and ignore SIGTERM, which is for the server in the sandbox and not its walls."""
    _die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
