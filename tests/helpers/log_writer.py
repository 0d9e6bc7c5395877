"""A program that writes a log until it is killed: `python -m tests.helpers.log_writer FOLDER`.

Prints the name of each call when it would leave: the intent was written then. Some calls end, some
do not; every third one waits for the disk.
"""

import asyncio
import random
import sys
from pathlib import Path

from shared.audit.log import AuditLog
from shared.record import encode
from tests.helpers.log_lines import ORIGIN, SAID, completion

SEGMENT_BYTES = 20_000


async def main(folder: Path, seed: int) -> None:
    """Write calls for ever; nobody ends this but by force."""
    dice = random.Random(seed)
    log = AuditLog(folder, ORIGIN, segment_bytes=SEGMENT_BYTES)
    loop = asyncio.get_running_loop()
    for number in range(1 << 30):
        name = b"%016x.%d" % (seed, number)

        def make(seq: int, now: int, name: bytes = name) -> bytes:
            return encode.intent(name, seq, now, b"{}", b"e" * 64, SAID)

        seq = log.write(make)
        if number % 3 == 0:
            told: asyncio.Future[str | None] = loop.create_future()
            log.durable(seq, told.set_result)
            assert await told is None
        sys.stdout.write(f"{name.decode()}\n")
        sys.stdout.flush()
        if dice.random() < 0.8:
            record = completion(log.size, 0, seq).replace(b'"%016x.0"' % 0xFEED, b'"%b"' % name)
            log.take(record)
        if dice.random() < 0.3:
            await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
