"""What somebody does to a log who has its machine: each function changes a copy of the folder."""

from collections.abc import Callable
from pathlib import Path

from shared.audit.notes import CHECKPOINTS
from shared.audit.segments import segments
from shared.record.chain import START, line_of, link, split
from shared.record.checkpoint import notes_of


def _lines(folder: Path) -> tuple[Path, list[bytes]]:
    [(_, segment)] = segments(folder)
    return segment, segment.read_bytes().splitlines(keepends=True)


def signed(folder: Path) -> bool:
    """Tell whether a checkpoint covers all that was written."""
    path = folder / CHECKPOINTS
    notes = list(notes_of(path.read_text())) if path.exists() else []
    return bool(notes) and int(notes[-1].split("\n")[1]) == len(_lines(folder)[1])


def _changed(folder: Path) -> None:
    segment, lines = _lines(folder)
    at = len(lines) // 2
    lines[at] = lines[at].replace(b'"v":1', b'"v":2')
    segment.write_bytes(b"".join(lines))


def _without_one(folder: Path) -> None:
    segment, lines = _lines(folder)
    del lines[len(lines) // 2]
    segment.write_bytes(b"".join(lines))


def _cut_off(folder: Path) -> None:
    segment, lines = _lines(folder)
    segment.write_bytes(b"".join(lines[: len(lines) // 2]))


def _made_anew(folder: Path) -> None:
    """Change a record and compute every hash after it: the chain holds, and nobody signed it."""
    segment, lines = _lines(folder)
    found, made = START, []
    for at, line in enumerate(lines):
        record = split(line)[1]
        if at == len(lines) // 2:
            record = record.replace(b'"v":1', b'"v":2')
        found = link(found, record)
        made.append(line_of(found, record))
    segment.write_bytes(b"".join(made))


DOCTORED: dict[str, Callable[[Path], None]] = {
    "one record changed": _changed,
    "one record taken out": _without_one,
    "the end cut off": _cut_off,
    "one record changed, every hash made anew": _made_anew,
}
