"""The last step before a stdio server runs: limits, no new privileges, Landlock, seccomp, execve.

    python -I -S launch.py [WORD...] -- PROGRAM ARGUMENT...

Runs as a file, inside the bubblewrap sandbox where there is one, and imports nothing of ours and
nothing slow, because every child pays for it. The words come from `plan` and nobody else:
`env=DESCRIPTOR` (the program's variables), `read=PATH` and `write=PATH` (Landlock; as
`read-fd=DESCRIPTOR` and `write-fd=DESCRIPTOR` the very places that were judged), `no-tcp`,
`filter=HEX` (a program for seccomp), `limit=NAME:NUMBER`, `same=FACTS:PATH` (the file that was
checked must still be there), `forward=PORT:SOCKET`. Anything that fails ends it with 126 and a line
on stderr: a server never starts with less than was planned.
"""

import ctypes
import os
import resource
import struct
import sys

TYPE_CHECKING = False  # typing's own costs 5 ms
if TYPE_CHECKING:
    import socket

FAILED = 126
# Numbers instead of `signal`, whose import would cost every child 3 ms.
_SIGKILL, _SIGTERM, _SIG_DFL = 9, 15, 0
_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP, _WITH_FILTER = 22, 2
_EFAULT = 14
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_CAPABILITIES = 64
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_CHANGE_FOLDERS = sum(1 << bit for bit in range(4, 13))
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BOTH_TCP = 0b11
_BOTH_SCOPES = 0b11
_FORWARD_BYTES = 65_536
_SHUT_WR, _SHUT_RDWR = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


class LaunchError(Exception):
    """The child cannot be started as planned; the text is for operators."""


def facts_of(descriptor: int) -> str:
    """Return what tells one state of a file from any other, without reading it."""
    facts = os.fstat(descriptor)
    numbers = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return "-".join(map(str, numbers))


def landlock_abi() -> int:
    """Return the version of Landlock this kernel offers; 0 when it has none or it is off."""
    if sys.platform != "linux":
        return 0
    found: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    return max(found, 0)


def has_seccomp() -> bool:
    """Tell whether this kernel takes filters of system calls."""
    if sys.platform != "linux":
        return False
    # There is no filter at this address, and only a kernel that wants one says so.
    refused: int = _libc.prctl(_PR_SET_SECCOMP, _WITH_FILTER, None, 0, 0)
    return refused != 0 and ctypes.get_errno() == _EFAULT


def restrict_calls(program: bytes) -> None:
    """Have the kernel judge every call of this process, and all it starts; raises LaunchError."""
    steps = ctypes.create_string_buffer(program, len(program))
    filled = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
    if _libc.prctl(_PR_SET_SECCOMP, _WITH_FILTER, filled, 0, 0) != 0:
        raise LaunchError(f"seccomp: {os.strerror(ctypes.get_errno())}")


def restrict_files(read: list[str | int], write: list[str | int], no_tcp: bool) -> None:
    """Let this process, and all it starts, use these trees only; raises LaunchError.

    Paths that do not exist are left out; a number is a descriptor, which is closed. With `no_tcp`
    TCP can be neither dialled nor served, from version 4 on; from 6 on no process outside can be
    signalled or reached by an abstract socket.
    """
    abi = landlock_abi()
    if abi < 1:
        raise LaunchError("this kernel has no Landlock")
    everything = _READ | _WRITE_FILE | _CHANGE_FOLDERS
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        everything |= right if abi >= since else 0
    attributes = struct.pack("<Q", everything)
    if abi >= 4:
        attributes += struct.pack("<Q", _BOTH_TCP if no_tcp else 0)
    if abi >= 6:
        attributes += struct.pack("<Q", _BOTH_SCOPES)
    rules = _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        raise LaunchError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    for path in read:
        _allow(rules, path, _READ)
    for path in write:
        _allow(rules, path, everything)
    _no_new_privileges()
    if _libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
        raise LaunchError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    os.close(rules)


def _allow(rules: int, path: str | int, rights: int) -> None:
    try:
        place = path if isinstance(path, int) else os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # Rights that only folders have are refused for anything else.
        if os.fstat(place).st_mode & 0o170000 != 0o040000:
            rights &= _FOR_FILES
        rule = struct.pack("<Qi", rights, place)
        if _libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, rule, 0) != 0:
            raise LaunchError(f"Landlock: {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(place)


def _no_new_privileges() -> None:
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise LaunchError("no_new_privs was refused")


def _drop_capabilities() -> None:
    """Leave root nothing but its name from the next execve on, and nobody what a service was given.

    With CAP_PERFMON the kernel lets one read /proc/PID/environ of others past Landlock.
    """
    _libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    for number in range(_CAPABILITIES):
        _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    with open("/proc/self/status") as status:  # noqa: PTH123 - pathlib costs 10 ms
        left = {line[:6]: int(line.split()[1], 16) for line in status if line.startswith("Cap")}
    if left["CapAmb"] or (os.geteuid() == 0 and (left["CapBnd"] or left["CapInh"])):
        raise LaunchError("capabilities could not be dropped")


def _limit(text: str) -> None:
    name, _, number = text.partition(":")
    kind = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(kind)[1]
    most = int(number) if hard == resource.RLIM_INFINITY else min(int(number), hard)
    resource.setrlimit(kind, (most, most))


def _variables(descriptor: int) -> dict[bytes, bytes]:
    """Read the program's variables, NAME=VALUE with NULs between them, and close the file."""
    with os.fdopen(descriptor, "rb") as file:
        entries = [entry.partition(b"=") for entry in file.read().split(b"\0")]
    return {name: value for name, _, value in entries if name}


def _check_same(text: str) -> None:
    facts, _, path = text.partition(":")
    place = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if facts_of(place) != facts:
            raise LaunchError(f"{path} changed while it was being started")
    finally:
        os.close(place)


def forward(port: int, place: str) -> None:
    """Carry connections to 127.0.0.1:`port` to the Unix socket `place`, in a process of its own.

    The sandbox has a loopback of its own; the socket is the only way out of it. Returns when the
    port is open.
    """
    import socket

    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    if os.fork():
        listener.close()
        return
    _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    # The pipes are the server's: while we hold them nobody sees them end.
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    try:
        _serve(listener, place)
    finally:
        os._exit(0)


def _serve(listener: "socket.socket", place: str) -> None:
    import socket
    import threading

    while True:
        inside, _ = listener.accept()
        outside = socket.socket(socket.AF_UNIX)
        try:
            outside.connect(place)
        except OSError:
            inside.close()
            continue
        for source, sink in ((inside, outside), (outside, inside)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: "socket.socket", sink: "socket.socket") -> None:
    try:
        while chunk := source.recv(_FORWARD_BYTES):
            sink.sendall(chunk)
        sink.shutdown(_SHUT_WR)
    except OSError:
        # Both ends: the other direction must not wait for one that will never speak again.
        for end in (source, sink):
            try:
                end.shutdown(_SHUT_RDWR)
            except OSError:
                continue


def _trees(given: dict[str, list[str]], right: str) -> list[str | int]:
    return [*given.get(right, ()), *map(int, given.get(f"{right}-fd", ()))]


def launch(words: list[str], argv: list[str]) -> None:
    """Do what the words say, in the order that works, and become the program."""
    given: dict[str, list[str]] = {}
    for word in words:
        name, _, value = word.partition("=")
        given.setdefault(name, []).append(value)
    _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    # bubblewrap was started deaf to it, so that a polite end reaches the server first.
    _libc.signal(_SIGTERM, _SIG_DFL)
    os.umask(0o077)
    environment = dict(os.environb)
    for text in given.get("env", ()):
        environment = _variables(int(text))
    for text in given.get("forward", ()):
        port, _, place = text.partition(":")
        forward(int(port), place)
    for text in given.get("limit", ()):
        _limit(text)
    for text in given.get("same", ()):
        _check_same(text)
    _no_new_privileges()
    _drop_capabilities()
    if "read" in given or "write" in given:
        restrict_files(_trees(given, "read"), _trees(given, "write"), "no-tcp" in given)
    for text in given.get("filter", ()):
        restrict_calls(bytes.fromhex(text))
    os.execve(argv[0], argv, environment)  # noqa: S606 - no shell, as it should be


def main() -> None:
    """Read the command line and become the program, or end with 126."""
    at = sys.argv.index("--")
    try:
        launch(sys.argv[1:at], sys.argv[at + 1 :])
    except (LaunchError, OSError, ValueError, AttributeError) as error:
        sys.stderr.write(f"not started: {error}\n")
        sys.stderr.flush()
        os._exit(FAILED)


if __name__ == "__main__":
    main()
