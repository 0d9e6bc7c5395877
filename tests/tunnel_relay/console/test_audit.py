"""Pages of the log: for auditors and admins, each seeing what is theirs to see."""

from pathlib import Path

from shared.record import encode
from tests.helpers.audit_log import records
from tests.integration.scene import eventually
from tests.tunnel_relay.admin.test_audit import CANARY, SESSION, log_of, written
from tests.tunnel_relay.console.stage import a_console


async def test_pages_show_an_admin_nothing_that_is_for_auditors(tmp_path: Path) -> None:
    """A22."""
    async with a_console(tmp_path) as stage:
        seq = written(stage)
        pages = ("/audit", f"/audit/records/{seq}", f"/audit/sessions/{SESSION}")
        ada, otto = await stage.logged_in("ada"), await stage.logged_in("otto")
        for page in pages:
            shown = (await ada.get(page)).text
            assert CANARY not in shown, page
            assert "office/mail/send" in shown
        assert records(log_of(stage).folder, "audit.viewed") == []
        assert CANARY not in (await otto.get("/audit")).text
        for page in pages[1:]:
            assert CANARY in (await otto.get(page)).text, page
        viewed = records(log_of(stage).folder, "audit.viewed")
        assert [each["command"] for each in viewed] == ["audit_show", "audit_replay"]


async def test_a_search_narrows_and_goes_on_page_by_page(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        for _ in range(30):
            written(stage)
        hand = await stage.logged_in("otto")
        shown = (await hand.get("/audit?kind=call.&tool=send&since=2020-01-01T00:00")).text
        assert shown.count('href="/audit/records/') == 50
        older = shown.partition('<a href="/audit?')[2].partition('" rel="next"')[0]
        assert "kind=call." in older
        rest = (await hand.get("/audit?" + older.replace("&amp;", "&"))).text
        assert rest.count('href="/audit/records/') == 40
        assert "Nothing fits" in (await hand.get("/audit?user=nobody")).text
        assert "Nothing fits" in (await hand.get("/audit?until=2020-01-01")).text
        wrong = await hand.get("/audit?since=yesterday")
        assert wrong.status_code == 400
        assert "YYYY-MM-DD" in wrong.text


async def test_a_checkpoint_is_handed_out_as_a_file(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        assert "nothing is signed yet" in (await hand.get("/audit/checkpoint")).text
    async with a_console(tmp_path, people=False) as stage:  # what was closed is signed
        log_of(stage)._sign()
        hand = await stage.logged_in("otto")
        await eventually(log_of(stage).checkpoint)
        answer = await hand.get("/audit/checkpoint")
        assert answer.text.startswith("mcp-tunnel/relay/")
        assert "attachment" in answer.headers["content-disposition"]


async def test_a_log_is_verified_by_a_button(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        written(stage)
        hand = await stage.logged_in("ada")
        assert "Not verified since" in (await hand.get("/audit")).text
        assert (await hand.post("/audit/verify")).status_code == 303
        shown = (await hand.get("/audit")).text
        assert "are what was written" in shown
        assert ">verified<" in shown
        (segment,) = log_of(stage).folder.glob("*.jsonl")
        segment.write_bytes(segment.read_bytes().replace(b'"l.1"', b'"l.9"', 1))
        await hand.post("/audit/verify")
        assert "BROKEN at record" in (await hand.get("/audit")).text


async def test_a_log_without_its_checkpoints_is_not_proven(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        log = log_of(stage)
        for second in range(200):
            log.take(encode.event("test", {}, log.size, second * 1_000_000))
        log.flush()
        hand = await stage.logged_in("ada")
        await hand.post("/audit/verify")
        shown = (await hand.get("/audit")).text
        assert "NOT PROVEN: no checkpoint vouches for records 0 to" in shown
        assert ">not proven<" in shown
        assert "BROKEN" not in shown


async def test_calls_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        ended = {"intent": 0, "result": "ok", "delivery": "done"}
        seq = log_of(stage).add("call.completion", {"call": "odd.1", **ended})
        hand = await stage.logged_in("ada")
        await hand.post("/audit/verify")
        shown = (await hand.get("/audit")).text
        assert f"BROKEN at record {seq}: ended without an intent: odd.1" in shown
        assert f"</span> at record {seq}: ended without an intent: odd.1" in shown


async def test_a_number_that_nothing_has_is_no_page(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("otto")
        for digits in (18, 30, 5000):
            for page in ("/audit/records/", "/events/after/"):
                status = (await hand.get(page + "9" * digits)).status_code
                assert status == (200 if (digits, page) == (18, "/events/after/") else 404)
