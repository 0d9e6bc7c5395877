"""Where a copy may go, as the configuration says it."""

import pytest
from pydantic import ValidationError

from shared.audit.export.settings import ExportSettings, Target, target
from shared.audit.settings import AuditSettings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("file:/var/log/a.jsonl", Target("file", "", 0, "/var/log/a.jsonl")),
        ("https://siem.example/in", Target("https", "siem.example", 443, "/in")),
        ("http://127.0.0.1:8088", Target("http", "127.0.0.1", 8088, "/")),
        ("syslog+tls://siem.example", Target("syslog+tls", "siem.example", 6514, "/")),
        ("syslog+tcp://[::1]:601", Target("syslog+tcp", "::1", 601, "/")),
        ("otlp+https://o.example:4318", Target("otlp+https", "o.example", 4318, "/v1/traces")),
    ],
)
def test_an_address_is_taken_apart(text: str, found: Target) -> None:
    assert target(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("file:relative", "file:/folder/", "ftp://a", "https://", "", "siem.example"),
        *("http://siem.example/", "syslog+tcp://siem.example:601", "otlp+http://10.0.0.1:4318"),
        *("syslog+tcp://127.0.0.1", "syslog+tls://a.example/path", "https://a.example:99999/"),
        *("https://canary:secret@a.example/", "https://a.example/?token=canary"),
        *("https://a.example/#canary", "https://a.example/a b", "https://a.example/\r\nX: canary"),
    ],
)
def test_what_is_no_place_for_a_copy_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - of many texts
        target(text)
    assert "canary" not in str(refused.value)


def test_the_format_follows_from_the_place() -> None:
    said = {"file:/a": "jsonl", "syslog+tls://a": "cef", "otlp+https://a": "otlp"}
    for to, spelling in said.items():
        assert ExportSettings(name="a", to=to).spelling == spelling
    assert ExportSettings(name="a", to="file:/a", format="ecs").spelling == "ecs"


def test_metrics_have_a_path_of_their_own_unless_it_is_said() -> None:
    paths = {"otlp+https://a": "/v1/metrics", "otlp+https://a/": "/v1/metrics"}
    paths["otlp+https://a/otlp/v1/metrics"] = "/otlp/v1/metrics"
    for to, path in paths.items():
        assert ExportSettings(name="a", to=to, format="otlp-metrics").target.path == path
    with pytest.raises(ValidationError, match="go to otlp"):
        ExportSettings(name="a", to="https://a", format="otlp-metrics")


@pytest.mark.parametrize(
    "given",
    [
        {"to": "https://a", "format": "otlp"},
        {"to": "otlp+https://a", "format": "cef"},
        {"to": "file:/a", "ca": "/ca.pem"},
        {"to": "https://a", "ca": "relative.pem"},
        {"to": "syslog+tls://a", "token": "env:A"},
        {"to": "https://a", "token": "canary"},
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ExportSettings.model_validate({"name": "a", **given})


def test_two_exports_of_one_name_are_refused() -> None:
    one = {"name": "a", "to": "file:/a"}
    with pytest.raises(ValidationError, match="two exports have one name"):
        AuditSettings.model_validate({"export": [one, one]})
