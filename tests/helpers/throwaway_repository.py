"""A git repository with a long history, made in one go."""

import os
import subprocess
from pathlib import Path

GIT_SECONDS = 60.0
SUBJECT = "Tighten bolt {number} of the machine in hall 7"


def make_repository(folder: Path, commits: int) -> None:
    """Make a repository of `commits` commits in a new folder; raises CalledProcessError."""
    _git("init", "--quiet", "--initial-branch=main", str(folder))
    _git("-C", str(folder), "fast-import", "--quiet", stream=_history(commits))
    _git("-C", str(folder), "reset", "--quiet", "--hard")


def _history(commits: int) -> bytes:
    """Return a stream for git fast-import; fixed dates, so that the same ids come out."""
    parts = []
    for number in range(1, commits + 1):
        message = SUBJECT.format(number=number).encode() + b"\n"
        content = b"%d bolts are tight\n" % number
        parts.append(
            b"commit refs/heads/main\n"
            b"committer Ada <ada@example.org> %d +0000\n"
            % (1_700_000_000 + 60 * number)
            + b"data %d\n%s" % (len(message), message)
            + b"M 100644 inline machine.txt\ndata %d\n%s\n" % (len(content), content)
        )
    return b"".join(parts)


def _git(*words: str, stream: bytes = b"") -> None:
    # A person's own settings (hooks, signing) must not reach into the throw-away repository.
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(
        ["git", *words],
        input=stream,
        env=environment,
        check=True,
        capture_output=True,
        timeout=GIT_SECONDS,
    )
