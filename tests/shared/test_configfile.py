"""Configuration errors say where, what and what was probably meant; values never show."""

import pytest
from pydantic import Field, SecretStr

from shared.configfile import (
    ConfigError,
    ConfigModel,
    Problem,
    SecretError,
    SecretRef,
    differing,
    load,
)

PREFIX = "TUNNEL_TEST_"


class Listen(ConfigModel):
    host: str = "127.0.0.1"
    port: int = Field(default=8443, ge=1, le=65535)


class Http(ConfigModel):
    name: str
    url: str


class Stdio(ConfigModel):
    name: str
    command: list[str]


class Settings(ConfigModel):
    state_dir: str
    listen: Listen = Listen()
    allowed_origins: tuple[str, ...] = ()
    password: SecretStr | None = None
    proxy: SecretRef | None = None
    upstream: tuple[Http | Stdio, ...] = ()


def read(text: str, **environ: str) -> Settings:
    return load(text, "relay.toml", Settings, environ, PREFIX)


def problems(text: str, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return caught.value.problems


def test_the_text_becomes_the_model() -> None:
    settings = read('state_dir = "/s"\n[listen]\nport = 1\n[[upstream]]\nname="a"\nurl="u"\n')
    assert settings.state_dir == "/s"
    assert settings.listen == Listen(port=1)
    assert settings.upstream == (Http(name="a", url="u"),)


def test_an_unknown_key_names_file_line_and_the_nearest_key() -> None:
    [problem] = problems('state_dir = "/s"\n\n[listen]\nprot = 8443\n')
    assert str(problem) == ("relay.toml:4: listen.prot: unknown key; did you mean listen.port?")


def test_an_unknown_key_like_no_other_lists_what_is_valid() -> None:
    [problem] = problems('state_dir = "/s"\n[listen]\nzzz = 1\n')
    assert problem.message == "unknown key; valid here: host, port"


def test_an_unknown_key_inside_a_list_of_unions_is_found() -> None:
    found = problems('state_dir = "/s"\n[[upstream]]\nname = "a"\nurl = "u"\ntimeuot = 1\n')
    assert (5, "upstream[0].timeuot") in [(problem.line, problem.key) for problem in found]
    assert len(set(found)) == len(found)


def test_a_missing_key_is_placed_at_its_table() -> None:
    [problem] = problems("[listen]\nport = 1\n")
    assert (problem.line, problem.key, problem.message) == (1, "state_dir", "is required")


def test_every_problem_is_reported_in_the_order_of_the_file() -> None:
    found = problems('stat_dir = "/s"\n[listen]\nport = 0\nhost = 5\n')
    assert [problem.line for problem in found] == [1, 1, 3, 4]


def test_broken_toml_names_the_line() -> None:
    [problem] = problems('state_dir = "/s"\nport 8443\n')
    assert problem.line == 2
    assert problem.message.startswith("not TOML")
    [problem] = problems('state_dir = "/s"\nx = [1,\n')
    assert problem.line == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"x = {'[' * 20_000}", "nested too deeply"),
        (f"x = {'{a = ' * 20_000}", "nested too deeply"),
        (f"x = {'1' * 20_000}", "a number is too long"),
    ],
)
def test_toml_that_its_reader_cannot_bear_is_an_error_like_any_other(text: str, why: str) -> None:
    assert [str(each) for each in problems(text)] == [f"relay.toml: not TOML: {why}"]


@pytest.mark.parametrize("text", ["a." * 1000 + "a = 1", f"listen = {'[' * 200}{']' * 200}"])
def test_what_is_nested_deeply_and_read_all_the_same_is_held_against_the_model(text: str) -> None:
    assert problems(text)


def test_a_variable_that_is_nested_too_deeply_is_text() -> None:
    [problem] = problems('state_dir = "/s"', TUNNEL_TEST_LISTEN="[" * 100_000)
    assert (problem.source, problem.key) == ("TUNNEL_TEST_LISTEN", "listen")


@pytest.mark.parametrize(
    "text",
    [
        'state_dir = "/s"\npassword = ["hunter2"]\n',
        'state_dir = "/s"\nproxy = "hunter2"\n',
        'state_dir = "/s"\npasword = "hunter2"\n',
        'state_dir = "/s"\n[listen]\nport = "hunter2"\n',
        'state_dir = "/s"\npassword = "hunter2\n',
    ],
)
def test_no_value_is_ever_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert "hunter2" not in str(caught.value) + repr(caught.value)


def test_the_environment_overrides_the_file() -> None:
    settings = read(
        'state_dir = "/s"\n[listen]\nport = 1\n[[upstream]]\nname = "a"\nurl = "u"\n',
        TUNNEL_TEST_LISTEN__PORT="2",
        TUNNEL_TEST_LISTEN__HOST="[::1]",
        TUNNEL_TEST_ALLOWED_ORIGINS='["https://a.example"]',
        TUNNEL_TEST_UPSTREAM__0__URL="v",
        OTHER="x",
    )
    assert settings.listen == Listen(port=2, host="[::1]")
    assert settings.allowed_origins == ("https://a.example",)
    assert settings.upstream == (Http(name="a", url="v"),)


def test_a_problem_of_the_environment_names_the_variable() -> None:
    [problem] = problems('state_dir = "/s"\n', TUNNEL_TEST_LISTEN__PORT="x")
    assert str(problem).startswith("TUNNEL_TEST_LISTEN__PORT: listen.port: input should be")
    [problem] = problems('state_dir = "/s"\n', TUNNEL_TEST_LISTEN__PROT="1")
    assert problem.message == "unknown key; did you mean listen.port?"
    [problem] = problems('state_dir = "/s"\n', TUNNEL_TEST_STATEDIR="/x")
    assert problem.message == "unknown key; did you mean TUNNEL_TEST_STATE_DIR?"
    [problem] = problems('state_dir = "/s"\n', TUNNEL_TEST_UPSTREAM__0__URL="x")
    assert problem.source == "TUNNEL_TEST_UPSTREAM__0__URL"
    [problem] = problems('state_dir = "/s"\n', TUNNEL_TEST_STATE_DIR__X="x")
    assert problem.message == "no such table or list entry to set"


def test_a_foreign_variable_with_our_prefix_is_left_alone() -> None:
    assert read('state_dir = "/s"\n', TUNNEL_TEST_SERVICE_HOST="10.0.0.1").state_dir == "/s"


def test_a_file_that_systemd_handed_over_is_read_in_place_of_the_one_named() -> None:
    reference = SecretRef("file", "/f")
    files = {"/f": "private", f"/run/creds/{reference.handed_name}": "handed over"}
    handed = reference.resolve({"CREDENTIALS_DIRECTORY": "/run/creds"}, files.__getitem__)
    assert handed.get_secret_value() == "handed over"
    assert reference.resolve({}, files.__getitem__).get_secret_value() == "private"


def test_a_secret_reference_leads_to_the_secret() -> None:
    files = {"/f": "from-file\n", "/run/creds/c": "from-credential"}

    def read_file(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    environ = {"NAME": "from-env", "CREDENTIALS_DIRECTORY": "/run/creds"}
    for text, expected in [
        ("env:NAME", "from-env"),
        ("file:/f", "from-file"),
        ("credential:c", "from-credential"),
    ]:
        reference = read(f'state_dir = "/s"\nproxy = "{text}"\n').proxy
        assert reference is not None
        assert str(reference) == text
        assert reference.resolve(environ, read_file).get_secret_value() == expected


@pytest.mark.parametrize("text", ["hunter2", "vault:x", "env:", "credential:../x", "credential:."])
def test_what_is_not_a_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NAME") as caught:
        SecretRef.parse(text)
    assert "hunter2" not in str(caught.value)


def test_a_reference_that_leads_nowhere_is_an_error() -> None:
    def absent(path: str) -> str:
        raise FileNotFoundError(path)

    for text in ("env:NO", "file:/no", "credential:no"):
        with pytest.raises(SecretError, match=text):
            SecretRef.parse(text).resolve({}, absent)
    with pytest.raises(SecretError, match="empty"):
        SecretRef.parse("file:/f").resolve({}, lambda _: "\n")


OLD = """\
state_dir = "/s"
allowed_origins = ["a"]
password = "hunter2"
[listen]
port = 1
[[upstream]]
name = "a"
url = "u"
[[upstream]]
name = "b"
url = "u"
"""


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({}, []),
        ({"port = 1": "port = 1 # the same"}, []),
        ({"port = 1": ""}, ["listen.port"]),
        ({"hunter2": "hunter3", '["a"]': '["b"]'}, ["allowed_origins", "password"]),
        (
            {"hunter2": "hunter3", "port = 1": 'host = "h"'},
            ["listen.host", "listen.port", "password"],
        ),
        ({'name = "b"\nurl = "u"': 'name = "b"\nurl = "v"'}, ["upstream[1].url"]),
        ({'name = "b"\nurl = "u"': 'name = "b"\ncommand = ["v"]'}, ["upstream[1]"]),
        ({'[[upstream]]\nname = "b"\nurl = "u"\n': ""}, ["upstream"]),
    ],
)
def test_what_differs_is_said_by_its_key_and_never_by_a_value(
    changes: dict[str, str], keys: list[str]
) -> None:
    text = OLD
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    found = differing(read(OLD), read(text))
    assert found == keys
    assert "hunter" not in str(found)
