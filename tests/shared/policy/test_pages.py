"""Tables align, and nothing that was put into a name gets out of its cell."""

from shared.policy.classes import ToolClass
from shared.policy.fixtures import read_fixtures, run_fixtures
from shared.policy.model import Subject
from shared.policy.pages import map_page, map_text, results_text, table
from shared.policy.permissions import permission_map
from tests.shared.policy.texts import policy

RULES = policy("- {id: read, match: {class: read}, effect: allow}")
EVIL = Subject("<script>alert(1)</script>", frozenset({'"><b>'}), "a&b")


def test_a_page_stands_alone_and_escapes_everything() -> None:
    rows = permission_map(RULES, EVIL, [("<img src=x>", "a\x1b[2J<b>", ToolClass.READ)])
    page = map_page(rows, EVIL, RULES.digest)
    for raw in ("<script", "<img", "<b>", "\x1b", "http:", "https:", "src=x>"):
        assert raw not in page.replace("src=x&gt;", "")
    assert "&lt;script&gt;" in page
    assert "a&amp;b" in page
    assert RULES.digest in page
    assert "default-src 'none'" in page


def test_a_table_on_a_terminal_cannot_move_the_cursor() -> None:
    text = table(("a", "b"), [("x\x1b[2J", "1"), ("\u202ey", "22")])
    assert text.splitlines() == ["a      b", "x?[2J  1", "?y     22"]


def test_a_map_is_a_table() -> None:
    text = map_text(permission_map(RULES, EVIL, [], ["crm"]))
    assert text.splitlines()[0].split() == ["server", "what", "class", "verdict", "rules"]
    assert len({line.index("crm") for line in text.splitlines()[1:]}) == 1


def test_results_say_how_many_failed() -> None:
    fixtures = read_fixtures(
        "- {user: a, agent: b, server: c, tool: d, class: read, expect: allow}\n"
        "- {user: a, agent: b, server: c, tool: d, class: write, expect: allow}\n",
        "f.yaml",
    )
    lines = results_text(run_fixtures(RULES, fixtures)).splitlines()
    assert lines[1].split()[:2] == ["pass", "1"]
    assert lines[2].split()[-3:] == ["allow", "deny", "no_rule"]
    assert lines[-1] == "2 calls, 1 not as expected"
