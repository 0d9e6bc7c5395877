import subprocess
import sys

from tests.helpers.upstream_peer import eventually, is_alive
from tunnel_client.upstream.stdio_strays import MARK, end_strays

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


async def test_only_what_carries_the_mark_is_ended() -> None:
    mine = [
        subprocess.Popen(SLEEP, env={MARK: "aaaa"}, start_new_session=True)  # noqa: ASYNC220
        for _ in range(3)
    ]
    others = [
        subprocess.Popen(SLEEP, env=env)  # noqa: ASYNC220
        for env in ({}, {MARK: "bbbb"}, {MARK: "aaaab"})
    ]
    try:
        assert end_strays("aaaa") == 3
        assert not any(is_alive(each.pid) for each in mine)
        assert all(is_alive(each.pid) for each in others)
        assert end_strays("aaaa") == 0
    finally:
        for each in others:
            each.kill()
        for each in [*mine, *others]:
            each.wait()
    await eventually(lambda: not any(is_alive(each.pid) for each in others))
