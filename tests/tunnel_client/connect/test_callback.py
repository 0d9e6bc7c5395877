"""The page a login comes back to: whoever knocks, only the right answer counts."""

import asyncio
from urllib.parse import urlsplit

import anyio
import pytest

from tunnel_client.connect.callback import MAX_VISITS, Callback, callback


async def knock(page: Callback, target: str, host: str | None = None, method: str = "GET") -> str:
    port = urlsplit(page.redirect_uri).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = "" if host == "" else f"Host: {host or f'127.0.0.1:{port}'}\r\n"
    writer.write(f"{method} {target} HTTP/1.1\r\n{said}\r\n".encode())
    with anyio.fail_after(10):
        answer = (await reader.read()).decode()
    writer.close()
    return answer


async def test_the_answer_is_taken_once_and_the_page_says_so() -> None:
    async with callback(lambda brought: brought.get("state") == "s") as page:
        answer = await knock(page, "/callback?state=s&code=c%20d")
        assert answer.startswith("HTTP/1.1 200 ")
        assert "You can close this window" in answer
        assert "default-src 'none'" in answer
        assert await page.answer() == {"state": "s", "code": "c d"}
        assert (await knock(page, "/callback?state=s&code=e")).startswith("HTTP/1.1 400 ")


async def test_a_refusal_is_an_answer_too() -> None:
    async with callback(lambda _: True) as page:
        assert "not completed" in await knock(page, "/callback?error=access_denied&state=s")
        assert (await page.answer())["error"] == "access_denied"


@pytest.mark.parametrize(
    ("target", "host", "method", "status"),
    [
        ("/callback?state=x", None, "GET", 400),
        ("/callback?state=s&state=s", None, "GET", 400),
        ("/callback", None, "GET", 400),
        ("/callback?" + "a=1&" * 30 + "state=s", None, "GET", 400),
        ("/callback?state=s", None, "POST", 404),
        ("/favicon.ico", None, "GET", 404),
        ("/callback?state=s", "evil.example", "GET", 421),
        ("/callback?state=s", "", "GET", 421),
    ],
)
async def test_what_is_not_the_answer_is_turned_away(
    target: str, host: str | None, method: str, status: int
) -> None:
    """H01: DNS rebinding reaches this page too."""
    async with callback(lambda brought: brought.get("state") == "s") as page:
        answer = await knock(page, target, host, method)
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert (await knock(page, "/callback?state=s")).startswith("HTTP/1.1 200 ")


async def test_nothing_that_was_sent_is_on_the_page() -> None:
    async with callback(lambda _: True) as page:
        answer = await knock(page, "/callback?error=%3Cscript%3E&error_description=canary")
        assert "canary" not in answer
        assert "script>" not in answer


async def test_many_silent_visitors_do_not_keep_the_answer_out() -> None:
    async with callback(lambda _: True) as page:
        port = urlsplit(page.redirect_uri).port
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_VISITS)]
        for _, writer in held:
            writer.write(b"x" * 20_000)  # too long for a head
        for reader, writer in held:
            with anyio.fail_after(10):
                assert await reader.read() == b""
            writer.close()
        assert (await knock(page, "/callback?state=s")).startswith("HTTP/1.1 200 ")


async def test_it_is_gone_with_the_login() -> None:
    async with callback(lambda _: True) as page:
        port = urlsplit(page.redirect_uri).port
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
