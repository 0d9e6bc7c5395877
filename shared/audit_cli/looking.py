"""Which records are there: by who, what, why and when; a session as it went."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.audit_cli.program import (
    SCHEMA_VERSION,
    Program,
    answer,
    folder_option,
    json_option,
)

if TYPE_CHECKING:
    from shared.audit.query import Page, Query, Wanted

FOLLOW_SECONDS = 0.5
FOLLOW_PAGE = 1000
_TIME = click.DateTime(
    formats=[
        *("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"),
        *("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S.%fZ"),
    ]
)
_FILTERS = (
    click.option("--kind", help="Kind, or how it begins: call., call.refused, tool."),
    click.option("--user", help="A name, or ISSUER#SUBJECT: whose records, and what they did."),
    click.option("--agent"),
    click.option("--session", help="Session id, or how it begins."),
    click.option(
        "--server",
        help="UPSTREAM, or TUNNEL/UPSTREAM; records of calls do not say their tunnel, so those of"
        " every upstream of that name fit.",
    ),
    click.option("--tool"),
    click.option("--class", "tool_class", help="read, draft, write, ..."),
    click.option("--decision", help="allow, deny or require_approval."),
    click.option("--result", help="ok, tool_error, denied, timeout, ..."),
    click.option("--call", help="One call, as both ends name it."),
    click.option("--since", type=_TIME, help="UTC."),
    click.option("--until", type=_TIME, help="UTC; not this moment itself."),
)


def _filtered(command: Any) -> Any:
    """Add the options that say which records are wanted."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def _wanted(given: dict[str, Any]) -> "Wanted":
    from shared.audit.query import Wanted

    times = {name: _microseconds(given.get(name)) for name in ("since", "until")}
    return Wanted(**{**given, **times})


def _microseconds(given: datetime | None) -> int | None:
    return None if given is None else round(given.replace(tzinfo=UTC).timestamp() * 1e6)


def _again(given: dict[str, Any]) -> dict[str, object]:
    """Return the filters as options of the next command."""
    shown: dict[str, object] = {}
    for name, value in given.items():
        option = "class" if name == "tool_class" else name
        # Not by strftime: its years before 1000 have less than four digits, which nobody reads.
        when = isinstance(value, datetime)
        shown[option] = f"{value.isoformat(timespec='microseconds')}Z" if when else value
    return shown


def query_command(program: Program) -> click.Command:
    """Return `audit query`."""

    @click.command("query")
    @program.config_option
    @folder_option
    @_filtered
    @click.option("--newest", is_flag=True, help="The newest first.")
    @click.option("--after", type=int, help="Records above this number only: the next page.")
    @click.option("--before", type=int, help="Records below this number only.")
    @click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
    @json_option
    def query(
        config: Path | None,
        folder: Path | None,
        newest: bool,
        after: int | None,
        before: int | None,
        limit: int,
        as_json: bool,
        **given: Any,
    ) -> None:
        """Show the records that fit, page by page, the oldest first."""
        from shared.audit.query import Query

        where, wanted = program.where(config, folder), _wanted(given)
        bounds: dict[str, Any] = {"after": after, "before": before, "newest": newest}
        with program.reading(), Query(where) as log:
            _check(log, wanted)
            page = log.page(wanted, limit=limit, **bounds)
            if not as_json:
                _remark(log, wanted, none=not page.records)
        more = None
        if page.cursor is not None:
            bounds["before" if newest else "after"] = page.cursor
            options = {"config": config, "folder": folder, **_again(given), **bounds}
            more = program.words("query", **options, limit=limit, json=as_json)
        _say(page, more, as_json)

    return query


def _check(log: "Query", wanted: "Wanted") -> None:
    """Refuse words that no record has: nothing found would read as if it had never happened."""
    from shared.audit.words import UnknownWordError, check_words

    try:
        check_words(log, wanted)
    except UnknownWordError as error:
        raise click.BadParameter(str(error), param_hint=f"--{error.column}") from None


def _remark(log: "Query", wanted: "Wanted", *, none: bool) -> None:
    """Say beside the rows what an answer does not cover, or that there is nothing in it."""
    from shared.audit.query import Wanted
    from shared.escape import one_line

    _, tunnelled, upstream = (wanted.server or "").partition("/")
    if none:
        first, last = (log.page(Wanted(), limit=1, newest=each).records for each in (False, True))
        click.echo(f"no record of {_last(first)}..{_last(last)} fits", err=True)
    elif tunnelled:
        of = f"of every upstream {one_line(upstream)}"
        click.echo(f"records of calls do not say their tunnel: {of}", err=True)


def _say(page: "Page", more: str | None, as_json: bool) -> None:
    if as_json:
        answer({"records": page.records, "cursor": page.cursor, "next": more})
        return
    _rows(page.records)
    if more is not None:
        click.echo(f"next:  {more}", err=True)


def tail_command(program: Program) -> click.Command:
    """Return `audit tail`."""

    @click.command("tail")
    @program.config_option
    @folder_option
    @_filtered
    @click.option("-n", "--count", type=click.IntRange(0, 10_000), default=20, show_default=True)
    @click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
    @json_option
    def tail(
        config: Path | None,
        folder: Path | None,
        count: int,
        follow: bool,
        as_json: bool,
        **given: Any,
    ) -> None:
        """Show the newest records, the newest last.

        With --follow and --json each record is a line of its own.
        """
        from shared.audit.query import Page, Query, Wanted

        where, wanted = program.where(config, folder), _wanted(given)
        with program.reading(), Query(where) as log:
            _check(log, wanted)
            last = _last(log.page(Wanted(), limit=1, newest=True).records)
            shown = log.page(wanted, limit=max(1, count), newest=True, before=last + 1)
            rows = shown.records[:count][::-1]
            if not as_json:
                _remark(log, wanted, none=not shown.records)
            if follow:
                show = _lines if as_json else _rows
                _follow(lambda at: log.page(wanted, limit=FOLLOW_PAGE, after=at), rows, last, show)
                return
        _say(Page(rows, None), None, as_json)

    return tail


def _follow(
    ask: Callable[[int], "Page"],
    rows: Sequence[dict[str, Any]],
    last: int,
    show: Callable[[Sequence[dict[str, Any]]], None],
) -> None:
    """Show these and what comes behind record `last`, until told to stop."""
    try:
        show(rows)
        while True:
            page = ask(last)
            show(page.records)
            last = _last(page.records, last)
            if page.cursor is None:
                time.sleep(FOLLOW_SECONDS)
    except (KeyboardInterrupt, BrokenPipeError):
        return


def _last(records: Sequence[dict[str, Any]], otherwise: int = -1) -> int:
    return max((each["seq"] for each in records), default=otherwise)


def _lines(records: Sequence[dict[str, Any]]) -> None:
    for record in records:
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "record": record}))


def _rows(records: Sequence[dict[str, Any]]) -> None:
    from shared.audit_cli.views import row

    for record in records:
        click.echo(row(record))


def replay_command(program: Program) -> click.Command:
    """Return `audit replay`."""

    @click.command("replay")
    @program.config_option
    @folder_option
    @click.argument("session")
    @click.option("--after", type=int, help="Records above this number only: the next page.")
    @click.option("--limit", type=click.IntRange(1, 10_000), default=500, show_default=True)
    @json_option
    def replay(
        config: Path | None,
        folder: Path | None,
        session: str,
        after: int | None,
        limit: int,
        as_json: bool,
    ) -> None:
        """Show SESSION as it went: who called what, why it might, how it ended, how long it took.

        It reads the log. Nothing is called again, and nothing is sent anywhere.
        """
        from shared.audit.query import Query
        from shared.audit.replay import replay
        from shared.audit_cli.views import timeline

        where, more = program.where(config, folder), None
        with program.reading(), Query(where) as log:
            found = replay(log, session, limit=limit, after=after)
        if found.cursor is not None:
            options = {"config": config, "folder": folder, "after": found.cursor, "limit": limit}
            more = program.words("replay", found.session, **options, json=as_json)
        if as_json:
            answer({**found.as_dict(), "next": more})
            return
        click.echo(timeline(found))
        if more is not None:
            click.echo(f"next:  {more}", err=True)

    return replay
