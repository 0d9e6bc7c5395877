"""A call and its end are one step; the rest are steps of their own."""

from shared.record.timeline import steps


def test_a_call_and_its_end_are_one_step() -> None:
    found, open_calls = steps(
        [
            {"seq": 1, "time": 5, "kind": "call.intent", "call": "l.1", "what": {"server": "s"}},
            {"seq": 2, "kind": "session.revoked", "session": "x", "by": "ann", "reason": "over"},
            {
                "seq": 3,
                "kind": "call.completion",
                "call": "l.1",
                "result": "ok",
                "us": 9,
                "status": 200,
                "scrub_hits": 2,
            },
            {"seq": 4, "kind": "call.refused", "call": "l.2", "reason": "no grant"},
            {"seq": 5, "kind": "call.intent", "call": "l.3"},
            {"seq": 6, "kind": "call.completion", "call": "earlier"},
        ]
    )
    assert [(each.seq, each.outcome) for each in found if each.is_call] == [
        (1, "ok (status 200, 2 secrets taken out)"),
        (4, "refused: no grant"),
        (5, "no end yet"),
    ]
    assert found[0].us == 9
    assert (found[1].title, found[1].more) == ("session.revoked", {"by": "ann"})
    assert list(open_calls) == ["l.3"]


def test_what_is_odd_is_a_step_too() -> None:
    found, _ = steps([{}, {"kind": 3, "seq": True, "who": [], "approval": {"approvers": 3}}])
    assert [(each.kind, each.seq) for each in found] == [("", 0), ("", 0)]
    assert found[0].as_dict()["approvers"] == []
