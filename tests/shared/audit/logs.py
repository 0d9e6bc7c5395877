"""Make a log as the client does."""

from pathlib import Path

from shared.audit.log import AuditLog


async def written(folder: Path, count: int, *, segment_bytes: int = 1 << 20) -> bytes:
    """Write so many records and close; returns the public key."""
    audit = AuditLog(folder, "test/log", segment_bytes=segment_bytes)
    for number in range(count):
        audit.add("test", {"number": number})
        if number % 10 == 0:
            assert audit.flush() is None
    assert audit.close() is None
    return audit.public
