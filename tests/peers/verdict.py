"""Judge a cell of the matrix: what went wrong through the tunnel that works without it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from tests.peers.scenario import STEPS, Row

# What these steps say about a good answer is the answer's digest.
COMPARED_STEPS = ("list", "large")

Mark = Literal["ok", "skip", "peer", "fail"]


class Judged(NamedTuple):
    """One step of a cell.

    `peer` means that it fails through the tunnel and fails without it, too: not ours to mend.
    """

    step: str
    mark: Mark
    note: str


# A program reports how it ended only when it ended badly.
JUDGED_STEPS = (*STEPS, "close")


def judge(direct: Sequence[Row] | None, tunnelled: Sequence[Row] | None) -> list[Judged]:
    """Judge every step; `None` stands for a way that was not tried.

    With one way only, each step is judged by itself.
    """
    if tunnelled is None:
        return [_alone(step, _find(direct or (), step)) for step in JUDGED_STEPS]
    if direct is None:
        return [_alone(step, _find(tunnelled, step)) for step in JUDGED_STEPS]
    return [_step(step, _find(direct, step), _find(tunnelled, step)) for step in JUDGED_STEPS]


def passed(steps: Sequence[Judged]) -> bool:
    """Say whether a cell passes."""
    return all(step.mark != "fail" for step in steps)


def _find(rows: Sequence[Row], step: str) -> Row:
    for row in rows:
        if row["step"] == step:
            return row
    if step == "close":
        return {"step": step, "outcome": "skip", "detail": "", "era": None}
    return {"step": step, "outcome": "fail", "detail": "not reached", "era": None}


def _alone(step: str, row: Row) -> Judged:
    return Judged(step, row["outcome"], row["detail"] if row["outcome"] != "ok" else "")


def _step(step: str, direct: Row, tunnelled: Row) -> Judged:
    if tunnelled["outcome"] != "ok":
        both_fail = direct["outcome"] == tunnelled["outcome"] == "fail"
        if both_fail:
            return Judged(step, "peer", f"direct: {direct['detail']}; {tunnelled['detail']}")
        return Judged(step, tunnelled["outcome"], tunnelled["detail"])
    if direct["outcome"] == "ok":
        if direct["era"] != tunnelled["era"]:
            return Judged(step, "fail", f"{tunnelled['era']}, but {direct['era']} directly")
        if step in COMPARED_STEPS and direct["detail"] != tunnelled["detail"]:
            return Judged(step, "fail", f"{tunnelled['detail']}, but {direct['detail']} directly")
    return Judged(step, "ok", "")
