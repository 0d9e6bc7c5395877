"""What the filter answers, by the rules of the kernel's small machine."""

import struct

import pytest

from tunnel_client.sandbox.calls import call_filter, is_known

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000
NAMES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SOCKET = {"x86_64": 41, "aarch64": 198}
SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
PRLIMIT = {"x86_64": 302, "aarch64": 261}
PTRACE = {"x86_64": 101, "aarch64": 117}
READ = {"x86_64": 0, "aarch64": 63}
UNIX, INET, INET6, NETLINK, PACKET, VSOCK = 1, 2, 10, 16, 17, 40

each_machine = pytest.mark.parametrize("machine", sorted(NAMES))


def answer(program: bytes, name: int, call: int, *arguments: int) -> int:
    """Run the program on one call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<iIQ6Q", call, name, 0, *padded)
    steps = list(struct.iter_unpack("<HBBI", program))
    at = held = 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif code == 0x15:
            at += yes if held == value else no
        elif code == 0x35:
            at += yes if held >= value else no
        elif code == 0x54:
            held &= value
        else:
            assert code == 0x06
            return int(value)


@each_machine
@pytest.mark.parametrize(
    ("family", "protocol", "closed", "open_"),
    [
        (UNIX, 0, REFUSE, REFUSE),
        (INET, 0, REFUSE, ALLOW),
        (INET, 262, REFUSE, ALLOW),
        (INET6, 0, REFUSE, ALLOW),
        (NETLINK, 0, ALLOW, ALLOW),
        (NETLINK, 4, REFUSE, REFUSE),
        (PACKET, 0, REFUSE, REFUSE),
        (VSOCK, 0, REFUSE, REFUSE),
        (1 << 32 | UNIX, 0, REFUSE, REFUSE),
    ],
)
def test_which_sockets_may_be_made(
    machine: str, family: int, protocol: int, closed: int, open_: int
) -> None:
    """L12."""
    for network, wanted in ((False, closed), (True, open_)):
        program = call_filter(machine, network)
        said = answer(program, NAMES[machine], SOCKET[machine], family, 1, protocol)
        assert said == wanted


@each_machine
def test_pairs_that_can_be_turned_elsewhere_are_refused(machine: str) -> None:
    program = call_filter(machine, network=True)
    name, pair = NAMES[machine], SOCKETPAIR[machine]
    for kind, wanted in ((1, ALLOW), (0o2000001, ALLOW), (5, ALLOW), (2, REFUSE), (3, REFUSE)):
        assert answer(program, name, pair, UNIX, kind) == wanted
    assert answer(program, name, pair, INET, 1) == REFUSE


@each_machine
def test_other_processes_and_ways_around_are_refused(machine: str) -> None:
    program = call_filter(machine, network=False)
    name = NAMES[machine]
    for call in (PTRACE[machine], 425, 438):
        assert answer(program, name, call) == REFUSE
    assert answer(program, name, PRLIMIT[machine], 0) == ALLOW
    assert answer(program, name, PRLIMIT[machine], 1) == REFUSE
    assert answer(program, name, READ[machine], 3) == ALLOW


@each_machine
def test_calls_of_another_machine_end_the_program(machine: str) -> None:
    program = call_filter(machine, network=True)
    assert answer(program, 0x40000003, 102) == KILL
    assert answer(program, NAMES[machine], 0x40000000 | 41, INET) == REFUSE


def test_only_what_was_looked_up_is_known() -> None:
    assert is_known("aarch64")
    assert not is_known("riscv64")
