"""Writes the tables of docs/operations.md that the code itself knows best.

    python -m tests.helpers.doc_tables     # after a change of settings or error codes

A test compares the file with what this would write.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, IPvAnyNetwork, SecretStr
from pydantic.fields import FieldInfo

from shared.configfile import SecretRef
from shared.errors import AuthError, CloseCode
from tunnel_client import errors_connect, errors_service, errors_upstreams
from tunnel_client.credentials.settings import Place
from tunnel_client.doctor import errors as errors_doctor
from tunnel_client.errors import ClientError
from tunnel_client.reconnect import GiveUp, KeyUse, Reconnect
from tunnel_client.settings import ClientSettings
from tunnel_relay.doctor.findings import FINDINGS
from tunnel_relay.errors import EXPLAINED
from tunnel_relay.settings import Settings
from tunnel_relay.store.base import Role

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
_BEGIN = "<!-- begin {name}: written by python -m tests.helpers.doc_tables -->"
_END = "<!-- end {name} -->"
_KINDS = {
    bool: "true or false",
    int: "number",
    float: "seconds",
    str: "text",
    Path: "path",
    SecretStr: "text (secret)",
    SecretRef: "secret reference",
    Place: "place of a secret",
    Role: "role",
    IPvAnyNetwork: "address or network",
}


def tables() -> dict[str, str]:
    """Return every generated part by the name in its markers."""
    return {
        "relay settings": settings_table(Settings),
        "client settings": settings_table(ClientSettings),
        "relay codes": relay_codes(),
        "client codes": client_codes(),
    }


def written(document: str) -> str:
    """Return the document with every part replaced; raises ValueError for a missing marker."""
    for name, text in tables().items():
        begin, end = _BEGIN.format(name=name), _END.format(name=name)
        before, found, rest = document.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"no markers for {name}")
        document = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return document


# Settings ---------------------------------------------------------------------------------------


def settings_table(model: type[BaseModel]) -> str:
    """Return a table of every key of a configuration file, nested ones dotted."""
    rows = ["| key | value | default | what |", "| --- | --- | --- | --- |"]
    rows += [f"| {' | '.join(row)} |" for row in _settings_rows(model, "")]
    return "\n".join(rows)


def _settings_rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    notes = field_notes(model)
    for name, field in model.model_fields.items():
        section, many = _section(field.annotation)
        key = f"{prefix}{name}"
        if section is not None:
            what = _one_line(inspect.getdoc(section) or "")
            kind = f"tables `[[{key}]]`" if many else f"table `[{key}]`"
            yield f"`{key}`", kind, _default(field) if not many else "none", what
            yield from _settings_rows(section, f"{key}.")
        else:
            yield f"`{key}`", _kind(field), _default(field), notes.get(name, "")


def field_notes(model: type[BaseModel]) -> dict[str, str]:
    """Return the string under each field of a model, where it has one."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for field, note in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(note, ast.Expr)
            and isinstance(note.value, ast.Constant)
            and isinstance(note.value.value, str)
        ):
            notes[field.target.id] = _one_line(note.value.value)
    return notes


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model a field holds, and whether it holds many of it."""
    many = get_origin(annotation) in (list, tuple)
    for each in (annotation, *get_args(annotation)):
        if inspect.isclass(each) and issubclass(each, BaseModel):
            return each, many
    return None, False


def _kind(field: FieldInfo) -> str:
    text = _type_name(field.annotation)
    bounds = [*field.metadata, *_nested_metadata(field.annotation)]
    low = next((b.ge for b in bounds if isinstance(b, Ge)), None)
    high = next((b.le for b in bounds if isinstance(b, Le)), None)
    above = next((b.gt for b in bounds if isinstance(b, Gt)), None)
    most = next((b.max_length for b in bounds if isinstance(b, MaxLen)), None)
    if low is not None and high is not None:
        text += f" {low} to {high}"
    elif low is not None:
        text += f" from {low}"
    elif high is not None:
        text += f" up to {high}"
    if above not in (None, 0):
        text += f" above {above}"
    return text if most is None else f"{text}, at most {most}"


def _type_name(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_type_name(each) for each in inner if each is not NoneType)
    if origin in (list, tuple):
        return f"list of {_type_name(inner[0])}"
    if origin is dict:
        return f"table of {_type_name(inner[1])}"
    if origin is Literal:
        return " or ".join(map(str, inner))
    if hasattr(annotation, "__metadata__"):
        return _type_name(inner[0])
    return _KINDS[annotation]


def _nested_metadata(annotation: Any) -> list[Any]:
    if get_origin(annotation) not in (Union, UnionType):
        return []
    return [m for each in get_args(annotation) for m in getattr(each, "__metadata__", ())]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if field.default_factory is not None:
        factory: Any = field.default_factory
        # Where the state is kept depends on who asks; the text beside the table says it.
        value = factory() if factory in (list, dict) else None
        if value is None:
            return "see above"
    if value is None or value == () or isinstance(value, list | dict):
        return "none"
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


# Error codes ------------------------------------------------------------------------------------


def relay_codes() -> str:
    """Return a table of every refusal of `tunnel-relay`."""
    rows = ["| code | cause | next | exit |", "| --- | --- | --- | --- |"]
    explanations = {str(code): each for code, each in EXPLAINED.items()}
    explanations |= {str(code): each for code, each in FINDINGS.items()}
    for code, explained in sorted(explanations.items()):
        cause, after = _one_line(explained.cause), _one_line(explained.next)
        rows.append(f"| {code} | {cause} | {after} | {explained.exit_code} |")
    return "\n".join(rows)


def client_codes() -> str:
    """Return a table of every refusal of `tunnel-client`, and of what ends the daemon for good."""
    rows = ["| code | what | next | exit |", "| --- | --- | --- | --- |"]
    found = {}
    for kind in _family(ClientError):
        what = _one_line(inspect.getdoc(kind) or "")
        found[kind.code] = (what, _one_line(kind.next_command), kind.exit_code)
    for end in final_ends():
        code, _, rest = end.reason.partition(": ")
        what, _, after = rest.partition("\n  next: ")
        found[code] = (_one_line(what), _one_line(after), end.exit_code)
    for code, (what, after, exit_code) in sorted(found.items()):
        link = f"[{code}](client-errors.md#{code.lower()})"
        rows.append(f"| {link} | {what} | {after} | {exit_code} |")
    return "\n".join(rows)


def final_ends() -> list[GiveUp]:
    """Return what makes a running client stop for good."""
    ends = [
        Reconnect().after_close(CloseCode.REVOKED, up_for=0, jitter=0),
        Reconnect().after_close(CloseCode.REPLACED, up_for=0, jitter=0, key=KeyUse.REFUSED),
        Reconnect().after_error(AuthError(""), up_for=0, jitter=0),
    ]
    return [end for end in ends if isinstance(end, GiveUp)]


_MODULES = (
    ClientError.__module__,
    errors_upstreams.__name__,
    errors_connect.__name__,
    errors_doctor.__name__,
    errors_service.__name__,
)


def _family(kind: type[ClientError]) -> Iterator[type[ClientError]]:
    for child in kind.__subclasses__():
        if child.__module__ in _MODULES:
            yield child
            yield from _family(child)


def main() -> None:
    """Bring the document up to date."""
    DOCUMENT.write_text(written(DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
