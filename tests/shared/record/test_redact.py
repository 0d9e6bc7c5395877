"""What of arguments is written down, and what never is."""

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jsonrpc.canonical import canonical
from shared.record.redact import (
    MAX_BODY,
    MAX_CLEAR,
    MAX_ITEMS,
    MAX_TEXT,
    PREFIX,
    Redactor,
)

KEY = bytes(range(32))
CANARY = "mKq8Zr4xW1vN7tBc2LpYd5Gh"
REDACTOR = Redactor(KEY, {"read": ["note", "count", "tags"], "crm/look_up": ["path"]})
FIELDS = REDACTOR.fields(["note", "count", "tags", "path", "token"], "read", "crm/look_up")
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
)


def shown(arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(REDACTOR.arguments(arguments, FIELDS))
    return found


def test_a_tag_is_an_hmac_that_an_auditor_makes_with_any_tool() -> None:
    wanted = hmac.new(KEY, b'"secret"', "sha256").hexdigest()[:32]
    assert REDACTOR.tag("secret") == f"hmac:{wanted}"
    for value in ("", "é\u2028", 7, -(10**41), 1.5, True, None, [1, "a"], {"b": 1, "a": []}):
        made = hmac.new(KEY, canonical(value), "sha256").hexdigest()[:32]
        assert REDACTOR.tag(value) == PREFIX + made


def test_values_are_tags_but_for_what_the_operator_listed() -> None:
    found = shown({"note": "hello", "count": 3, "token": CANARY, "path": "/a/b"})
    assert (found["note"], found["count"], found["path"]) == ("hello", 3, "/a/b")
    assert found["token"] == REDACTOR.tag(CANARY)
    others = REDACTOR.fields(["note", "path"], "write", "crm/look_up")
    found = json.loads(REDACTOR.arguments({"note": "hello", "path": "/a"}, others))
    assert found == {"note": REDACTOR.tag("hello"), "path": "/a"}
    nothing = Redactor(KEY)
    assert b"hello" not in nothing.arguments({"note": "hello"}, nothing.fields(["note"], "read"))


def test_names_are_repeated_only_when_the_tool_declares_them() -> None:
    """A11: a secret under an odd key, or as one, is in the tag of the rest."""
    found = shown({CANARY: 1, "Note": CANARY, "note": "x", "*": CANARY})
    rest = {CANARY: 1, "Note": CANARY, "*": CANARY}
    assert found == {"note": "x", "*": REDACTOR.tag(rest)}
    assert shown([CANARY]) == {"*": REDACTOR.tag([CANARY])}
    assert shown(CANARY) == {"*": REDACTOR.tag(CANARY)}
    assert shown({}) == shown(None) == {}


HIDDEN = [
    json.dumps({"password": CANARY}),
    json.dumps(json.dumps([CANARY])),
    f"https://user:{CANARY}@host/path",
    f"https://host/path?token={CANARY}",
    f"see ftp://{CANARY}@host for more",
    f"user:{CANARY}@host",
    f"Bearer {CANARY}",
    f"authorization: basic {base64.b64encode(CANARY.encode()).decode()}",
    f"password={CANARY}",
    f'the api_key: "{CANARY}" was wrong',
    "mts_" + CANARY + CANARY,
    "eyJhbGciOiJIUzI1NiJ9." + base64.urlsafe_b64encode(CANARY.encode()).decode() + ".c2ln",
    "-----BEGIN PRIVATE KEY-----\n" + CANARY,
    CANARY + CANARY,
    "hmac:" + CANARY,
    "a\n" + CANARY,
    "a\u2028" + CANARY,
    [[CANARY]],
    [{"a": CANARY}],
    {"a": CANARY},
    {CANARY: 1},
    {"_meta": {"traceparent": CANARY}},
    ["x"] * MAX_ITEMS + [CANARY],
    "x" * MAX_CLEAR + CANARY,
]


@pytest.mark.parametrize("value", HIDDEN, ids=range(len(HIDDEN)))
def test_a_field_in_clear_shows_nothing_that_hides_in_it(value: object) -> None:
    """A11: nested JSON, logins in addresses, arrays, objects, tokens."""
    for given_ in ({"note": value}, {"tags": [value]}):
        spelled = REDACTOR.arguments(given_, FIELDS)
        assert CANARY.encode() not in spelled
        assert base64.b64encode(CANARY.encode())[:28] not in spelled


def test_a_number_in_clear_is_one_that_every_reader_has() -> None:
    """A01: 10^400 is spelled 1e400, which is infinite to whoever reads doubles."""
    for value in (0, -7, 1.5, 10**40 - 1, 1 - 10**40, 1e300, True):
        assert shown({"count": value, "tags": [value]}) == {"count": value, "tags": [value]}
    for value in (10**40, -(10**40), 10**400, 10**400 + 1):
        tag = REDACTOR.tag(value)
        assert shown({"count": value, "tags": [value]}) == {"count": tag, "tags": [tag]}


def test_a_tag_in_clear_cannot_be_claimed() -> None:
    """What looks like a tag was made by us: a text that begins so becomes one."""
    assert shown({"note": "hmac:" + "0" * 32})["note"] == REDACTOR.tag("hmac:" + "0" * 32)


@given(st.dictionaries(st.sampled_from(["note", "count", "tags", "path", "token", "x"]), JSON))
def test_anything_has_one_canonical_spelling_without_what_is_not_clear(given_: Any) -> None:
    spelled = REDACTOR.arguments({**given_, "token": CANARY, "x": {"y": CANARY}}, FIELDS)
    assert canonical(json.loads(spelled)) == spelled
    assert CANARY.encode() not in spelled
    assert b"\n" not in spelled


def test_what_has_no_spelling_is_said_to_have_none() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in ({"token": "\ud800"}, {"note": deep}, {"\ud800": 1}, {"count": float("inf")}):
        assert shown(value) == {"*": "no one spelling"}


def test_a_huge_request_is_its_length() -> None:
    """A12: 50 MB of arguments cost nothing; the digest of the body says what they were."""
    spelled = REDACTOR.arguments({"note": "x"}, FIELDS, 50_000_000)
    assert json.loads(spelled) == {"*": {"bytes": 50_000_000}}
    assert shown({"note": "x"}) == {"note": "x"}
    assert REDACTOR.arguments({"note": "x"}, FIELDS, MAX_BODY) == b'{"note":"x"}'


def test_many_arguments_are_the_length_of_their_request() -> None:
    """A12: a tag is longer than most values, and a tool may declare any number of arguments."""
    names = [f"n{number}" for number in range(5000)]
    fields = REDACTOR.fields(names)
    for count in (1000, 1300, 1500, 5000):
        given_ = dict.fromkeys(names[:count], 1)
        spelled = REDACTOR.arguments(given_, fields, 9 * count)
        if count < 1400:
            assert json.loads(spelled) == dict.fromkeys(given_, REDACTOR.tag(1))
        else:
            assert json.loads(spelled) == {"*": {"bytes": 9 * count}}
        assert len(spelled) <= MAX_BODY


def test_a_long_value_in_clear_is_its_length_and_its_tag() -> None:
    """A12."""
    text = "x" * 5000
    assert shown({"note": text})["note"] == {"length": 5000, "tag": REDACTOR.tag(text)}


def test_few_possibilities_cannot_be_tried_without_the_key() -> None:
    """A13: another key (another tenant's) gives other tags, and no plain digest is one."""
    other = Redactor(bytes(32))
    tags = {REDACTOR.tag(f"{pin:04}") for pin in range(1000)}
    assert len(tags) == 1000
    assert not tags & {other.tag(f"{pin:04}") for pin in range(1000)}
    assert REDACTOR.tag("7") != REDACTOR.tag(7)


def test_the_key_shows_nowhere() -> None:
    for text in (repr(REDACTOR), str(REDACTOR), repr(vars(type(REDACTOR)))):
        assert KEY.hex() not in text
        assert repr(KEY) not in text
    with pytest.raises(ValueError, match="32 bytes"):
        Redactor(b"short")


ERRORS = [
    f"GET https://user:{CANARY}@crm.internal/x?key={CANARY} failed",
    f"401 for Bearer {CANARY}",
    f'{{"password": "{CANARY}"}}',
    f"bad token mts_{CANARY}{CANARY}",
    f"cannot parse {base64.b64encode((CANARY * 3).encode()).decode()}",
    "-----BEGIN RSA PRIVATE KEY-----\n" + CANARY,
]


@pytest.mark.parametrize("text", ERRORS, ids=range(len(ERRORS)))
def test_error_texts_keep_no_secret(text: str) -> None:
    """A11: the words around it stay."""
    found = REDACTOR.text(text)
    assert CANARY not in found
    assert base64.b64encode(CANARY.encode()).decode() not in found
    assert PREFIX in found


@given(st.text(max_size=2000))
def test_a_text_is_one_short_line(text: str) -> None:
    """A01: whatever an error, a reason or a header said."""
    found = REDACTOR.text(text)
    assert len(found) <= MAX_TEXT
    assert found.isprintable()
    canonical(found)


def test_a_harmless_text_stays_as_it_is() -> None:
    text = "the upstream answered 502 within 12 ms"
    assert REDACTOR.text(text) == text
