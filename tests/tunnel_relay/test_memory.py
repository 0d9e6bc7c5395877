"""Where large buffers come from, asked in a process of its own: it is a setting of the process."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes

from tunnel_relay.memory import map_tls_buffers

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks".split()]
    _fields_ += [("rest", ctypes.c_size_t * 6)]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
map_tls_buffers()
# Freeing one is what makes glibc put the next into the heap, unless it was told.
libc.free(libc.malloc(256 * 1024))
before = libc.mallinfo2().hblks
libc.malloc(256 * 1024)
libc.malloc(128 * 1024)
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc alone")
def test_a_tls_buffer_is_mapped_and_a_message_is_not() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "1"
