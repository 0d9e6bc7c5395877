"""Policies are a small part of YAML; what reads differently elsewhere is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.configfile import ConfigError
from shared.policy.yamltree import MAX_BYTES, Tree, read_tree


def fault(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_tree(text, "p.yaml")
    return str(caught.value)


def test_maps_lists_and_text_know_their_lines() -> None:
    tree = read_tree("a: no\nb:\n  - 1\n  - 'x'\n# end\n", "p.yaml")
    assert tree.as_data() == {"a": "no", "b": ["1", "x"]}
    assert tree.lines == {"a": 1, "b": 2}
    assert isinstance(tree.value, dict)
    entries = tree.value["b"].value
    assert isinstance(entries, list)
    assert [(each.line, each.is_plain) for each in entries] == [(3, True), (4, False)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "p.yaml:1: the file is empty"),
        ("# only a comment\n", "p.yaml:1: the file is empty"),
        ("a: 1\nb: &x 2\n", "p.yaml:2: anchors"),
        ("a: 1\nb: *x\n", "p.yaml:2: anchors"),
        ("tool: *\n", 'quote a star, as in tool: "*"'),
        ("a: !!python/object:os.system x\n", "p.yaml:1: tags"),
        ("a: 1\na: 2\n", "p.yaml:2: a is there twice, first in line 1"),
        ("a:\n  b: 1\n  b: 2\n", "p.yaml:3: b is there twice"),
        ("<<: {a: 1}\n", "merge keys"),
        ("[a]: 1\n", "a key is text"),
        ("a: 1\n---\nb: 1\n", "p.yaml:2: a second document"),
        ("a: [\n", "p.yaml:2: not YAML"),
        ("a: 'x\n", "not YAML"),
        ("a:\n\t- b\n", "p.yaml:2: not YAML"),
        ("a: b\x00c\n", "not YAML"),
        ("a: " + "[" * 17 + "]" * 17, "nested deeper"),
        ("a: " + "[" * 100_000, "nest"),
        ("a: " + "x" * MAX_BYTES, "larger than 1 MiB"),
    ],
)
def test_what_is_refused_says_where(text: str, said: str) -> None:
    assert said in fault(text)


@given(st.text(max_size=60) | st.text("ab:-[]{}*&!|>'\"#\n ,?", max_size=40))
def test_any_text_is_a_tree_or_a_config_error(text: str) -> None:
    try:
        assert isinstance(read_tree(text, "p.yaml"), Tree)
    except ConfigError:
        return
