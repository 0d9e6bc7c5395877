"""Reads a form of a page as a browser would send it when nothing is typed."""

from html.parser import HTMLParser


def _is_sent(given: dict[str, str]) -> bool:
    return given.get("type") != "checkbox" or "checked" in given


class _Fields(HTMLParser):
    def __init__(self, action: str) -> None:
        super().__init__()
        self._action = action
        self._inside = False
        self._area: str | None = None
        self.fields: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = given.get("action") == self._action
        elif self._inside and tag == "textarea":
            self._area = given["name"]
            self.fields[self._area] = [""]
        elif self._inside and tag == "input" and _is_sent(given):
            self.fields.setdefault(given["name"], []).append(given.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "textarea" and self._area is not None:
            text = self.fields[self._area][0].replace("\r\n", "\n").removeprefix("\n")
            self.fields[self._area] = ["\r\n".join(text.split("\n"))]
            self._area = None

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.fields[self._area][0] += data


def fields_of(page: str, action: str) -> dict[str, list[str]]:
    """Return the fields of the form that leads to `action`, as they stand in the page."""
    read = _Fields(action)
    read.feed(page)
    read.close()
    assert read.fields, f"the page has no form for {action}"
    return read.fields
