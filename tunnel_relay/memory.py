"""How the relay asks the C library for memory (glibc; others go on as ever)."""

import ctypes

from shared.wire.limits import KIB, MIB

# The parameters of mallopt(3).
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3


def map_tls_buffers() -> None:
    """Give the 256 KiB read buffer of each TLS connection a mapping of its own.

    An idle connection touches a page of it. On the heap, where glibc would put it once the first
    one was freed, it lies over pages that others used before, and keeps them: 67 KiB for each idle
    link instead of 37. Nothing the relay allocates for each call is as large.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return
    mallopt(_MMAP_THRESHOLD, 256 * KIB)
    # Setting one stops glibc from moving both; it would trim at twice what it maps.
    mallopt(_TRIM_THRESHOLD, 8 * MIB)
