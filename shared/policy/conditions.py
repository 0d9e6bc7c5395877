"""Conditions on arguments, in CEL; the only module that knows which library evaluates them.

The library cannot be interrupted, so its time is bounded beforehand: by the length and the shape of
an expression when it is read, and by the size of the arguments before it is asked.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

MAX_LENGTH = 2000
"""Characters of an expression."""
MAX_BRACKETS = 24
"""How deep brackets may nest in an expression."""
MAX_PATTERNS = 2
"""Calls of `matches` in an expression: each compiles its pattern when it is reached."""
MAX_PATTERN_LENGTH = 200
MAX_ARGS_BYTES = 64 * 1024
"""Of the arguments, about as JSON: UTF-8 of names and strings, and a few bytes for all else."""
MAX_ARGS_DEPTH = 32
MAX_MATCHED_BYTES = 32 * 1024
"""The same when an expression has a `matches`."""
MAX_WALKED = 128
"""Values in the arguments when an expression walks over lists."""
MAX_WALKED_BYTES = 16 * 1024
MAX_WALK_LENGTH = 400
"""Characters of an expression that walks: all of it may run for each value."""
MAX_PLUS = 8
"""Additions in an expression: each of two texts copies both."""

VARIABLES = ("agent", "args", "groups", "server", "tool", "user")
FUNCTIONS = frozenset(
    {
        *("has", "size", "type", "int", "uint", "double", "string", "contains", "startsWith"),
        *("endsWith", "matches", "timestamp", "duration", "max", "min"),
    }
)
WALKS = frozenset({"all", "exists", "exists_one"})
"""`map` and `filter` are left out: they make new lists, of any size."""
_WORDS = frozenset({"true", "false", "null", "in"})
_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"})
_INT64 = 2**63
_TOO_LARGE = "the arguments are too large for a condition"

_TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*)
    | (?P<string>[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[0-9][0-9A-Za-z.]*)
    | (?P<space>\s+)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COUNTED = re.compile(r"\{([\d\s,]*)\}")
_WIDE = re.compile(r"\\[wWdDsSpP]")
MAX_COUNTED = 100
"""Largest number in the counted repetitions of a pattern, all of them multiplied."""
MAX_WIDE = 20
"""The same multiplied by the classes of characters (`\\w`, `\\p{...}`): each is all of Unicode."""


class ConditionError(Exception):
    """An expression that cannot be used, or that came to no answer; holds no argument's value."""


class Measured(NamedTuple):
    """How much there is to look at in arguments; `fault` says why no condition may look at them."""

    size: int
    values: int
    fault: str | None


class Condition:
    """One compiled expression; `text` is as in the file."""

    __slots__ = ("_bounds", "_program", "text")

    def __init__(self, text: str) -> None:
        """Compile; raises ConditionError, which says what is wrong in words of the file."""
        if len(text) > MAX_LENGTH:
            raise ConditionError(f"longer than {MAX_LENGTH} characters")
        tokens = list(_tokens(text))
        _check_brackets(tokens)
        if tokens.count(("mark", "+")) > MAX_PLUS:
            raise ConditionError(f"more than {MAX_PLUS} additions")
        self.text = text
        self._bounds = MAX_ARGS_BYTES, MAX_ARGS_BYTES
        if _check_walks(tokens, len(text)):
            self._bounds = MAX_WALKED_BYTES, MAX_WALKED
        _check_words(tokens)
        if _check_patterns(tokens):
            self._bounds = MAX_MATCHED_BYTES, MAX_MATCHED_BYTES
        try:
            self._program = _asked(_library().compile, text)
        except _NoAnswerError as error:
            raise ConditionError(f"not CEL: {error}") from None

    def holds(
        self, args: Mapping[str, Any], measured: Measured | None = None, **variables: Any
    ) -> bool:
        """Evaluate to true or false; raises ConditionError for anything else.

        `measured` is what `measure` said of `args`, if it was asked; `variables` are the other
        VARIABLES.
        """
        size, count, fault = measure(args) if measured is None else measured
        most_bytes, most = self._bounds
        if fault is not None or size > most_bytes or count > most:
            raise ConditionError(fault or _TOO_LARGE)
        try:
            answer = self._program.execute({"args": args, **variables})
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - as in _asked, without the cost of a call
            raise ConditionError(type(error).__name__) from None
        if answer is True or answer is False:
            return bool(answer)
        raise ConditionError("the answer is neither true nor false")


Token = tuple[str, str]


def _tokens(text: str) -> Iterator[Token]:
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        if kind == "mark" and found[0] in "\"'":
            raise ConditionError("a string is not closed (write it on one line, in one pair)")
        if kind not in ("space", "comment"):
            yield kind, found[0]


def _check_brackets(tokens: list[Token]) -> None:
    depth = 0
    for kind, text in tokens:
        if kind == "mark" and text in "([{":
            depth += 1
            if depth > MAX_BRACKETS:
                raise ConditionError(f"brackets nest deeper than {MAX_BRACKETS}")
        elif kind == "mark" and text in ")]}":
            depth -= 1


def _calls(tokens: list[Token]) -> Iterator[tuple[int, str]]:
    """Yield where and what is called."""
    for place, (kind, text) in enumerate(tokens[:-1]):
        if kind == "word" and tokens[place + 1] == ("mark", "("):
            yield place, text


def _check_walks(tokens: list[Token], length: int) -> bool:
    """Tell whether lists are walked; a walk in a walk takes the square of the time."""
    walks = [place for place, name in _calls(tokens) if name in WALKS]
    for place in walks:
        if any(place < other <= _end_of_call(tokens, place + 1) for other in walks):
            raise ConditionError("one of all, exists and exists_one stands inside another")
    if walks and length > MAX_WALK_LENGTH:
        raise ConditionError(f"with all, exists or exists_one longer than {MAX_WALK_LENGTH}")
    if walks and ("mark", "+") in tokens:
        raise ConditionError("+ does not go with all, exists and exists_one")
    if walks and any(name == "matches" for _, name in _calls(tokens)):
        raise ConditionError("matches does not go with all, exists and exists_one; use endsWith")
    return bool(walks)


def _end_of_call(tokens: list[Token], opening: int) -> int:
    depth = 0
    for place in range(opening, len(tokens)):
        kind, text = tokens[place]
        if kind == "mark" and text in "([{":
            depth += 1
        elif kind == "mark" and text in ")]}":
            depth -= 1
            if depth == 0:
                return place
    return len(tokens)


def _check_words(tokens: list[Token]) -> None:
    """Refuse names that mean nothing here: `||` and `&&` could hide them until it matters."""
    called = dict(_calls(tokens))
    own = {
        tokens[place + 2][1]
        for place, name in called.items()
        if name in WALKS and place + 2 < len(tokens)
    }
    if own & {*VARIABLES, *_TYPES}:
        raise ConditionError("the name of a value in all, exists or exists_one is taken already")
    for place, (kind, text) in enumerate(tokens):
        if kind != "word":
            continue
        after_dot = place > 0 and tokens[place - 1] == ("mark", ".")
        if place in called:
            valid = FUNCTIONS | WALKS
        elif after_dot:
            continue
        else:
            valid = frozenset({*VARIABLES, *_WORDS, *_TYPES, *own})
        if text not in valid:
            near = difflib.get_close_matches(text, sorted(valid), 1)
            hint = f"did you mean {near[0]}?" if near else f"valid: {', '.join(sorted(valid))}"
            raise ConditionError(f"unknown name {text}; {hint}")


def _check_patterns(tokens: list[Token]) -> bool:
    """Tell whether there are patterns; each must be one that is compiled and run in no time."""
    places = [place for place, name in _calls(tokens) if name == "matches"]
    if len(places) > MAX_PATTERNS:
        raise ConditionError(f"more than {MAX_PATTERNS} calls of matches")
    for place in places:
        inside = tokens[place + 2 : _end_of_call(tokens, place + 1)]
        if len(inside) != 1 or inside[0][0] != "string":
            # A pattern made of arguments would be the caller's own program.
            raise ConditionError("matches takes one string written out, as in matches('^[a-z]+$')")
        _check_pattern(inside[0][1])
    return bool(places)


def _check_pattern(literal: str) -> None:
    try:
        pattern = str(_asked(_library().evaluate, literal))
        repeated = 1
        for found in _COUNTED.findall(pattern):
            repeated *= max([1, *(int(number[:6]) for number in re.findall(r"\d+", found))])
        wide = repeated * len(_WIDE.findall(pattern))
        if len(pattern) > MAX_PATTERN_LENGTH or repeated > MAX_COUNTED or wide > MAX_WIDE:
            raise ConditionError("the pattern of matches is too long or repeats too much")
        _asked(_library().evaluate, f"''.matches({literal})")
    except _NoAnswerError:
        raise ConditionError("the pattern of matches is not a regular expression") from None


class _NoAnswerError(Exception):
    """The library did not take something; says why in its words, on one line."""


def _library() -> Any:
    # It brings a toolkit for terminals along, and most policies have no condition at all.
    import cel

    return cel


def _asked(question: Callable[[str], Any], text: str) -> Any:
    """Ask the library; a panic inside it is no Exception, and no use either."""
    try:
        return question(text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, there is no answer
        said = str(error).partition("ERROR: ")[2].partition("\n")[0]
        raise _NoAnswerError(said or type(error).__name__) from None


def measure(args: object) -> Measured:
    """Return how large arguments are, looking at no more of them than any condition may. Total."""
    size = count = 0
    level: list[Any] = [args]
    for _ in range(MAX_ARGS_DEPTH):
        below: list[Any] = []
        count += len(level)
        size += 2 * len(level)
        for value in level:
            if isinstance(value, str):
                plain = value.isascii() or len(value) > MAX_ARGS_BYTES
                size += len(value) if plain else len(value.encode(errors="replace"))
                if size > MAX_ARGS_BYTES:
                    return Measured(size, count, _TOO_LARGE)
            elif isinstance(value, int):
                if not -_INT64 <= value < _INT64:
                    return Measured(size, count, "a number is outside 64 bits")
            elif isinstance(value, (dict, list)):
                # Asked how long it is before it is walked: it may be millions of values.
                if size + 2 * (len(below) + len(value)) > MAX_ARGS_BYTES:
                    return Measured(size, count, _TOO_LARGE)
                if isinstance(value, list):
                    below += value
                else:
                    below += value.values()
                    size += sum(map(len, value))
            elif isinstance(value, float) and value - value != 0:
                return Measured(size, count, "a number is not finite")
        if not below:
            return Measured(size, count, _TOO_LARGE if size > MAX_ARGS_BYTES else None)
        level = below
    return Measured(size, count, "the arguments are nested too deep for a condition")
