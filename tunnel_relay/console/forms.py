"""What a browser's form holds; raises StatusError for what is no form of ours."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request

from tunnel_relay.admin.answers import StatusError, media_type, read_body
from tunnel_relay.durations import parse_duration
from tunnel_relay.errors import Code, RelayError

MAX_FIELDS = 100
TYPE = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form by name; a field that is not there is empty text."""

    def __init__(self, fields: Mapping[str, Sequence[str]] | None = None) -> None:
        self._fields = dict(fields or {})

    def text(self, name: str) -> str:
        """Return the first value of a field."""
        values = self._fields.get(name)
        return values[0] if values else ""

    def given(self, name: str) -> str | None:
        """Return the first value of a field without blanks around it, None when nothing is left."""
        return self.text(name).strip() or None

    def all(self, name: str) -> list[str]:
        """Return every value of a field: of checkboxes, those that are checked."""
        return list(self._fields.get(name, ()))

    def words(self, name: str) -> list[str]:
        """Return what is separated by blanks, commas or line ends in a field."""
        return self.text(name).replace(",", " ").split()

    def lines(self, name: str) -> list[str]:
        """Return the lines of a field as they are, but for those that are blank."""
        return [line for line in self.text(name).splitlines() if line.strip()]

    def seconds(self, name: str) -> float | None:
        """Return a span such as `8h`, None when nothing is given; raises RelayError."""
        text = self.given(name)
        try:
            return None if text is None else parse_duration(text)
        except ValueError as error:
            raise RelayError(Code.BAD_DURATION, str(error)) from None


async def read_form(request: Request) -> Form:
    """Return the form in the body; raises StatusError 400, 408, 413 or 415."""
    if media_type(request) != TYPE:
        raise StatusError(415, "this is not a form")
    body = await read_body(request)
    try:
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise StatusError(400, "the form is malformed") from None
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return Form(fields)
