"""Which files an interpreter is told to run, by the words that it is started with.

Each interpreter has options that take a word more, and options whose word is code. A file that
stands behind an option which is not known here may be its value or the script: then the next file
counts too, unless the first one has the name of a script and the next one has not. So in doubt too
much is bound to a consent, and still not the data that a script is given.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class _Takes(Enum):
    """What an option makes of the next word; `MAYBE`: nobody knows."""

    NOTHING = "nothing"
    ONE = "one"
    MAYBE = "maybe"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class _Words:
    """`code`: what comes behind is no file. `valued`: options that take the next word.

    `letters`: single ones that mean code, alone or behind others (`-ec`). `strict`: every other
    option takes no word of its own.
    """

    code: tuple[str, ...] = ()
    valued: tuple[str, ...] = ()
    letters: str = ""
    strict: bool = False


_PYTHON = _Words(valued=("-W", "-X", "--check-hash-based-pycs"), letters="cm", strict=True)
_SHELL = _Words(
    valued=("-o", "+o", "-O", "+O", "--rcfile", "--init-file"), letters="c", strict=True
)
_NODE = _Words(
    code=("-e", "--eval", "-p", "--print", "-pe"),
    valued=("-r", "--require", "--import", "--env-file", "-C", "--conditions", "--loader"),
)
_BUN = _Words(code=("-e", "--eval", "-p", "--print", "exec"), valued=("-r", "--preload"))
_INTERPRETERS = {
    "python": _PYTHON,
    "pypy": _PYTHON,
    "node": _NODE,
    "bun": _BUN,
    "deno": _Words(code=("eval",)),
    "ruby": _Words(code=("-e", "-ne", "-pe"), valued=("-r", "-I", "-C")),
    "perl": _Words(code=("-e", "-E", "-ne", "-pe"), valued=("-I",)),
    "php": _Words(code=("-r", "--run"), valued=("-c", "-d", "-t", "-z")),
    "bash": _SHELL,
    "dash": _SHELL,
    "zsh": _SHELL,
    "ksh": _SHELL,
    "sh": _SHELL,
}
_SCRIPTS = {
    *(".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".wasm"),
    *(".rb", ".pl", ".pm", ".php", ".phtml", ".phar"),
}
_ENV_VALUED = ("-u", "--unset", "-C", "--chdir")
_ASSIGNMENT = re.compile(r"\w+=")


def scripts_of(argv: Sequence[str], cwd: Path | None, environ: Mapping[str, str]) -> Iterator[Path]:
    """Give the files that start when an interpreter is given these words; none for a program.

    `argv[0]` may be `env`: what that starts is given first.
    """
    program, words, folder = argv[0], list(argv[1:]), cwd or Path.cwd()
    if Path(program).name == "env":
        words, folder = _behind_env(words, folder)
        found = shutil.which(words[0], path=environ.get("PATH")) if words else None
        if found is None:
            return
        yield Path(found)
        program, words = found, words[1:]
    known = _known(program)
    if known is not None:
        yield from _told(known, words, folder)


def _known(program: str) -> _Words | None:
    name = Path(program).name.lower()
    return next((each for word, each in _INTERPRETERS.items() if name.startswith(word)), None)


def _behind_env(words: list[str], folder: Path) -> tuple[list[str], Path]:
    """Return the words behind those of `env`, and where they are looked for."""
    while words and (words[0].startswith("-") or _ASSIGNMENT.match(words[0])):
        word, *words = words
        if word in ("-S", "--split-string") and words:
            words = [*words[0].split(), *words[1:]]
        elif word in _ENV_VALUED and words:
            if word in ("-C", "--chdir"):
                folder = folder / words[0]
            words = words[1:]
    return words, folder


def _told(known: _Words, words: Sequence[str], folder: Path) -> Iterator[Path]:
    takes = _Takes.NOTHING
    doubtful: str | None = None
    """What may have been the script already."""
    for word in words:
        if word.startswith(("-", "+")) and len(word) > 1:
            takes = _takes(known, word)
            value = word.partition("=")[2]
            if value and (folder / value).is_file():
                yield folder / value
        elif word in known.code:
            return
        else:
            if (folder / word).is_file():
                if doubtful is not None and _is_script(doubtful) and not _is_script(word):
                    return
                yield folder / word
                if takes is _Takes.NOTHING:
                    return
                doubtful = word if takes is _Takes.MAYBE else doubtful
            takes = _Takes.NOTHING
        if takes is _Takes.CODE:
            return


def _is_script(word: str) -> bool:
    return Path(word).suffix.lower() in _SCRIPTS


def _takes(known: _Words, option: str) -> _Takes:
    """Tell what an option does with the word behind it."""
    if option in known.code:
        return _Takes.CODE
    if option in known.valued:
        return _Takes.ONE
    if option.startswith("-") and not option.startswith("--"):
        for at, letter in enumerate(option[1:], 2):
            if letter in known.letters:
                return _Takes.CODE
            if f"-{letter}" in known.valued:  # what is left of the word is its value
                return _Takes.NOTHING if option[at:] else _Takes.ONE
    return _Takes.NOTHING if known.strict or "=" in option or option == "--" else _Takes.MAYBE
