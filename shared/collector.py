"""Keeps Python's collector of cycles out of the way of calls."""

import gc

_YOUNG, _MIDDLE, _OLD = 10_000, 10, 50
"""Objects that make a look at the young ones due, and looks that make one at older ones due."""


def quiet_collector() -> None:
    """Leave what was loaded at start out of garbage collection, and look at the rest seldom.

    A full collection of a warm process costs milliseconds, which a call would have to wait for, and
    what a call allocates is freed by reference counts. The end of a link, or any cancelled task,
    leaves cycles of a hundred objects: the young ones are looked at before they fill megabytes, a
    third of a millisecond at a time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
