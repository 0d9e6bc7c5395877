from tests.peers.scenario import STEPS, Outcome, Row
from tests.peers.verdict import judge, passed


def rows(era: str = "2026-07-28", **outcomes: Outcome) -> list[Row]:
    return [
        {"step": step, "outcome": outcomes.get(step, "ok"), "detail": "same", "era": era}
        for step in STEPS
    ]


def test_a_step_that_fails_only_through_the_tunnel_fails_the_cell() -> None:
    judged = judge(rows(), rows(cancel="fail"))
    assert [step.step for step in judged if step.mark == "fail"] == ["cancel"]
    assert not passed(judged)


def test_a_step_that_fails_directly_too_is_the_peers_own_and_is_shown() -> None:
    judged = judge(rows(cancel="fail"), rows(cancel="fail"))
    assert [(step.step, step.note) for step in judged if step.mark == "peer"] == [
        ("cancel", "direct: same; same")
    ]
    assert passed(judged)


def test_an_answer_that_differs_from_the_direct_one_fails_the_cell() -> None:
    changed = rows()
    changed[STEPS.index("large")]["detail"] = "other"
    assert not passed(judge(rows(), changed))


def test_another_era_than_the_direct_one_fails_the_cell() -> None:
    assert not passed(judge(rows(), rows(era="2025-11-25")))


def test_a_step_that_was_not_reached_fails_the_cell() -> None:
    assert not passed(judge(rows(), rows()[:2]))
    assert not passed(judge(rows()[:2], None))


def test_a_skipped_step_does_not() -> None:
    assert passed(judge(rows(progress="skip"), rows(progress="skip")))
    assert passed(judge(rows(progress="skip"), None))
