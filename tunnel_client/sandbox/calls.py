"""Which system calls a child may not make where it has no namespaces of its own; pure.

Landlock judges files and TCP, but not who is dialled at a Unix socket, nor UDP and other protocols.
So a filter (seccomp) has the kernel refuse to make sockets, and the calls that reach other
processes or lead around the filter. It sees numbers only: no path, and not whose a process is.
"""

import struct

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""How the kernel names the machine, and which of the numbers below are its own."""
_X32 = 0x40000000

_SOCKET, _SOCKETPAIR, _PRLIMIT = (41, 198), (53, 199), (302, 261)
_REFUSED = {
    # What these do in the kernel, such as to make a socket, passes no filter.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # Other processes of this user: their memory, their descriptors, and what they share.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # This user's keys in the kernel.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}

_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _SEQPACKET, _TYPE_MASK = 1, 5, 0xF
_NETLINK_ROUTE = 0
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_AT_CALL, _AT_MACHINE, _AT_ARGUMENTS = 0, 4, 16
_KILL, _ALLOW, _EPERM = 0x80000000, 0x7FFF0000, 0x00050001


def is_known(machine: str) -> bool:
    """Tell whether there is a filter for a machine, as `platform.machine` names it."""
    return machine in _MACHINES


def call_filter(machine: str, network: bool) -> bytes:
    """Return the filter as the kernel takes it; with `network` it leaves IP open."""
    name, own = _MACHINES[machine]
    steps = [
        _step(_LOAD, _AT_MACHINE),
        # Programs of another kind, as of 32 bits, have other numbers for the same calls.
        _step(_EQUAL, name, yes=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _AT_CALL),
        _step(_AT_LEAST, _X32, no=1),
        _refuse(),
    ]
    for numbers in _REFUSED.values():
        steps += _when(numbers[own], [_refuse()])
    steps += _when(_SOCKET[own], _sockets(network))
    steps += _when(_SOCKETPAIR[own], _pairs())
    # Its own limits only: those of another process can end that one.
    steps += _when(_PRLIMIT[own], [_argument(0), *_when(0, [_allow()]), _refuse()])
    return b"".join([*steps, _allow()])


def _sockets(network: bool) -> list[bytes]:
    """Allow to ask for this machine's addresses, which Node does, and IP with `network`."""
    families = [_argument(0)]
    for family in (_INET, _INET6) if network else ():
        families += _when(family, [_allow()])
    route = [_argument(2), *_when(_NETLINK_ROUTE, [_allow()]), _refuse()]
    return [*families, *_when(_NETLINK, route), _refuse()]


def _pairs() -> list[bytes]:
    """Allow the pairs that lead nowhere else; one of datagrams can be turned to any address."""
    kinds = [_argument(1), _step(_AND, _TYPE_MASK)]
    kinds += [*_when(_STREAM, [_allow()]), *_when(_SEQPACKET, [_allow()])]
    return [_argument(0), *_when(_UNIX, [*kinds, _refuse()]), _refuse()]


def _when(value: int, steps: list[bytes]) -> list[bytes]:
    """Do the steps, which end in an answer, when what was loaded last is `value`."""
    return [_step(_EQUAL, value, no=len(steps)), *steps]


def _argument(number: int) -> bytes:
    # The lower half of each: the kernel itself takes these as numbers of 32 bits.
    return _step(_LOAD, _AT_ARGUMENTS + 8 * number)


def _allow() -> bytes:
    return _step(_RETURN, _ALLOW)


def _refuse() -> bytes:
    return _step(_RETURN, _EPERM)


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)
