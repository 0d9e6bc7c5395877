"""Where each key stands."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from shared.tomllines import line_of, lines_by_path, statements

TEXT = '''# first
state_dir = "/var/lib/x" # = [
listen.port = 1

[a."b.c"]
text = """
[not.a.table]
key = 1
"""
list = [
  "]", # ]
  2,
]
after = { x = 1, y = "}" }

[[upstream]]
name = 'one'
[upstream.env]
TOKEN = "x"
[[upstream]]
name = "two"
  [[upstream.header]]
  name = "h"
'''


def test_every_key_is_found_on_its_line() -> None:
    tomllib.loads(TEXT)
    lines = lines_by_path(TEXT)
    assert lines == {
        ("state_dir",): 2,
        ("listen",): 3,
        ("listen", "port"): 3,
        ("a", "b.c"): 5,
        ("a", "b.c", "text"): 6,
        ("a", "b.c", "list"): 10,
        ("a", "b.c", "after"): 14,
        ("upstream",): 16,
        ("upstream", 0): 16,
        ("upstream", 0, "name"): 17,
        ("upstream", 0, "env"): 18,
        ("upstream", 0, "env", "TOKEN"): 19,
        ("upstream", 1): 20,
        ("upstream", 1, "name"): 21,
        ("upstream", 1, "header"): 22,
        ("upstream", 1, "header", 0): 22,
        ("upstream", 1, "header", 0, "name"): 23,
    }


def test_every_value_is_found_between_its_key_and_its_comment() -> None:
    found = {each.path: TEXT[slice(*each.value)] for each in statements(TEXT) if not each.header}
    assert found["state_dir",] == '"/var/lib/x"'
    assert found["a", "b.c", "list"] == '[\n  "]", # ]\n  2,\n]'
    assert found["a", "b.c", "after"] == '{ x = 1, y = "}" }'
    assert found["upstream", 1, "header", 0, "name"] == '"h"'
    lines = [TEXT[each.start : each.end] for each in statements(TEXT)]
    assert lines[-2:] == ["  [[upstream.header]]\n", '  name = "h"\n']
    assert lines[0] == 'state_dir = "/var/lib/x" # = [\n'


def test_a_key_that_is_not_written_is_placed_at_its_table() -> None:
    lines = lines_by_path(TEXT)
    assert line_of(lines, ("upstream", 1, "url")) == 20
    assert line_of(lines, ("a", "b.c", "after", "x")) == 14
    assert line_of(lines, ("nowhere",)) == 1


@given(st.text(alphabet="ab.=[]{}\"'#\n 1,\\", max_size=60))
def test_whatever_toml_accepts_can_be_scanned(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    for each in statements(text):
        if not each.header:
            assert tomllib.loads(f"x = {text[slice(*each.value)]}")
    lines = lines_by_path(text)
    for key in data:
        assert (key,) in lines
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
