"""A person at a browser, as the program that BROWSER names: logs in and allows.

BROWSER="python -m tests.helpers.person %s" PERSON=bob ORIGIN=http://127.0.0.1:8080
"""

import asyncio
import os
import sys

import httpx2

from tests.helpers.login import Browser


async def main(url: str) -> None:
    """Follow an authorization request until the agent has its answer."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        browser = Browser(http, os.environ["ORIGIN"])
        await browser.open(url)
        await browser.log_in(os.environ["PERSON"])
        await browser.submit(os.environ.get("DECISION", "allow"))
        await http.get(browser.left_for)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
