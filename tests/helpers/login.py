"""A person at a browser, scripted over HTTP: follows pages, fills in forms, keeps cookies."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2

PASSWORD = "correct horse battery"


class Form(HTMLParser):
    """The one form of a page: where it goes, and its fields with what is in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action = ""
        self.method = ""
        self.fields: dict[str, str] = {}
        self.buttons: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a form consists of."""
        named = {key: value or "" for key, value in attrs}
        if tag == "form":
            self.action, self.method = named.get("action", ""), named.get("method", "")
        elif tag == "input" and named.get("type") == "checkbox" and "checked" not in named:
            pass  # a box that is not ticked is not sent
        elif tag == "input" and "name" in named:
            self.fields[named["name"]] = named.get("value", "")
        elif tag == "button" and "name" in named:
            self.buttons[named["value"]] = named["name"]


@dataclass
class Browser:
    """Opens pages at one relay; `left_for` is where it was sent when that is another place."""

    http: httpx2.AsyncClient
    origin: str
    page: httpx2.Response | None = None
    left_for: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def open(self, url: str) -> None:
        """Follow redirects until a page comes, or an address of somebody else."""
        await self._go(await self.http.get(url, headers=self.headers))

    async def submit(self, decision: str = "", untick: Sequence[str] = (), **values: str) -> None:
        """Send the form of this page with these values, pressing the button of `decision`."""
        assert self.page is not None
        form = Form(self.page.text)
        fields = {**form.fields, **values}
        for name in untick:
            del fields[name]
        if decision:
            fields[form.buttons[decision]] = decision
        headers = {"Origin": self.origin, "Sec-Fetch-Site": "same-origin", **self.headers}
        target = urljoin(str(self.page.url), form.action)
        await self._go(await self.http.post(target, data=fields, headers=headers))

    async def log_in(self, user: str, password: str = PASSWORD) -> None:
        """Fill in the login form."""
        await self.submit(user=user, password=password)

    async def _go(self, answer: httpx2.Response) -> None:
        while answer.is_redirect:
            target = urljoin(str(answer.url), answer.headers["location"])
            if not target.startswith(self.origin + "/"):
                self.left_for, self.page = target, None
                return
            answer = await self.http.get(target, headers=self.headers)
        self.page = answer

    @property
    def brought(self) -> dict[str, str]:
        """The parameters it was sent away with."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.left_for).query).items()}
