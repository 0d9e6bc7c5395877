"""Records are found page by page, followed, and a session is shown as it went."""

import asyncio
import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from shared.audit.log import AuditLog
from tests.shared.audit_cli.logs import LINK, WHO, a_log, answered, run


async def test_a_query_answers_page_by_page_with_the_next_command(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log")
    words: list[object] = [
        "query",
        "--folder",
        folder,
        "--user",
        "ada",
        "--kind",
        "call.",
        "--limit",
        15,
    ]
    seen: list[int] = []
    while words:
        page = answered(*words)
        seen += [each["seq"] for each in page["records"]]
        words = [*shlex.split(page["next"] or "")[2:-1]]
    assert len(seen) == 40
    assert seen == sorted(set(seen))


async def test_text_has_a_row_a_record_and_the_command_for_more(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log")
    done = run("query", "--folder", folder, "--class", "write", "--limit", 3, "--newest")
    assert len(done.stdout.splitlines()) == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("next:  tunnel-test audit query --folder ")
    assert "--class write" in line
    assert "--newest" in line
    again = run(*shlex.split(line.removeprefix("next:"))[2:])
    assert not set(again.stdout.splitlines()) & set(done.stdout.splitlines())


async def test_every_filter_narrows(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log")
    for words, count in (
        (("--user", "eve"), 20),
        (("--session", "b2b2"), 20),
        (("--agent", "bot", "--kind", "call.intent"), 20),
        (("--server", "mail", "--tool", "send", "--decision", "allow"), 60),
        (("--result", "ok"), 20),
        (("--result", "timeout"), 0),
        (("--call", f"{LINK}.7"), 2),
        (("--since", "2001-01-01", "--until", "2001-01-01T10:00:00Z"), 0),
        (("--since", "2001-01-01"), 63),
    ):
        assert len(answered("query", "--folder", folder, *words)["records"]) == count, words


async def test_a_question_that_nothing_fits_is_answered_in_words(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log")
    for command in ("query", "tail"):
        done = run(command, "--folder", folder, "--user", "nobody")
        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == "no record of 0..62 fits\n"
        done = run(command, "--folder", folder, "--user", "nobody", "--json")
        assert done.stderr == ""
        assert json.loads(done.stdout)["records"] == []
    assert run("tail", "--folder", folder, "-n", 0).stderr == ""


async def test_words_that_no_record_has_are_refused_with_those_there_are(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    for words, said in (
        (("--decision", "denied"), "no decision 'denied'; there is: allow, require_approval, deny"),
        (("--kind", "calls"), "no kind 'calls'; there is: call., audit."),
        (("--class", "wrong"), "no class 'wrong'; there is: read, draft"),
    ):
        for command in ("query", "tail"):
            done = run(command, "--folder", folder, *words)
            assert (done.exit_code, done.stdout) == (2, "")
            assert f"Invalid value for {words[0]}: {said}" in done.stderr


async def test_a_server_with_its_tunnel_is_found(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    done = run("query", "--folder", folder, "--server", "home/mail")
    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 3)
    assert done.stderr == "records of calls do not say their tunnel: of every upstream mail\n"


async def test_a_tail_shows_the_newest_the_newest_last(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log")
    found = answered("tail", "--folder", folder, "-n", 3)["records"]
    assert [each["seq"] for each in found] == [60, 61, 62]
    assert found[-1]["kind"] == "audit.closed"
    assert answered("tail", "--folder", folder, "-n", 0)["records"] == []


async def test_a_tail_follows_what_is_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    audit = AuditLog(folder, "test/log")
    audit.add("test", {"number": 1})
    assert audit.flush() is None
    program = "from tests.shared.audit_cli.logs import commands; commands()()"
    words = ["tail", "--folder", str(folder), "--follow", "--kind", "test", "--json"]
    tail = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *words, stdout=asyncio.subprocess.PIPE
    )
    assert tail.stdout is not None
    try:
        for number in (1, 2, 3):
            assert json.loads(await tail.stdout.readline())["record"]["number"] == number
            audit.add("other", {})
            audit.add("test", {"number": number + 1})
            assert audit.flush() is None
    finally:
        tail.kill()
        await tail.wait()
    assert audit.close() is None


@pytest.mark.parametrize(
    "words",
    [("query",), ("tail",), ("tail", "--json"), ("replay", "a1a1"), ("export",), ("verify",)],
)
async def test_who_stops_reading_ends_a_command_without_a_word(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """As `| head -1` does: nothing is wrong with the log."""
    folder = await a_log(tmp_path / "log")
    program = "from tests.shared.audit_cli.logs import commands; commands()()"
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, *words, "--folder", str(folder)),
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        os.close(writing)
    _, said = await command.communicate()
    assert (said, command.returncode) == (b"", 1)


async def test_a_session_is_shown_as_it_went(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log")
    found = answered("replay", "a1a1", "--folder", folder)
    assert found["session"] == WHO["session"]
    assert [each["kind"] for each in found["entries"]] == ["session.made"] + ["call.intent"] * 20
    assert {each["result"] for each in found["entries"][1:]} == {"ok"}
    text = run("replay", "a1a1", "--folder", folder).stdout
    assert "ada by" in text
    assert "mail/send" in text
    assert "1.5 ms" in text


async def test_a_call_that_ended_behind_the_page_has_its_end_and_pages_go_on(
    tmp_path: Path,
) -> None:
    folder = await a_log(tmp_path / "log", calls=3)
    words: list[object] = ["replay", "a1" * 16, "--folder", folder, "--limit", 2]
    calls = []
    while words:
        found = answered(*words)
        calls += [(each["call"], each["result"]) for each in found["entries"]]
        words = [*shlex.split(found["next"] or "")[2:-1]]
    assert calls == [("", ""), *((f"{LINK}.{number}", "ok") for number in range(3))]


async def test_a_session_that_is_not_one_is_said(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    done = run("replay", "zz", "--folder", folder)
    assert done.exit_code == 1
    assert "no session of that name" in done.output
    audit = AuditLog(folder, "test/log")
    audit.add("session.made", {"session": "a1b1", "user": "ada"})
    assert audit.close() is None
    assert "2 sessions of that name" in run("replay", "a1", "--folder", folder).output
    assert len(answered("replay", "a1b1", "--folder", folder)["entries"]) == 1


async def test_what_can_be_in_no_record_is_a_wrong_question(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    torn = b"\xff".decode(errors="surrogateescape")
    for words in (("query", "--class", torn), ("tail", "--call", torn), ("replay", torn)):
        done = run(*words, "--folder", folder)
        assert done.exit_code == 2, words
        assert "UTF-8" in done.output
    assert "class: " in run("query", "--class", "x" * 600, "--folder", folder).output


async def test_numbers_beyond_the_log_find_nothing_or_all(tmp_path: Path) -> None:
    folder, huge = await a_log(tmp_path / "log", calls=1), str(10**30)
    assert answered("query", "--folder", folder, "--after", huge)["records"] == []
    assert len(answered("query", "--folder", folder, "--before", huge)["records"]) == 6
    assert len(answered("query", "--folder", folder, "--after", f"-{huge}")["records"]) == 6
    assert answered("replay", "a1a1", "--folder", folder, "--after", huge)["entries"] == []


async def test_a_time_long_ago_is_a_time_in_the_next_command_too(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    words = ("query", "--folder", folder, "--since", "0001-01-01", "--limit", 4)
    page = answered(*words)
    assert len(answered(*shlex.split(page["next"])[2:-1])["records"]) == 2


async def test_the_folder_above_a_log_is_said_to_be_that(tmp_path: Path) -> None:
    folder = await a_log(tmp_path / "audit", calls=1)
    for words in (("query",), ("replay", "a1a1"), ("verify",), ("key",)):
        done = run(*words, "--folder", tmp_path)
        assert done.exit_code == 1
        assert f"no log in {tmp_path}; there is one in {folder}" in done.output, words
    for pair in ((tmp_path, folder), (folder, tmp_path)):
        done = run("reconcile", *pair)
        assert done.exit_code == 1
        assert f"no log in {tmp_path}; there is one in {folder}" in done.output, pair


def test_no_log_is_said(tmp_path: Path) -> None:
    for words in (("query",), ("tail",), ("replay", "a1a1")):
        done = run(*words, "--folder", tmp_path)
        assert done.exit_code == 1
        assert "no log in" in done.output


@pytest.mark.parametrize("command", ["query", "tail"])
async def test_without_an_output_it_ends_in_peace(tmp_path: Path, command: str) -> None:
    folder = await a_log(tmp_path / "log", calls=1)
    program = "from tests.shared.audit_cli.logs import commands; commands()()"
    words = [sys.executable, "-c", program, command, "--folder", str(folder)]
    ended = await asyncio.create_subprocess_exec(
        "sh", "-c", 'exec "$@" >&-', "sh", *words, stderr=asyncio.subprocess.PIPE
    )
    assert (await ended.communicate())[1] == b""
    read, write = os.pipe()
    os.close(read)
    ended = await asyncio.create_subprocess_exec(
        *words, stdout=write, stderr=asyncio.subprocess.PIPE
    )
    os.close(write)
    assert (await ended.communicate())[1] == b""
