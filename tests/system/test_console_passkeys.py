"""Passkeys in a real Chromium, whose virtual authenticator signs, and the real programs.

By name and not by address: WebAuthn has no relying party that is an address.
"""

from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from shared.passkey import Passkey
from tests.helpers.browser import Browser, browser
from tests.helpers.tunnel import CommandError
from tests.integration.policies import POLICY, Desk, open_desk
from tests.system.test_console import drive
from tests.tunnel_relay.console.stage import PASSWORD

pytestmark = pytest.mark.system

CARELESS = """(() => {
    const get = navigator.credentials.get.bind(navigator.credentials);
    navigator.credentials.get = (asked) =>
        get({publicKey: {...asked.publicKey, userVerification: "discouraged"}});
})()"""
"""What makes the page forget to insist that the person is verified."""


class Authenticator:
    """A virtual authenticator of a browser; somebody is there, and verified at first."""

    def __init__(self, seen: Browser) -> None:
        self._seen = seen
        seen.driver.execute_cdp_cmd("WebAuthn.enable", {})
        options = {"protocol": "ctap2", "transport": "usb", "hasResidentKey": True}
        options |= {"hasUserVerification": True, "isUserVerified": True}
        made = seen.driver.execute_cdp_cmd(
            "WebAuthn.addVirtualAuthenticator",
            {"options": options | {"automaticPresenceSimulation": True}},
        )
        self._id = made["authenticatorId"]

    def verify(self, good: bool) -> None:
        """Let the person pass the authenticator's own check from now on, or not."""
        self._do("WebAuthn.setUserVerified", isUserVerified=good)

    def credentials(self) -> list[dict[str, Any]]:
        """Return what it keeps."""
        found: list[dict[str, Any]] = self._do("WebAuthn.getCredentials")["credentials"]
        return found

    def _do(self, command: str, **more: object) -> dict[str, Any]:
        given = {"authenticatorId": self._id, **more}
        done: dict[str, Any] = self._seen.driver.execute_cdp_cmd(command, given)
        return done


def log_in(seen: Browser, url: str, user: str) -> None:
    seen.driver.delete_all_cookies()
    seen.open(url + "/login")
    seen.fill("[name=user]", user)
    seen.fill("[name=password]", PASSWORD)
    seen.follow("main button")
    seen.find("nav[aria-label=Pages]")


def press_enter(seen: Browser, css: str) -> None:
    """Use a button as a person without a mouse does."""
    seen.find(css).send_keys(Keys.ENTER)


async def with_password(desk: Desk, user: str) -> None:
    file = desk.lab.folder / "password"
    file.touch(mode=0o600)
    file.write_text(PASSWORD + "\n")
    await desk.lab.relay_command("user", "password", user, "--password-file", str(file))


async def test_a_call_runs_once_that_a_person_approved_by_passkey() -> None:
    """P22, P24, T32, U17: registered by one, of no use to another, and only when verified."""
    async with open_desk(None, "carol", "dave") as desk:
        await with_password(desk, "carol")
        await with_password(desk, "dave")
        pasted: list[str] = []
        url = f"http://localhost:{desk.api.rpartition(':')[2]}"

        def register() -> None:
            log_in(seen, url, "carol")
            seen.follow("a[href='/passkeys']")
            key.verify(False)
            seen.fill("#add [name=name]", "carol's key")
            press_enter(seen, "#add button")
            assert "Not done" in str(
                seen.until("document.querySelector('#add .problem').innerText")
            )
            key.verify(True)
            seen.follow("#add button")
            assert "carol's key is added" in seen.text("main")
            assert len(key.credentials()) >= 1
            pasted.append(seen.text(".passkey pre"))
            for width, look in ((1280, "light"), (390, "narrow")):
                seen.width(width)
                assert seen.script("document.documentElement.scrollWidth - innerWidth") <= 0
                seen.screenshot(f"console-passkeys-{look}")
            seen.width(1280)

        def of_no_use_to_dave() -> None:
            log_in(seen, url, "dave")
            seen.open(f"{url}/approvals/{approval}")
            assert "Approve with your key" in seen.text("main")
            assert seen.all("#approve") == []

        def unverified() -> None:
            log_in(seen, url, "carol")
            seen.open(f"{url}/approvals/{approval}")
            key.verify(False)
            press_enter(seen, "#approve button")
            problem = "document.querySelector('#approve .problem').innerText"
            assert "Not done" in str(seen.until(problem))
            # Nor does the relay take what a careless page would have had signed.
            seen.script(CARELESS)
            seen.follow("#approve button")
            assert "MT1125" in seen.text("[role=alert]")
            assert "pending" in seen.text("h1")

        def approve() -> None:
            key.verify(True)
            seen.open(f"{url}/approvals/{approval}")
            seen.screenshot("console-approval-passkey-light")
            before = seen.find("html").id
            press_enter(seen, "#approve button")
            seen.until("document.body.innerText.includes('Approved. The agent may repeat')")
            assert seen.find("html").id != before

        with browser() as seen:
            key = Authenticator(seen)
            await drive(register)
            (kept,) = await listed(desk)
            assert Passkey.parse(kept["key"]).origin == url
            await desk.take("client", f"{POLICY}{pasted[0]}\n")
            reply = await desk.call("send_mail", True, case="by-passkey")
            approval = await desk.pending(reply)
            await drive(of_no_use_to_dave)
            with pytest.raises(CommandError, match="MT1125"):
                await desk.decide("approve", approval, "dave")
            await drive(unverified)
            await desk.pending(await desk.call("send_mail", True, case="by-passkey"))
            assert desk.reached("by-passkey") == 0
            await drive(approve)
        done = await desk.call("send_mail", True, case="by-passkey")
        assert done.document["result"].get("isError") is not True
        assert desk.reached("by-passkey") == 1
        again = await desk.pending(await desk.call("send_mail", True, case="by-passkey"))
        assert again != approval
        assert desk.reached("by-passkey") == 1
        (used,) = await listed(desk)
        assert used["last_used"] is not None
        await desk.lab.relay_command("user", "passkey-remove", kept["id"])
        assert await listed(desk) == []


async def listed(desk: Desk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await desk.lab.relay_json("user", "passkeys", "carol"))[
        "passkeys"
    ]
    return found
