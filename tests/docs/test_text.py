"""Commands in the documents exist with those options, and links lead somewhere."""

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from tunnel_client.cli import cli as client
from tunnel_relay.cli import build

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = {"tunnel-relay": build(), "tunnel-client": client}
_FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:tunnel-relay|tunnel-client) [^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PLACE = re.compile(r"`((?:shared|tunnel_relay|tunnel_client|tests|bench|docs|systemd)/[\w./*-]*)`")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """Yield every command line of ours in a document, as words."""
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            starts = [
                at
                for at, word in enumerate(words)
                if word in PROGRAMS and (at == 0 or words[at - 1] == "&&")
            ]
            for start, end in pairwise([*starts, len(words)]):
                yield [word for word in words[start:end] if word != "&&"]
    for inline in _INLINE.findall(text):
        yield shlex.split(inline)


def problem(words: list[str]) -> str | None:
    """Say what is wrong with a command line; None when the program would take it."""
    command: click.Command = PROGRAMS[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group):
        if rest and rest[0].startswith("-"):
            break
        if not rest or rest[0] not in command.commands:
            return f"{words[0]} has no command {rest[:1]}"
        command, rest = command.commands[rest[0]], rest[1:]
    known = {option for each in command.params for option in each.opts} | {"--help", "--version"}
    ours = rest[: rest.index("--")] if "--" in rest else rest
    unknown = [word for word in ours if word.startswith("-") and word != "-" and word not in known]
    return f"{command.name} has no option {unknown}" if unknown else None


def anchors(text: str) -> set[str]:
    """Return the anchors that a renderer makes of the headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_exists_with_its_options(document: Path) -> None:
    found = {shlex.join(words): problem(words) for words in commands(document.read_text())}
    assert {line: what for line, what in found.items() if what} == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    lost = []
    for link in _LINK.findall(document.read_text()):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        place, _, anchor = link.partition("#")
        target = document if not place else (document.parent / place).resolve()
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target.read_text())
        ):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = set(_PLACE.findall(document.read_text()))
    assert [place for place in sorted(named) if not any(ROOT.glob(place.rstrip("/")))] == []


def test_what_does_not_exist_is_found() -> None:
    text = (
        "```sh\ntunnel-relay serve --loud && tunnel-client walk\n```\n`tunnel-relay tunnel paint`"
    )
    assert [problem(words) for words in commands(text)] == [
        "serve has no option ['--loud']",
        "tunnel-client has no command ['walk']",
        "tunnel-relay has no command ['paint']",
    ]
    assert anchors("## TLS and balancers\n### MT2001") == {"tls-and-balancers", "mt2001"}


def test_the_readme_shows_commands_of_both_programs() -> None:
    shown = {words[0] for words in commands((ROOT / "README.md").read_text())}
    assert shown == set(PROGRAMS)
