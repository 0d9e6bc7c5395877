"""What a Content-Type may say of a message.

Servers and agents in the field decode a body by the charset that stands beside it. In UTF-7 the
bytes of one JSON text are another one, with another tool's name in it.
"""

import re

_JSON = re.compile(
    rb'application/json[ \t]*(?:;[ \t]*(?:charset=(?:utf-8|"utf-8")[ \t]*)?;?[ \t]*)?'
)
_CHARSET = re.compile(rb"charset[ \t]*\*?(?:[0-9]+\*?)?[ \t]*=[ \t]*([^; \t]*)")
_PLAIN = re.compile(rb'"?(?:utf-?8|(?:us-)?ascii|latin-?1|iso-8859-[0-9]+|windows-125[0-9])"?')
"""Charsets in which ASCII bytes stand for themselves and for nothing else."""


def is_json(content_type: bytes) -> bool:
    """Tell whether this is JSON in UTF-8, whoever reads it (RFC 8259, section 8.1)."""
    return _JSON.fullmatch(content_type.strip().lower()) is not None


def means_itself(content_type: bytes) -> bool:
    """Tell whether a body of this type says what its bytes say, whoever decodes it."""
    lower = content_type.lower()
    if b"charset" not in lower:
        return True
    named = _CHARSET.findall(lower)
    # What cannot be read here could be read elsewhere.
    whole = len(named) == lower.count(b"charset")
    return whole and all(_PLAIN.fullmatch(each) for each in named)
