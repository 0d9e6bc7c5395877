"""How a start is shown to the person who agrees to it: all of it, nothing hidden, with lengths."""

import re
from collections.abc import Iterable, Sequence

from tunnel_client.consent.facts import Facts

_MANY_SPACES = re.compile(r" {4,}")


def escaped(text: str) -> str:
    """Return text in printable ASCII: whatever could hide, move or reorder is written out.

    Four spaces or more become `\\x20{COUNT}`, so that none pushes the rest out of sight.
    """
    plain = "".join(char if " " <= char <= "~" and char != "\\" else _code(char) for char in text)
    return _MANY_SPACES.sub(lambda found: f"\\x20{{{len(found[0])}}}", plain)


def _code(char: str) -> str:
    if char == "\\":
        return "\\\\"
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{{{number:x}}}"


def pages(name: str, facts: Facts, sandbox: str) -> str:
    """Return everything that is consented to, as lines for a terminal."""
    argv = [str(word) for word in facts["argv"]]
    lines = [f"upstream {escaped(name)} starts this program on this machine:", ""]
    total = sum(map(len, argv))
    lines.append(f"  command: {len(argv)} words, {total} characters")
    for at, word in enumerate(argv):
        lines.append(f"    [{at}] {_word(word)}")
    lines.append(f"  folder:  {escaped(facts['cwd']) if facts['cwd'] else 'a temporary one'}")
    seen = ["PATH", "HOME", "LANG", *facts["inherit_env"]]
    lines.append(f"  sees:    {_names(seen)}")
    lines.append(f"  is given: {_names(facts['env'])}")
    lines.append("  files that must stay as they are:")
    for file in facts["files"]:
        lines.append(f"    {escaped(file['path'])}\n      sha256 {file['sha256']}")
    lines.append(f"  sandbox: {escaped(sandbox)}")
    lines += _rules(facts)
    for danger in facts["dangers"]:
        lines.append(f"  DANGER:  {escaped(danger)}")
    if facts["unpinned"] is not None:
        lines.append(f"  UNPINNED: {escaped(facts['unpinned'])}")
    return "\n".join(lines)


def _rules(facts: Facts) -> Iterable[str]:
    rules = facts["sandbox"]
    if rules["level"] == "off":
        yield "    it can read and change what this user can, and reach what this machine can"
        return
    links = facts["links"]
    installed = facts["trees"]
    for what, paths in (
        ("runs from", installed),
        ("reads", rules["read"]),
        ("changes", rules["write"]),
    ):
        for path in paths:
            target = f" -> {escaped(links[path])}" if path in links else ""
            yield f"    {what:<9} {escaped(path)}{target}"
    if rules["network"]:
        yield "    reaches   ALL of this machine's network"
    for host in rules["hosts"]:
        yield f"    reaches   {escaped(host)}"


def _word(word: str) -> str:
    text = escaped(word)
    odd = text != word or " " in word or not word
    return f"'{text}' ({len(word)} characters)" if odd or len(word) > 60 else text


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(escaped, names)) or "nothing"
