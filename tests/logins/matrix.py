"""Real agents, each with a login of its own, and a person at a real browser."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio
import anyio.to_thread

from tests.helpers import node_packages
from tests.helpers.browser import Browser
from tests.helpers.login import PASSWORD
from tests.peers.clients import ROOT, fastmcp_python

OPENER = Path(__file__).with_name("open_page.py")
DEADLINE = 90.0
TOOL = "test_simple_text"


Steps = tuple[tuple[str, ...], ...]
"""The command of each step; its word URL stands for that of a server."""


@dataclass(frozen=True)
class LoginAgent:
    """An agent program."""

    name: str
    steps: Steps


def agent(name: str) -> LoginAgent:
    """Return one of the agents, with what it needs installed; raises KeyError."""
    return LoginAgent(name, _STEPS[name]())


def _python_sdk() -> Steps:
    return ((sys.executable, "-m", "tests.logins.python_sdk", "URL"),)


def _fastmcp() -> Steps:
    return ((str(fastmcp_python()), "-m", "tests.logins.fastmcp_agent", "URL"),)


def _typescript() -> Steps:
    return ((str(node_packages.node()), str(Path(__file__).with_name("ts_v2.mjs")), "URL"),)


def _inspector() -> Steps:
    program = node_packages.node_modules() / ".bin" / "mcp-inspector"
    words = ("--cli", "--server-url", "URL", "--transport", "http", "--format", "json", "--method")
    cli = (str(node_packages.node()), str(program), *words)
    return ((*cli, "tools/list"), (*cli, "tools/call", "--tool-name", TOOL))


_STEPS = {
    "python-sdk": _python_sdk,
    "fastmcp": _fastmcp,
    "ts-v2": _typescript,
    "inspector": _inspector,
}


@dataclass
class Told:
    """What an agent's program said."""

    output: str
    errors: str
    code: int


class Person:
    """Waits for an agent to open a page, then logs in and consents."""

    def __init__(self, browser: Browser, user: str, folder: Path) -> None:
        # Somebody else sat here before.
        browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self._browser = browser
        self._user = user
        self._pages = folder / "pages"
        self.logins = 0

    def environment(self, home: Path) -> dict[str, str]:
        """Return what makes a program open its pages with us."""
        tools = home / "bin"
        tools.mkdir(exist_ok=True)
        for name in ("xdg-open", "www-browser"):
            place = tools / name
            if not place.exists():
                place.write_text(f'#!/bin/sh\nexec {sys.executable} {OPENER} "$1"\n')
                place.chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "BROWSER": str(tools / "xdg-open"),
            "LOGIN_PAGES": str(self._pages),
            "HOME": str(home),
            "MCP_AUTO_OPEN_ENABLED": "true",  # the inspector asks for a terminal otherwise
        }

    async def attend(self) -> None:
        """Serve every page that is opened, until cancelled."""
        done = 0
        while True:
            lines = self._pages.read_text().splitlines() if self._pages.exists() else []
            for url in lines[done:]:
                done += 1
                await anyio.to_thread.run_sync(self._log_in, url)
            await anyio.sleep(0.1)

    def _log_in(self, url: str) -> None:
        self.logins += 1
        self._browser.open(url)
        self.prove()

    def prove(self) -> None:
        """Log in at the relay's own pages, and consent."""
        browser = self._browser
        if browser.all("input[name=password]"):
            browser.fill("input[name=user]", self._user)
            browser.fill("input[name=password]", PASSWORD)
            browser.screenshot(f"login-{self._user}")
            browser.click("button[type=submit]")
        browser.find("button[value=allow]")
        browser.screenshot(f"consent-{self._user}")
        browser.click("button[value=allow]")
        browser.until("!location.href.includes('/oauth/consent')")


class Employee(Person):
    """Logs in at a provider of the organisation instead, in its group ops."""

    def prove(self) -> None:
        """Log in and consent at the provider; it may know the browser already."""
        browser = self._browser
        browser.find("button[type=submit]")
        if browser.all("input[name=login]"):
            browser.fill("input[name=login]", f"{self._user}+ops")
            browser.fill("input[name=password]", "x")
            browser.click("button[type=submit]")
            browser.until("!document.querySelector('input[name=login]')")
        if browser.all("button[type=submit]"):
            browser.screenshot(f"provider-{self._user}")
            browser.click("button[type=submit]")
            browser.until("!location.href.includes('/interaction/')")


async def run(argv: tuple[str, ...], url: str, environment: dict[str, str]) -> Told:
    """Run one step of an agent to its end."""
    words = [url if word == "URL" else word for word in argv]
    with anyio.fail_after(DEADLINE):
        done = await anyio.run_process(
            words, env=environment, cwd=ROOT, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, check=False
        )
    return Told(done.stdout.decode(), done.stderr.decode(), done.returncode)


def last_json(text: str) -> Any:
    """Return the value of the last line that holds an object."""
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else json.loads(text)
