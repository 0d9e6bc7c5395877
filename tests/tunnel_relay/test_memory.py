"""Large buffers get mappings of their own, which go back to the system one by one."""

import subprocess
import sys

import pytest

PROBE = """
import ctypes
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                 "uordblks", "fordblks", "keepcost")]
libc = ctypes.CDLL(None)
try:
    libc.mallinfo2.restype = Info
except AttributeError:
    print("no mallinfo2")
    raise SystemExit
from tunnel_relay.memory import map_tls_buffers
map_tls_buffers()
for _ in range(4):
    bytearray(300 * 1024)  # a freed one would raise glibc's own threshold above this size
before = libc.mallinfo2().hblks
held = [bytearray(300 * 1024) for _ in range(8)]
print(libc.mallinfo2().hblks - before)
"""


def test_a_buffer_of_a_tls_connection_is_mapped_on_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=30
    )
    told = done.stdout.strip()
    if told == "no mallinfo2":
        pytest.skip("not glibc 2.33 or later")
    assert int(told) == 8
