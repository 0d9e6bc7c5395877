"""What one connection of an agent may cost: seconds and bytes."""

from shared.wire.limits import KIB, MIB

HEAD_SECONDS = 10.0
BODY_SECONDS = 60.0
IDLE_SECONDS = 75.0
STALL_SECONDS = 60.0
"""An agent that takes nothing for this long is cut."""
LINGER_SECONDS = 2.0
"""After a refusal that closes: time for the rest of a body, lest a reset eats our answer."""
HEAD_BYTES = 48 * KIB
"""Where we stop reading what brings no body on: heads (431 above 32 KiB), extensions, trailers."""
COLD_BODY_BYTES = 64 * KIB
BODIES_BYTES = 128 * MIB
"""All request bodies that are still coming; beyond it large ones are told to try again."""
SMALL_BYTES = 64 * KIB
"""Requests up to here are let in always, and looked at whether their head is a known one."""
WRITE_HIGH_WATER = 128 * KIB
