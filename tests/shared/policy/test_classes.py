from shared.policy.classes import IN_ORDER, ToolClass


def test_classes_are_in_order_of_danger() -> None:
    assert [str(one) for one in IN_ORDER] == [
        *("read", "draft", "write", "external_send", "admin", "break_glass")
    ]


def test_only_reading_and_drafting_change_nothing() -> None:
    assert [one for one in ToolClass if not one.changes] == [ToolClass.READ, ToolClass.DRAFT]
