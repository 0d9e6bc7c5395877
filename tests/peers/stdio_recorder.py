"""Stands before a stdio server and writes down which messages reached it.

python stdio_recorder.py LOG COMMAND [ARGUMENT...]

One JSON line `{method, id}` per message that has a method; for a cancellation `id` is the request
it names. Answers go from the server straight to whoever started this program. It is a plain file
with no import of ours, because it is started from folders and environments that know none.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import IO


def pump(source: IO[bytes], server: IO[bytes], log: Path) -> None:
    """Carry messages to the server until either side ends, and note each."""
    try:
        for line in source:
            note(line, log)
            server.write(line)
            server.flush()
        server.close()
    except (BrokenPipeError, ValueError):
        pass  # the server is gone; its exit code says what there is to say


def note(line: bytes, log: Path) -> None:
    """Append what a message is; a line that is no JSON object is not a message."""
    try:
        message = json.loads(line)
        method = message["method"]
    except (ValueError, TypeError, KeyError):
        return
    params = message.get("params") or {}
    seen = {"method": method, "id": params.get("requestId", message.get("id"))}
    if method == "tools/call":
        seen["tool"] = params.get("name")
    with log.open("a", encoding="utf-8") as out:
        out.write(json.dumps(seen) + "\n")


def main() -> int:
    """Run the server and return its exit code."""
    log, *argv = sys.argv[1:]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as server:
        assert server.stdin is not None

        def stop(_signal: int, _frame: FrameType | None) -> None:
            server.terminate()

        signal.signal(signal.SIGTERM, stop)
        arguments = (sys.stdin.buffer, server.stdin, Path(log))
        # A daemon thread: it may wait for a message for ever while the server is already gone.
        threading.Thread(target=pump, args=arguments, daemon=True).start()
        return server.wait()


if __name__ == "__main__":
    # Not sys.exit: it would wait for the lock of the stdin that the thread is still reading.
    os._exit(main())
