"""Pages show text as text and leave with headers that allow nothing foreign."""

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tunnel_relay.web.pages import _ENVIRONMENT, headers, iso, page, static_route


def test_a_name_is_text_whatever_it_holds() -> None:
    template = _ENVIRONMENT.from_string("<p>{{ name }}</p>")
    assert "<script>" not in template.render(name="<script>alert(1)</script>")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (1795979427.7, "2026-11-29 19:10:27Z"),
        (86_399_999_913_600.0, "after the year 9999"),
        (1e300, "after the year 9999"),
        (float("inf"), "after the year 9999"),
        (-1e300, "before the year 1"),
    ],
)
def test_every_time_is_written(at: float, text: str) -> None:
    assert iso(at) == text


def test_a_page_allows_nothing_foreign() -> None:
    sent = page("base.html", static="/static").headers
    policy = sent["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert sent["cache-control"] == "no-store"
    # Not no-referrer: Chromium would then send `Origin: null` with the page's own forms.
    assert sent["referrer-policy"] == "same-origin"
    assert (
        "form-action 'self' http://127.0.0.1:3;"
        in headers("http://127.0.0.1:3")["Content-Security-Policy"]
    )


@pytest.mark.parametrize(
    "name", ["..%2fpages.py", "%2e%2e/pages.py", "pages.py", "style.css%00", ""]
)
def test_only_listed_files_are_served(name: str) -> None:
    client = TestClient(Starlette(routes=[static_route("/static")]))
    assert client.get(f"/static/{name}").status_code == 404
    served = client.get("/static/style.css")
    assert served.status_code == 200
    assert served.headers["content-type"].startswith("text/css")
