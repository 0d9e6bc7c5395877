"""What clients add to a report: files that `tunnel-client report --json` wrote, read with distrust.

A file says what one client says of itself. It is shown as that, and judged; nothing is believed to
be more than its word.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.configfile import ConfigError
from shared.escape import one_line
from shared.passkey import PREFIX as PASSKEY
from shared.policy.document import read_policy
from shared.policy.model import Policy
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.report.rules import rules_of

MAX_BYTES = 4 * 1024 * 1024
MAX_UPSTREAMS = 1024
MAX_TEXT = 1000
Short = Field(max_length=MAX_TEXT)
Said = Annotated[str, AfterValidator(lambda text: text[:MAX_TEXT])]
"""What a program says in words, which may be long: it is cut, for it decides nothing."""


class _Strict(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class _Policy(_Strict):
    text: str | None
    digest: str | None = Short
    problem: Said | None


class _Audit(_Strict):
    on: bool
    reads_without: bool = False
    problem: Said | None = None
    ok: bool | None = None
    records: int = 0
    signed: int = 0
    unproven: Said | None = None
    first_bad: int | None = None
    reason: Said | None = None


class _File(_Strict):
    what: str = Short
    path: str = Field(max_length=5000)
    mode: str = Field(max_length=10)
    open: bool
    changed: float


class _Upstream(_Strict):
    name: str = Short
    transport: Literal["http", "stdio"]
    target: Said
    in_clear: bool
    pinning: bool
    pins: dict[str, int]
    oldest_pin: int | None
    credential: str | None = Short
    for_each_user: bool
    scrubbed: bool
    variables: int
    sandbox: Said | None
    caged: bool | None
    network: bool = False
    consent: str | None = Short
    any_version: bool


class _Part(_Strict):
    kind: Literal["tunnel-client report"]
    version: str = Short
    made: float
    tunnel: str = Short
    instance: str = Short
    key: str = Short
    policy: _Policy
    audit: _Audit
    files: list[_File] = Field(max_length=5000)
    upstreams: list[_Upstream] = Field(max_length=MAX_UPSTREAMS)


@dataclass(frozen=True, slots=True)
class Part:
    """One client's word: `facts` as JSON values, and its policy, None when it has none that holds.

    The text of the policy is not among the facts: its rules are.
    """

    facts: dict[str, Any]
    policy: Policy | None


def read_part(path: Path) -> Part:
    """Read a client's file; raises RelayError CLIENT_PART_UNUSABLE."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RelayError(
            Code.CLIENT_PART_UNUSABLE, f"cannot read {path}: {error.strerror}"
        ) from None
    if len(raw) > MAX_BYTES:
        raise RelayError(Code.CLIENT_PART_UNUSABLE, f"{path} is larger than 4 MiB")
    try:
        return part_of(raw, str(path))
    except (ValidationError, ConfigError, RecursionError) as error:
        why = type(error).__name__
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False)[0]
            # Names of members are the file's own words.
            why = one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 300)
        raise RelayError(Code.CLIENT_PART_UNUSABLE, f"{path}: {why}") from None


def part_of(raw: bytes, source: str) -> Part:
    """Read what a client wrote; raises ValidationError, and ConfigError for its policy."""
    part = _Part.model_validate_json(raw)
    facts = part.model_dump()
    text = facts["policy"].pop("text")
    policy = None if text is None else read_policy(text, source)
    facts["policy"] |= {
        "digest": None if policy is None else policy.digest,
        "environment": None if policy is None else policy.environment,
        "rules": [] if policy is None else rules_of(policy),
        "approver_keys": {} if policy is None else _kinds(policy),
    }
    return Part(facts, policy)


def _kinds(policy: Policy) -> dict[str, str]:
    """Return who may sign, and by what: public keys are no secret, and nothing to read either."""
    return {
        name: "passkey" if key.startswith(PASSKEY) else "key"
        for name, key in sorted(policy.approver_keys.items())
    }
