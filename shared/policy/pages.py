"""How permission maps and results of fixtures look: on a terminal, and as one page of HTML."""

import html
from collections.abc import Sequence

from shared.policy.fixtures import Result
from shared.policy.model import Subject
from shared.policy.permissions import Row

_HEADS = ("server", "what", "class", "verdict", "rules")
_COLOURS = {"allow": "#e3f4e3", "require_approval": "#fdf3d3", "deny": "#f8e0e0"}
_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse } caption { text-align: left; padding-bottom: .5rem }
th, td { border: 1px solid #ccc; padding: .25rem .6rem; text-align: left }
"""


def map_text(rows: Sequence[Row]) -> str:
    """Return a permission map as an aligned table."""
    return table(_HEADS, [_cells(row) for row in rows])


def results_text(results: Sequence[Result]) -> str:
    """Return the results of fixtures as an aligned table, and how many failed."""
    rows = [
        (
            "pass" if each.passed else "FAIL",
            str(each.fixture.line),
            each.what,
            each.fixture.expect.value,
            each.decision.effect.value,
            each.decision.rule or each.decision.why,
        )
        for each in results
    ]
    failed = sum(not each.passed for each in results)
    heads = ("", "line", "call", "expected", "decided", "by")
    return f"{table(heads, rows)}\n{len(rows)} calls, {failed} not as expected"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns; nothing in a cell can move the terminal's cursor."""
    shown = [list(heads), *([_plain(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in shown) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in shown
    )


def map_page(rows: Sequence[Row], subject: Subject, digest: str) -> str:
    """Return a permission map as a page that stands alone: no script, nothing fetched."""
    groups = ", ".join(sorted(subject.groups)) or "no group"
    title = f"What {subject.user} ({groups}) can do with {subject.agent}"
    head = "".join(f"<th scope=col>{name}</th>" for name in _HEADS)
    body = "\n".join(_line(row) for row in rows)
    return f"""\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<table><caption>Policy {html.escape(digest)}</caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></body></html>
"""


def _cells(row: Row) -> tuple[str, ...]:
    return row.server, row.what, row.tool_class or "-", row.verdict, ", ".join(row.rules) or "-"


def _line(row: Row) -> str:
    colour = _COLOURS.get(row.verdict, "#eef")
    cells = "".join(f"<td>{html.escape(_plain(cell))}</td>" for cell in _cells(row))
    return f'<tr style="background:{colour}">{cells}</tr>'


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)
