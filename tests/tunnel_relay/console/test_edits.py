"""A form changes what was edited in it, and nothing that it merely sends along."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.tunnel_relay.console.filled import fields_of
from tests.tunnel_relay.console.stage import PASSWORD, Hand, Stage, a_console
from tunnel_relay.admin.logins import FRESH
from tunnel_relay.console.edits import edited, mark
from tunnel_relay.console.forms import Form

CHANGE = "/users/change"


async def form_of(hand: Hand, user: str) -> dict[str, Any]:
    """Load a user's page and return its form as it stands."""
    page = await hand.get("/user?" + urlencode({"user": user}))
    return dict(fields_of(page.text, CHANGE))


async def rights(stage: Stage, user: str) -> dict[str, Any]:
    shown = await stage.admin.user_show(user)
    return {key: shown[key] for key in ("name", "roles", "groups", "servers")}


async def test_names_of_groups_may_hold_blanks_and_commas(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        groups = ["external contractors", "network ops", "CN=ops,OU=it"]
        await stage.admin.user_add("bob", groups=groups)
        hand = await stage.logged_in("ada")
        form = await form_of(hand, "bob")
        assert (await hand.post(CHANGE, {**form, "name": "Bob"})).status_code == 303
        shown = await rights(stage, "bob")
        assert (shown["name"], shown["groups"]) == ("Bob", sorted(groups))
        form = await form_of(hand, "bob")
        form["groups"] = "network ops\r\n\r\n  night shift \r\n"
        assert (await hand.post(CHANGE, form)).status_code == 303
        assert (await rights(stage, "bob"))["groups"] == ["network ops", "night shift"]


async def test_a_user_is_added_with_one_group_a_line(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        hand = await stage.logged_in("ada")
        fields = {"user": "bob", "groups": "network ops\r\nstaff\r\n"}
        assert (await hand.post("/users/add", fields)).status_code == 303
        assert (await rights(stage, "bob"))["groups"] == ["network ops", "staff"]
        kept = await hand.post("/users/add", {**fields, "password": "short"})
        assert fields_of(kept.text, "/users/add")["groups"] == [fields["groups"]]


async def test_what_another_admin_took_away_meanwhile_stays_away(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.user_add("bob", None, ["auditor"], ["ops"], ["office/*"])
        hand = await stage.logged_in("ada")
        form = await form_of(hand, "bob")
        await stage.admin.user_change("bob", servers=[], groups=[], roles=[])
        assert (await hand.post(CHANGE, {**form, "name": "Bob"})).status_code == 303
        nothing = {"roles": ["user"], "groups": [], "servers": []}
        assert await rights(stage, "bob") == {"name": "Bob", **nothing}


async def test_an_edit_of_what_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.user_add("bob", groups=["ops"], servers=["office/*", "lab/*"])
        hand = await stage.logged_in("ada")
        form = await form_of(hand, "bob")
        await stage.admin.user_change("bob", servers=["lab/*"])
        answer = await hand.post(CHANGE, {**form, "name": "Bob", "servers": "office/* lab/* new/*"})
        assert answer.status_code == 409
        assert "somebody changed the servers of bob meanwhile" in answer.text
        shown = await rights(stage, "bob")
        assert (shown["name"], shown["servers"]) == ("bob", ["lab/*"])
        # The page that says so holds a form of what is so now, for another try.
        again: dict[str, Any] = dict(fields_of(answer.text, CHANGE))
        assert again["servers"] == ["lab/*"]
        assert (await hand.post(CHANGE, {**again, "servers": "lab/* new/*"})).status_code == 303
        assert (await rights(stage, "bob"))["servers"] == ["lab/*", "new/*"]


async def test_a_form_that_was_not_edited_changes_nothing(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.user_add("bob", "Bob", ["approver"], ["ops"], ["office/*"])
        hand = await stage.logged_in("ada")
        before = stage.admin.directory.users["bob"]
        answer = await hand.post(CHANGE, await form_of(hand, "bob"))
        assert "Nothing was changed" in (await hand.get(answer.headers["location"])).text
        assert stage.admin.directory.users["bob"] == before


async def test_as_many_groups_as_an_issuer_may_give(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        groups = tuple(f" department {number:03} of the eastern branch" for number in range(256))
        key = "https://idp.example.com#bob"
        await stage.admin.user_add(key)
        users = stage.admin.directory.users
        users[key] = replace(users[key], groups=groups, as_of=1.0)
        hand = await stage.logged_in("ada")
        form = await form_of(hand, key)
        fewer = {**form, "name": "Bob", "groups": form["groups"][0].rpartition("\r\n")[0]}
        assert (await hand.post(CHANGE, fewer)).status_code == 303
        # As the issuer writes them: a blank less would be another group.
        assert users[key].groups == groups[:-1]


async def test_edits_outlast_the_question_for_a_password(tmp_path: Path) -> None:
    """A page that was opened with a fresh login is saved with a stale one."""
    async with a_console(tmp_path) as stage:
        await stage.admin.user_add("bob", "Bob", ["auditor", "approver"], ["ops"], ["office/*"])
        hand = await stage.logged_in("ada")
        form = await form_of(hand, "bob")
        assert "current_password" not in form
        form |= {"roles": ["auditor"], "groups": "night shift", "servers": "", "name": "B & <b>"}
        clock = stage.admin.clock
        stage.admin.clock = lambda: clock() + FRESH
        before = await rights(stage, "bob")
        for given in ({}, {"current_password": "wrong password"}):
            refused = await hand.post(CHANGE, form | given)
            assert refused.status_code == 403
            assert await rights(stage, "bob") == before
            form = dict(fields_of(refused.text, CHANGE))
        assert form["roles"] == ["auditor"]
        done = await hand.post(CHANGE, form | {"current_password": PASSWORD})
        assert "Changed; 0 sessions ended." in (await hand.get(done.headers["location"])).text
        roles = ["user", "auditor"]
        changed = {"name": "B & <b>", "roles": roles, "groups": ["night shift"], "servers": []}
        assert await rights(stage, "bob") == changed


async def test_what_changed_while_a_password_was_asked_for_is_seen(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.user_add("bob", servers=["office/*"])
        hand = await stage.logged_in("ada")
        form = await form_of(hand, "bob") | {"servers": "office/* new/*"}
        clock = stage.admin.clock
        stage.admin.clock = lambda: clock() + FRESH
        form = dict(fields_of((await hand.post(CHANGE, form)).text, CHANGE))
        await stage.admin.user_change("bob", servers=[])
        late = await hand.post(CHANGE, form | {"current_password": PASSWORD})
        assert late.status_code == 409
        assert fields_of(late.text, CHANGE)["servers"] == [""]
        assert (await rights(stage, "bob"))["servers"] == []


async def test_another_form_of_the_page_fills_nothing_in(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.user_add("bob", "Bob", servers=["office/*"])
        hand = await stage.logged_in("ada")
        form = await form_of(hand, "bob")
        short = await hand.post("/users/password", {"user": "bob", "password": "short"})
        assert short.status_code == 400
        assert fields_of(short.text, CHANGE) == form


async def test_groups_that_no_form_could_send_are_left_out_of_it(tmp_path: Path) -> None:
    async with a_console(tmp_path) as stage:
        await stage.admin.user_add("bob")
        users = stage.admin.directory.users
        groups = tuple("\u0433" * 195 + f"{number:03}" for number in range(256))
        users["bob"] = replace(users["bob"], groups=groups)
        hand = await stage.logged_in("ada")
        form = await form_of(hand, "bob")
        assert "groups" not in form
        assert (await hand.post(CHANGE, {**form, "name": "Bob"})).status_code == 303
        assert (users["bob"].name, users["bob"].groups) == ("Bob", groups)


def test_a_mark_is_of_what_a_list_holds_in_any_order() -> None:
    assert mark(["b", "a"]) == mark(("a", "b", "a"))
    assert len({mark(each) for each in ("a b", ["a b"], ["a", "b"], "", [])}) == 5


def test_a_field_without_a_mark_is_no_part_of_a_form() -> None:
    form = Form({"was_a": [mark("old")], "a": ["new"], "b": ["new"]})
    given = {"a": "new", "b": "new", "c": None}
    assert edited(form, given, {"a": "old", "b": "old", "c": "old"}, "x") == {"a": "new"}
