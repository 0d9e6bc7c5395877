"""The shape of the code: small files, small functions, said in words, each with its tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "tunnel_client", "tunnel_relay")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
FILES = sorted(
    path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if "versions" not in path.parts
)
"""All modules; a migration is a record of what was done once, not code to keep small."""

Function = ast.FunctionDef | ast.AsyncFunctionDef

WITHOUT_BEHAVIOUR: dict[str, str] = {
    "shared/record/export/names.py": "names",
    "shared/errors.py": "names and numbers; docs/protocol.md is compared with them",
    "shared/version.py": "three constants",
    "shared/wire/events.py": "values",
    "shared/wire/limits.py": "numbers; docs/protocol.md is compared with them",
    "shared/link/owner.py": "protocols",
    "shared/link/transport.py": "protocols",
    "tunnel_client/doctor/errors.py": "names and texts; docs/ is compared with them",
    "tunnel_client/doctor/scene.py": "values",
    "tunnel_client/upstream/base.py": "protocols, and a look at one header",
    "tunnel_client/errors_connect.py": "names and texts; docs/ is compared with them",
    "tunnel_client/errors_service.py": "names and texts; docs/ is compared with them",
    "tunnel_client/errors_upstreams.py": "names and texts; docs/ is compared with them",
    "tunnel_relay/doctor/scene.py": "values",
    "tunnel_relay/gateway/patience.py": "numbers",
    "tunnel_relay/store/approvals.py": "protocols and values",
    "tunnel_relay/store/base.py": "protocols and values",
    "tunnel_relay/store/passkeys.py": "protocols and values",
    "tunnel_relay/store/people.py": "protocols",
    "tunnel_relay/store/tasks.py": "a protocol and a value",
}
"""Modules with nothing to test, and why."""

TESTED_BY: dict[str, str] = {
    "tunnel_client/proxy_connection.py": "tests/tunnel_client/test_dial.py",
    "tunnel_client/references.py": "tests/integration/test_diag.py",
    "tunnel_client/service/apply.py": "tests/tunnel_client/test_cli_service.py",
    "tunnel_client/service/plan.py": "tests/tunnel_client/test_cli_service.py",
    "tunnel_client/service/units.py": "tests/tunnel_client/test_cli_service.py",
    "tunnel_client/cli_diag.py": "tests/integration/test_diag.py",
    "tunnel_relay/cli_diag.py": "tests/integration/test_diag.py",
    "shared/wire/control.py": "tests/shared/wire/test_mux.py",
    "shared/audit/keeping.py": "tests/integration/test_audit_faults.py",
    "shared/ours.py": "tests/integration/test_looking_after.py",
    "shared/policy/model.py": "tests/shared/policy/test_rules.py",
    "shared/policy/reading.py": "tests/shared/policy/test_document.py",
    "shared/policy/ruletext.py": "tests/shared/policy/test_document.py",
    "shared/audit_cli/exporting.py": "tests/shared/audit/export/test_exporter.py",
    "shared/audit/export/cursor.py": "tests/shared/audit/export/test_exporter.py",
    "shared/audit/export/exports.py": "tests/integration/test_audit_export.py",
    "shared/audit/export/gauges.py": "tests/integration/test_audit_export.py",
    "shared/audit/export/net.py": "tests/shared/audit/export/test_sinks.py",
    "shared/record/export/cef.py": "tests/shared/record/export/test_formats.py",
    "shared/record/export/joined.py": "tests/shared/record/export/test_formats.py",
    "shared/record/export/ecs.py": "tests/shared/record/export/test_ocsf.py",
    "shared/record/export/syslog.py": "tests/shared/record/export/test_formats.py",
    "shared/record/export/words.py": "tests/shared/record/export/test_ocsf.py",
    "shared/audit/disk.py": "tests/shared/audit/test_syncing.py",
    "shared/record/differences.py": "tests/shared/record/test_reconcile.py",
    "shared/record/pairs.py": "tests/shared/record/test_reconcile.py",
    "shared/record/strange.py": "tests/shared/record/test_reconcile.py",
    "shared/audit_cli/group.py": "tests/shared/audit_cli/test_looking.py",
    "shared/audit_cli/program.py": "tests/shared/audit_cli/test_looking.py",
    "shared/audit/replay.py": "tests/shared/audit_cli/test_looking.py",
    "shared/audit/signing.py": "tests/shared/audit/test_log.py",
    "shared/audit/timers.py": "tests/shared/audit/test_log.py",
    "shared/audit/tombstones.py": "tests/shared/audit/test_retention.py",
    "tunnel_relay/report/client_checks.py": "tests/tunnel_relay/report/test_document.py",
    "tunnel_relay/report/relay_checks.py": "tests/tunnel_relay/report/test_document.py",
    "tunnel_relay/report/rule_checks.py": "tests/tunnel_relay/report/test_document.py",
    "shared/audit/export/wording.py": "tests/integration/test_audit_export.py",
    "tunnel_client/app.py": "tests/integration/test_link_failures.py",
    "tunnel_client/audit/calls.py": "tests/integration/test_audit_client.py",
    "tunnel_client/audit/commands.py": "tests/integration/test_audit_client.py",
    "tunnel_client/audit/keep.py": "tests/integration/test_audit_faults.py",
    "tunnel_client/bridge.py": "tests/integration/test_streaming.py",
    "tunnel_client/cli_report.py": "tests/tunnel_client/test_report.py",
    "tunnel_client/cli_upstream.py": "tests/tunnel_client/test_cli.py",
    "tunnel_client/cli_options.py": "tests/tunnel_client/test_cli.py",
    "tunnel_client/client.py": "tests/integration/test_links.py",
    "tunnel_client/client_link.py": "tests/integration/test_links.py",
    "tunnel_client/process.py": "tests/integration/test_links.py",
    "tunnel_client/stuck.py": "tests/integration/test_resume.py",
    "tunnel_client/cli_doctor.py": "tests/integration/test_doctor.py",
    "tunnel_client/doctor/link.py": "tests/integration/test_doctor.py",
    "tunnel_client/doctor/local.py": "tests/integration/test_doctor.py",
    "tunnel_client/doctor/table.py": "tests/integration/test_doctor.py",
    "tunnel_client/metrics.py": "tests/integration/test_metrics.py",
    "tunnel_client/permit_desk.py": "tests/integration/test_policy.py",
    "tunnel_client/telling.py": "tests/integration/test_policy.py",
    "tunnel_relay/gateway/verdicts.py": "tests/integration/test_policy.py",
    "tunnel_relay/codes.py": "tests/tunnel_relay/test_errors.py",
    "tunnel_relay/policy/watch.py": "tests/integration/test_policy.py",
    "tunnel_client/credentials/make.py": "tests/tunnel_client/credentials/test_guarded.py",
    "tunnel_client/connect/listener.py": "tests/tunnel_client/connect/test_carrier.py",
    "tunnel_client/connect/listing.py": "tests/tunnel_client/connect/test_carrier.py",
    "tunnel_client/connect/run.py": "tests/tunnel_client/test_cli_connect.py",
    "tunnel_client/connect/server.py": "tests/tunnel_client/connect/test_carrier.py",
    "tunnel_client/connect/token_endpoint.py": "tests/tunnel_client/connect/test_login.py",
    "tunnel_client/policy/watch.py": "tests/integration/test_policy.py",
    "tunnel_client/policy/start.py": "tests/tunnel_client/test_cli_policy.py",
    "tunnel_client/tool_pins.py": "tests/tunnel_client/test_cli_tools.py",
    "tunnel_relay/admin/answers.py": "tests/tunnel_relay/admin/test_api.py",
    "tunnel_relay/admin/call.py": "tests/tunnel_relay/admin/test_control.py",
    "tunnel_relay/admin/callers.py": "tests/tunnel_relay/admin/test_api.py",
    "tunnel_relay/admin/core.py": "tests/tunnel_relay/admin/test_service.py",
    "tunnel_relay/admin/grants.py": "tests/tunnel_relay/admin/test_service.py",
    "tunnel_relay/admin/links.py": "tests/tunnel_relay/admin/test_service.py",
    "tunnel_relay/admin/reach.py": "tests/tunnel_relay/test_cli.py",
    "tunnel_relay/admin/runtime.py": "tests/tunnel_relay/admin/test_control.py",
    "tunnel_relay/admin/tunnels.py": "tests/tunnel_relay/admin/test_service.py",
    "tunnel_relay/admin/views.py": "tests/tunnel_relay/admin/test_service.py",
    "tunnel_relay/app.py": "tests/integration/test_sessions.py",
    "tunnel_relay/checks.py": "tests/tunnel_relay/test_init.py",
    "tunnel_relay/cli_grants.py": "tests/tunnel_relay/test_cli.py",
    "shared/link/control.py": "tests/shared/link/test_driver.py",
    "tunnel_relay/console/agents.py": "tests/tunnel_relay/console/test_pages.py",
    "tunnel_relay/console/locks.py": "tests/tunnel_relay/console/test_pages.py",
    "tunnel_relay/console/overview.py": "tests/tunnel_relay/console/test_pages.py",
    "tunnel_relay/console/scrape.py": "tests/integration/test_metrics.py",
    "tunnel_relay/metrics.py": "tests/integration/test_metrics.py",
    "tunnel_relay/console/sessions.py": "tests/tunnel_relay/console/test_pages.py",
    "tunnel_relay/console/tunnels.py": "tests/tunnel_relay/console/test_pages.py",
    "tunnel_relay/console/users.py": "tests/tunnel_relay/console/test_pages.py",
    "tunnel_relay/console/visit.py": "tests/tunnel_relay/console/test_pages.py",
    "tunnel_relay/cli_doctor.py": "tests/integration/test_doctor_relay.py",
    "tunnel_relay/doctor/outside.py": "tests/tunnel_relay/doctor/test_table.py",
    "tunnel_relay/doctor/local.py": "tests/tunnel_relay/doctor/test_table.py",
    "tunnel_relay/devcert.py": "tests/tunnel_relay/test_init.py",
    "tunnel_relay/gateway/call.py": "tests/integration/test_streaming.py",
    "tunnel_relay/gateway/connection.py": "tests/integration/test_agent_bytes.py",
    "tunnel_relay/gateway/http.py": "tests/integration/test_agent_http.py",
    "tunnel_relay/gateway/responses.py": "tests/integration/test_agent_http.py",
    "tunnel_relay/gateway/running.py": "tests/integration/test_review.py",
    "tunnel_relay/identity/oidc_pages.py": "tests/integration/test_oidc_login.py",
    "tunnel_relay/serve.py": "tests/system/test_demo.py",
    "tunnel_relay/policy/start.py": "tests/tunnel_relay/test_cli_policy.py",
    "tunnel_relay/server.py": "tests/tunnel_relay/console/test_listener.py",
    "tunnel_relay/setting_types.py": "tests/tunnel_relay/test_settings.py",
    "tunnel_relay/store/schema.py": "tests/tunnel_relay/store/test_sql.py",
    "tunnel_relay/store/sql_approvals.py": "tests/tunnel_relay/approvals/test_desk.py",
    "tunnel_relay/store/sql_passkeys.py": "tests/tunnel_relay/admin/test_passkeys.py",
    "tunnel_relay/store/sql_people.py": "tests/tunnel_relay/admin/test_users.py",
    "tunnel_relay/store/sql_sessions.py": "tests/tunnel_relay/store/test_sql.py",
    "tunnel_relay/store/sql_tasks.py": "tests/tunnel_relay/store/test_sql.py",
    "tunnel_relay/store/sql_tunnels.py": "tests/tunnel_relay/store/test_sql.py",
    "tunnel_relay/store/tables.py": "tests/tunnel_relay/store/test_sql.py",
}
"""Modules whose work only shows together with others, and the tests where it does."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_short_enough_to_read_at_once(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = {
        node.name: lines
        for node in functions(ast.parse(path.read_text()))
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert long == {}


def undocumented(node: ast.AST) -> Iterator[str]:
    """Yield public classes and functions without a docstring.

    A method is left out: what it is for is often said by the protocol or base it follows.
    """
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | Function) or child.name.startswith("_"):
            continue
        if ast.get_docstring(child) is None:
            yield child.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_is_public_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())
    missing = list(undocumented(tree))
    if tree.body and ast.get_docstring(tree) is None:
        missing.append("the module")
    assert missing == []


MODULES = [path for path in FILES if path.name not in ("__init__.py", "__main__.py", "env.py")]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_has_its_tests_where_one_looks_for_them(path: Path) -> None:
    relative = path.relative_to(ROOT)
    mirror = ROOT / "tests" / relative.with_name(f"test_{relative.name}")
    if name(path) in WITHOUT_BEHAVIOUR or name(path) in TESTED_BY:
        assert not mirror.exists(), "it has tests of its own: take it out of the list"
    else:
        assert mirror.exists(), f"add {name(mirror)}"


def test_the_lists_of_exceptions_name_real_modules_and_tests() -> None:
    modules = {name(path) for path in MODULES}
    assert set(WITHOUT_BEHAVIOUR) | set(TESTED_BY) <= modules
    assert not set(WITHOUT_BEHAVIOUR) & set(TESTED_BY)
    assert [path for path in TESTED_BY.values() if not (ROOT / path).exists()] == []


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    folders = {folder for folder in folders if "node_modules" not in folder.parts}
    assert [name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_programs_are_packages_all_the_way_down() -> None:
    folders = {path.parent for path in FILES}
    assert [name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


OPENS_SECRETS: dict[str, str] = {
    "tunnel_client/references.py": "variables of programs, that may be references",
    "tunnel_client/cli_diag.py": "what is looked for in the archive, to be masked",
    "tunnel_client/consent/facts.py": "the keyed digest of what was agreed to",
    "tunnel_client/credentials/inject.py": "what upstreams and their logins are shown",
    "tunnel_client/dial.py": "the login of the proxy on the way to the relay",
    "tunnel_client/doctor/through.py": "a session token for one call, of whoever asks for it",
    "tunnel_client/enroll.py": "the join code goes to the relay, once",
    "tunnel_client/identity.py": "the client's own key goes to its file",
    "tunnel_client/connect/login.py": "the bridge's own login at the relay",
    "tunnel_client/connect/server.py": "the bridge's own token for the relay",
    "tunnel_client/connect/token_store.py": "the bridge keeps its own login",
}
"""Modules of the client that open a secret, and what for; upstreams' secrets in one of them."""


def test_secrets_are_opened_where_it_is_said() -> None:
    opening = {
        name(path)
        for path in FILES
        if path.is_relative_to(ROOT / "tunnel_client") and "get_secret_value" in path.read_text()
    }
    assert opening == set(OPENS_SECRETS)
