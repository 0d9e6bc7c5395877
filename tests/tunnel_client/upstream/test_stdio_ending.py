"""What is told of a program that ended by itself."""

import pytest

from tunnel_client.upstream.stdio_ending import in_words


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "its program ended by itself (status 0)"),
        (3, "its program ended with status 3"),
        (126, "its program could not be started in its sandbox (status 126)"),
        (127, "its program did not find something that it starts (status 127)"),
        (-9, "its program was killed by SIGKILL"),
        (139, "its program was killed by SIGSEGV (status 139)"),
        (200, "its program ended with status 200"),
        (-200, "its program was killed by signal 200"),
    ],
)
def test_a_status_is_told_in_words(status: int, said: str) -> None:
    assert in_words(status, []) == said


def test_what_it_said_last_is_told_too() -> None:
    told = in_words(1, ["Traceback", "no module named foo"])
    assert told == "its program ended with status 1; it said last: Traceback | no module named foo"
