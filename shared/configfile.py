"""Configuration of both programs: one TOML text, overridden by environment, held against a model.

Pure: text and an environment mapping in, a value or a readable list of problems out. A problem
names the file, the line and the dotted key, never a value: any value may be a secret.
"""

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import UnionType
from typing import Any, TypeGuard, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, SecretStr, ValidationError
from pydantic_core import CoreSchema, core_schema
from pydantic_core import ErrorDetails as PydanticProblem

from shared.tomllines import line_of, lines_by_path

M = TypeVar("M", bound=BaseModel)
Part = str | int
Path = tuple[Part, ...]

NEAR = 0.6
"""How alike (difflib ratio) a key must be to be offered instead of an unknown one."""
NEAR_VARIABLE = 0.8
"""The same for the environment, where a foreign variable may share our prefix by accident."""


class ConfigModel(BaseModel):
    """Base of every section: unknown keys are errors, values never change, inputs stay hidden."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong, and where: `line` is None when it came from the environment."""

    source: str
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says why and `str()` is the report."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SecretError(ValueError):
    """A secret reference leads nowhere; the message names the reference, never a value."""


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is kept: `env:NAME`, `file:PATH` or `credential:NAME` (systemd)."""

    kind: str
    name: str

    @classmethod
    def parse(cls, text: object) -> "SecretRef":
        """Read a reference; raises ValueError, which does not repeat the text."""
        if isinstance(text, cls):
            return text
        kind, found, name = text.partition(":") if isinstance(text, str) else ("", "", "")
        if kind not in ("env", "file", "credential") or not found or not name:
            raise ValueError(
                "write env:NAME, file:PATH or credential:NAME here, never the secret itself"
            )
        if kind == "credential" and ("/" in name or name in (".", "..")):
            raise ValueError("credential:NAME takes a name, not a path")
        return cls(kind, name)

    def resolve(self, environ: Mapping[str, str], read: Callable[[str], str]) -> SecretStr:
        """Fetch the secret; `read` returns the text of a file (and may check its mode first).

        One trailing newline is dropped. Raises SecretError when it is absent or empty.
        """
        if self.kind == "env":
            value = environ.get(self.name, "")
        else:
            try:
                value = self._read(environ, read)
            except (OSError, UnicodeDecodeError) as error:
                raise SecretError(f"{self} cannot be read ({type(error).__name__})") from error
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise SecretError(f"{self} is empty or not set")
        return SecretStr(value)

    @property
    def handed_name(self) -> str:
        """The name under which systemd hands this file to a service that may not read it."""
        return f"file-{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    def _read(self, environ: Mapping[str, str], read: Callable[[str], str]) -> str:
        directory = environ.get("CREDENTIALS_DIRECTORY")
        if self.kind == "file":
            if directory:
                try:
                    return read(str(PurePath(directory, self.handed_name)))
                except FileNotFoundError:
                    pass  # it was not handed over, so the file itself is meant
            return read(self.name)
        if not directory:
            raise SecretError(f"{self} needs systemd's CREDENTIALS_DIRECTORY, which is not set")
        return read(str(PurePath(directory, self.name)))

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )


def load(text: str, source: str, model: type[M], environ: Mapping[str, str], prefix: str) -> M:
    """Return the settings in `text`, overridden by `PREFIX` + `TABLE__KEY` variables.

    `source` is the file name to show. A variable holding JSON (`[...]` or `{...}`) becomes that
    value. Raises ConfigError with every problem there is, not only the first.
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError([_syntax_problem(error, text, source)]) from None
    overrides, problems = _override(data, model, environ, prefix)
    try:
        value = model.model_validate(data)
    except ValidationError as error:
        lines = lines_by_path(text)
        details = error.errors(include_url=False, include_input=False, include_context=False)
        for detail in details:
            path = _path_in(data, detail["loc"])
            variable = _variable_for(path, overrides, lines)
            line = None if variable else line_of(lines, path)
            message = _message(detail, path, model)
            problem = Problem(variable or source, line, dotted(path), message)
            if problem not in problems:  # members of a union may say the same
                problems.append(problem)
        raise ConfigError(_sorted(problems)) from None
    if problems:
        raise ConfigError(problems)
    return value


def dotted(path: Path) -> str:
    """Write a path as people do: `upstream[0].url`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def differing(before: BaseModel, after: BaseModel) -> list[str]:
    """Return the keys whose values are not the same, in the model's order; never a value."""
    return [dotted(path) for path in _differing(before, after, ())]


def _differing(before: object, after: object, path: Path) -> Iterator[Path]:
    if isinstance(before, BaseModel) and type(before) is type(after):
        for name, info in type(before).model_fields.items():
            key = info.alias or name
            yield from _differing(getattr(before, name), getattr(after, name), (*path, key))
    elif _tables(before) and _tables(after) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differing(old, new, (*path, number))
    elif before != after:
        yield path


def _tables(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple) and any(isinstance(each, BaseModel) for each in value)


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.line or 0)


def _syntax_problem(error: Exception, text: str, source: str) -> Problem:
    if not isinstance(error, tomllib.TOMLDecodeError):
        # What the reader itself cannot bear; it does not say where.
        deep = isinstance(error, RecursionError)
        why = "nested too deeply" if deep else "a number is too long"
        return Problem(source, None, "", f"not TOML: {why}")
    # Before Python 3.14 the place is only in the message.
    message = str(error)
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    if found is None:
        return Problem(source, 1, "", f"not TOML: {message}")
    line = int(found[1]) if found[1] else text.count("\n") + 1
    return Problem(source, line, "", f"not TOML: {message[: found.start()]}")


def _override(
    data: dict[str, Any], model: type[BaseModel], environ: Mapping[str, str], prefix: str
) -> tuple[dict[Path, str], list[Problem]]:
    """Write the environment's values into `data`; returns which variable set which path."""
    applied: dict[Path, str] = {}
    problems: list[Problem] = []
    valid = _fields(model)
    for variable in sorted(name for name in environ if name.startswith(prefix)):
        names = variable.removeprefix(prefix).lower().split("__")
        if names[0] not in valid:
            # Others name variables this way too (Kubernetes sets TUNNEL_RELAY_SERVICE_HOST for a
            # service called tunnel-relay), so only what looks like a slip is an error.
            near = difflib.get_close_matches(names[0], valid, 1, NEAR_VARIABLE)
            if near:
                hint = f"unknown key; did you mean {prefix}{near[0].upper()}?"
                problems.append(Problem(variable, None, names[0], hint))
            continue
        path = _put(data, names, environ[variable])
        if path is None:
            key = dotted(tuple(names))
            problems.append(Problem(variable, None, key, "no such table or list entry to set"))
        else:
            applied[path] = variable
    return applied, problems


def _put(data: dict[str, Any], names: list[str], value: str) -> Path | None:
    """Set one value deep in `data`, making tables on the way; None when something is in the way."""
    here: Any = data
    path: list[Part] = []
    for depth, name in enumerate(names):
        part: Part = name
        if isinstance(here, list):
            if not (name.isascii() and name.isdigit() and int(name) < len(here)):
                return None
            part = int(name)
        elif not isinstance(here, dict):
            return None
        path.append(part)
        if depth == len(names) - 1:
            here[part] = _environment_value(value)
        else:
            here = here.setdefault(part, {}) if isinstance(here, dict) else here[part]
    return tuple(path)


def _environment_value(text: str) -> Any:
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _variable_for(path: Path, overrides: dict[Path, str], lines: dict[Path, int]) -> str | None:
    """Return the variable that set this path, or made the table which the file does not have."""
    for length in range(len(path), 0, -1):
        if path[:length] in overrides:
            return overrides[path[:length]]
    if path in lines:
        return None
    below = (name for set_path, name in overrides.items() if set_path[: len(path)] == path)
    return next(below, None) if path else None


def _path_in(data: Any, location: tuple[Part, ...]) -> Path:
    """Drop what pydantic adds to a location (names of union members) and is not in the data."""
    path: list[Part] = []
    here = data
    for position, part in enumerate(location):
        try:
            here = here[part]
        except (KeyError, IndexError, TypeError):
            # Only the last part can be a key that is missing rather than a union member.
            if position < len(location) - 1 or not isinstance(here, dict):
                continue
        path.append(part)
    return tuple(path)


def _message(detail: PydanticProblem, path: Path, model: type[BaseModel]) -> str:
    if detail["type"] == "extra_forbidden":
        valid = _fields_at(model, path[:-1])
        if path[-1] in valid:
            return "does not go with the other keys here"
        near = difflib.get_close_matches(str(path[-1]), valid, 1, NEAR)
        if near:
            return f"unknown key; did you mean {dotted((*path[:-1], near[0]))}?"
        return f"unknown key; valid here: {', '.join(valid)}" if valid else "unknown key"
    if detail["type"] == "missing":
        return "is required"
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return text[:1].lower() + text[1:] if text[:5] == "Input" else text


def _fields(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the valid keys of the table at `path`, over all models a union may stand for."""
    models = [model]
    for part in path:
        if isinstance(part, int):
            continue  # a list's entries were reached with the list itself
        annotations = [
            info.annotation
            for each in models
            for name, info in each.model_fields.items()
            if (info.alias or name) == part
        ]
        models = [found for annotation in annotations for found in _models_in(annotation)]
    return sorted({field for each in models for field in _fields(each)})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is None and not isinstance(annotation, UnionType | type(Union)):
        return []
    return [found for inner in get_args(annotation) for found in _models_in(inner)]
