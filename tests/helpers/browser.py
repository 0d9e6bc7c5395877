"""A real headless Chromium that tests drive: open, fill, click, look.

Where Chromium is missing it is installed (root, Debian), else the test is skipped and says why.
Everything here blocks: call it in a thread beside a server in the event loop.
"""

import base64
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import NoAlertPresentException, WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.helpers.debian_packages import BROWSER, install

DEADLINE = 20.0
OUT = Path(__file__).resolve().parents[1] / "system" / "out"
"""Where screenshots are kept; git ignores it."""
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1280,900", "--hide-scrollbars"),
)


class Browser:
    """One Chromium with a fresh profile."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load a page."""
        self.driver.get(url)

    def find(self, css: str) -> WebElement:
        """Return the first element, waiting for it."""
        wait = WebDriverWait(self.driver, DEADLINE, poll_frequency=0.05)
        found: WebElement = wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, css))
        return found

    def all(self, css: str) -> list[WebElement]:
        """Return the elements that are there now."""
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    def fill(self, css: str, text: str) -> None:
        """Type into a field in place of what it holds."""
        field = self.find(css)
        field.clear()
        field.send_keys(text)

    def click(self, css: str) -> None:
        """Click an element."""
        self.find(css).click()

    def follow(self, css: str) -> None:
        """Click what leads to another page, and wait for that page."""
        before = self.find("html").id
        self.click(css)
        wait = WebDriverWait(self.driver, DEADLINE, 0.05, (WebDriverException,))
        wait.until(lambda driver: driver.find_element(By.CSS_SELECTOR, "html").id != before)

    def press_tab(self) -> None:
        """Press the tabulator key wherever the focus is."""
        ActionChains(self.driver).send_keys(Keys.TAB).perform()

    def text(self, css: str = "body") -> str:
        """Return the visible text of an element."""
        wait = WebDriverWait(self.driver, DEADLINE, 0.05, (WebDriverException,))
        # Again when the element was replaced between finding and reading it.
        return str(wait.until(lambda _: (self.find(css).text,))[0])

    def until(self, script: str) -> Any:
        """Wait until a JavaScript expression is true and return its value."""
        wait = WebDriverWait(self.driver, DEADLINE, poll_frequency=0.05)
        return wait.until(lambda driver: driver.execute_script(f"return ({script})"))

    def script(self, script: str) -> Any:
        """Return the value of a JavaScript expression; works whatever the page's policy says."""
        return self.driver.execute_script(f"return ({script})")

    def dialog(self) -> str | None:
        """Return the text of an open dialog, None when there is none."""
        try:
            return str(self.driver.switch_to.alert.text)
        except NoAlertPresentException:
            return None

    def complaints(self) -> list[str]:
        """Return what the console of the browser got since it was asked last."""
        entries = self.driver.execute("getLog", {"type": "browser"})["value"]
        return [str(entry["message"]) for entry in entries]

    def dark(self, on: bool) -> None:
        """Prefer dark pages, or light ones."""
        value = "dark" if on else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def width(self, pixels: int) -> None:
        """Make the window so wide, whatever the platform's smallest is."""
        size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def screenshot(self, name: str) -> Path:
        """Keep a picture of the whole page under `tests/system/out/`."""
        OUT.mkdir(parents=True, exist_ok=True)
        path = OUT / f"{name}.png"
        size = self.script("[innerWidth, Math.max(900, document.documentElement.scrollHeight)]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        shown = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        path.write_bytes(base64.b64decode(shown["data"]))
        return path


@contextmanager
def browser(*, javascript: bool = True) -> Iterator[Browser]:
    """Start a browser and end it; skips the test, loudly, where there can be none."""
    problem = _problem()
    if problem is not None:
        pytest.skip(f"NO BROWSER TEST: {problem}")
    with tempfile.TemporaryDirectory(prefix="browser-") as profile:
        options = Options()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.set_capability("unhandledPromptBehavior", "ignore")
        if not javascript:
            blocked = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", blocked)
        driver = Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
        try:
            driver.set_page_load_timeout(DEADLINE)
            yield Browser(driver)
        finally:
            with suppress(WebDriverException):  # it may be gone already
                driver.quit()


@cache
def _problem() -> str | None:
    return install(BROWSER)
