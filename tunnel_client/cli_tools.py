"""The commands about tools: which there are, what changed, what is approved."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tunnel_client.cli_options import (
    SCHEMA_VERSION,
    config_option,
    json_option,
    quiet,
    read_settings,
    show,
)

if TYPE_CHECKING:
    from shared.policy.classes import ToolClass
    from tunnel_client.settings import ClientSettings
    from tunnel_client.tool_pins import Choice, Survey

CLASSES = ["read", "draft", "write", "external_send", "admin", "break_glass"]
"""As in `shared.policy.classes`, which loads nothing but is not needed to print help."""


@click.group()
def tool() -> None:
    """The tools of the upstreams: an agent sees and calls those that were pinned, as pinned."""


@tool.command("list")
@click.argument("upstream", required=False)
@config_option
@json_option
def tool_list(upstream: str | None, config: Path | None, as_json: bool) -> None:
    """Ask the upstreams for their tools and show where each stands."""
    from tunnel_client.tool_views import counted, flag_lines, tool_lines, tool_row

    settings, survey = _survey(config, upstream)
    rows: dict[str, Any] = {}
    for each in settings.upstream:
        if upstream not in (None, each.name):
            continue
        tools = survey.tools(each.name)
        failure = survey.failures.get(each.name)
        held = [] if failure is not None else survey.held_back(each.name)
        rows[each.name] = {
            "pinning": each.pinning,
            "error": None if failure is None else {"code": failure.code, "cause": failure.cause},
            "tools": [tool_row(one) for one in tools],
            "held_back": [
                {
                    "kind": one.item.kind.value,
                    "name": one.item.name,
                    "flags": [flag.as_dict() for flag in one.flags],
                }
                for one in held
            ],
        }
        if as_json:
            continue
        off = ", PINNING IS OFF" if each.pinning == "off" else ""
        show(f"{each.name}: {counted(tools)}{off}")
        if failure is not None:
            show(f"  not listed now ({failure.code}): {failure.cause}")
            show(f"  next: {failure.next}")
        for line in tool_lines(tools):
            show(line)
        for one in held:
            show(f"  held back: {one.item.kind.value} {one.item.name!a}")
            for line in flag_lines(one.flags):
                show(f"  {line}")
    if as_json:
        show({"schema_version": SCHEMA_VERSION, "upstreams": rows})


@tool.command("diff")
@click.argument("upstream")
@click.argument("name", metavar="[TOOL]", required=False)
@config_option
@json_option
def tool_diff(upstream: str, name: str | None, config: Path | None, as_json: bool) -> None:
    """Show how tools differ from what was pinned; new ones in full."""
    from tunnel_client.tool_pins import pick
    from tunnel_client.tool_views import in_full, is_terminal, plain_diff, show_diff

    _, survey = _survey(config, upstream)
    chosen = pick(survey.choices(upstream), [name] if name else [])
    if as_json:
        show({"schema_version": SCHEMA_VERSION, "tools": [_difference(one) for one in chosen]})
        return
    if not chosen:
        show(f"{upstream}: every tool is as it was pinned")
    for one in chosen:
        if one.before is None:
            show(in_full(one))
        elif one.before.sha256 == one.item.sha256:
            show(f"{one.item.name}: as it was pinned")
        else:
            show(f"{one.item.name}: {one.before.sha256[:12]} -> {one.item.sha256[:12]}")
            if is_terminal():
                show_diff(one.before.definition, one.item.definition)
            else:
                show(plain_diff(one.before.definition, one.item.definition))


@tool.command("pin")
@click.argument("upstream")
@click.argument("names", metavar="[TOOL]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that are new or have changed.")
@click.option("--held-back", is_flag=True, help="Prompts, resources, instructions held back.")
@click.option(
    "--class", "given", type=click.Choice(CLASSES), help="Default: as it was, or proposed."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@json_option
def tool_pin(
    upstream: str,
    names: tuple[str, ...],
    everything: bool,
    held_back: bool,
    given: str | None,
    yes: bool,
    config: Path | None,
    as_json: bool,
) -> None:
    """Approve tools as they are now: shows their definitions in full and asks.

    Without TOOL these are all that are new or have changed.
    """
    from shared.policy.classes import ToolClass
    from tunnel_client.tool_pins import pick, save
    from tunnel_client.tool_views import in_full

    if names and (everything or held_back):
        raise click.UsageError("give tools, or --all, or --held-back")
    if yes and not (names or everything or held_back):
        raise click.UsageError("--yes goes with the tools' names, --all or --held-back")
    if as_json and not yes:
        raise click.UsageError("--json asks nothing: add --yes")
    settings, survey = _survey(config, upstream)
    chosen = survey.held_back(upstream) if held_back else pick(survey.choices(upstream), names)
    survey.check_pinnable(upstream, [one.item for one in chosen])
    tool_class = None if given is None or held_back else ToolClass(given)
    pairs = [(one.item, tool_class or one.tool_class) for one in chosen]
    if not as_json:
        for one, (_, shown) in zip(chosen, pairs, strict=True):
            show(in_full(one) if shown is one.tool_class else f"{in_full(one)}\n  as {shown}")
    if not chosen:
        show({"schema_version": SCHEMA_VERSION, "pinned": []} if as_json else "nothing to pin")
        return
    if not yes and not click.confirm(f"Pin {_many(len(chosen))} of {upstream}?"):
        show("nothing was pinned")
        return
    _report(save(settings, upstream, pairs), as_json)


@tool.command("classify")
@click.argument("upstream")
@click.argument("name", metavar="TOOL")
@click.argument("given", metavar="CLASS", type=click.Choice(CLASSES))
@config_option
@json_option
def tool_classify(upstream: str, name: str, given: str, config: Path | None, as_json: bool) -> None:
    """Change the class of a pinned tool; its definition is not looked at."""
    from shared.policy.classes import ToolClass
    from tunnel_client.errors_upstreams import UnknownUpstreamError
    from tunnel_client.tool_pins import classify

    settings = read_settings(config)
    if settings.find(upstream) is None:
        raise UnknownUpstreamError(f"no upstream is called {upstream}")
    pin = classify(settings, upstream, name, ToolClass(given))
    row = {"name": pin.name, "class": given, "sha256": pin.sha256}
    show({"schema_version": SCHEMA_VERSION} | row if as_json else f"{name} is {given} now")


def first_pins(settings: "ClientSettings", upstream: str, *, yes: bool) -> dict[str, Any]:
    """Offer to pin what a new upstream lists, on one screen; returns what happened, for JSON.

    An upstream that is down is no error: it says how to do it later.
    """
    from tunnel_client.errors import ClientError
    from tunnel_client.tool_pins import Survey, save
    from tunnel_client.tool_views import as_table

    quiet()
    later = f"tunnel-client tool pin {upstream}"
    survey = Survey(settings, os.environ)
    try:
        survey.take(upstream)
        choices, left = _pinnable(survey, upstream)
    except ClientError as error:
        click.echo(f"not listed now: {error.cause}", err=True)
        click.echo(f"next: {error.next}", err=True)
        click.echo(f"agents see none of its tools until they are pinned: {later}", err=True)
        return {"pinned": [], "error": {"code": error.code, "cause": error.cause}}
    click.echo(f"{upstream} lists {_many(len(choices))}; proposed:", err=True)
    click.echo(as_table(choices), err=True)
    for name in left:
        click.echo(f"  cannot be pinned: {name!a}", err=True)
    pairs: Sequence[tuple[Any, ToolClass | None]] = [(one.item, one.tool_class) for one in choices]
    if choices and not yes:
        pairs = _ask(upstream, choices)
    if not pairs:
        click.echo(f"nothing was pinned; later: {later}", err=True)
    return {"pinned": save(settings, upstream, pairs) if pairs else [], "error": None}


def _ask(upstream: str, choices: "Sequence[Choice]") -> "list[tuple[Any, ToolClass | None]]":
    """Ask once; give back what is to be pinned."""
    from tunnel_client.tool_views import as_worksheet, read_worksheet

    answer = click.prompt(
        "[Y] pin all as shown, [e] edit in $EDITOR, [n] later",
        default="y",
        type=click.Choice(["y", "e", "n"], case_sensitive=False),
        show_choices=False,
        show_default=False,
        err=True,
    )
    if answer != "e":
        return [(one.item, one.tool_class) for one in choices] if answer == "y" else []
    text: str | None = as_worksheet(upstream, choices)
    while True:
        text = click.edit(text, require_save=False)
        if text is None:
            return []
        try:
            wanted = read_worksheet(text)
        except ValueError as error:
            click.echo(str(error), err=True)
            if not click.confirm("Edit again?", default=True, err=True):
                return []
            continue
        return [(one.item, wanted[one.item.name]) for one in choices if one.item.name in wanted]


def _pinnable(survey: "Survey", upstream: str) -> "tuple[list[Choice], list[str]]":
    from tunnel_client.errors_upstreams import NotPinnableError

    fine, left = [], []
    for one in survey.choices(upstream):
        try:
            survey.check_pinnable(upstream, [one.item])
        except NotPinnableError:
            left.append(one.item.name)
        else:
            fine.append(one)
    return fine, left


def _survey(config: Path | None, upstream: str | None) -> "tuple[ClientSettings, Survey]":
    from tunnel_client.tool_pins import Survey

    settings = read_settings(config)
    quiet()
    survey = Survey(settings, os.environ)
    survey.take(upstream)
    return settings, survey


def _difference(one: "Choice") -> dict[str, Any]:
    from tunnel_client.tool_views import plain_diff

    before = one.before
    changed = before is not None and before.sha256 != one.item.sha256
    return {
        "name": one.item.name,
        "state": one.state.value,
        "pinned": None if before is None else before.definition,
        "listed": one.item.definition,
        "diff": plain_diff(before.definition, one.item.definition) if before and changed else "",
        "flags": [flag.as_dict() for flag in one.flags],
    }


def _report(written: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        show({"schema_version": SCHEMA_VERSION, "pinned": written})
        return
    show(f"pinned {_many(len(written))}; a running client knows within a second or two")


def _many(count: int) -> str:
    return "1 definition" if count == 1 else f"{count} definitions"
