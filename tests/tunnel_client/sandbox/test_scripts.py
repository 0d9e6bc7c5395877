"""L05: the scripts that an interpreter is given are found, whatever words stand before them."""

from pathlib import Path

import pytest

from tunnel_client.sandbox.scripts import scripts_of

FILES = ("start.sh", "hook.js", "server.js", "x.mjs", ".env", "php.ini", "main.py", "data.db")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).write_text("x")
    return tmp_path


def names(folder: Path, argv: str) -> list[str]:
    return [each.name for each in scripts_of(argv.split(), folder, {"PATH": "/usr/bin:/bin"})]


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        ("bash start.sh data.db", ["start.sh"]),
        ("bash -e start.sh data.db", ["start.sh"]),
        ("bash -eu -o pipefail start.sh data.db", ["start.sh"]),
        ("bash --rcfile hook.js start.sh data.db", ["hook.js", "start.sh"]),
        ("bash -c start.sh", []),
        ("bash -ec start.sh", []),
        ("sh -- start.sh", ["start.sh"]),
        ("node server.js data.db", ["server.js"]),
        ("node --require ./hook.js server.js data.db", ["hook.js", "server.js"]),
        ("node -r ./hook.js server.js", ["hook.js", "server.js"]),
        ("node --import ./x.mjs --env-file=.env server.js", ["x.mjs", ".env", "server.js"]),
        ("node --env-file .env server.js", [".env", "server.js"]),
        ("node --inspect server.js", ["server.js"]),
        ("node -e server.js", []),
        ("node --no-warnings server.js data.db", ["server.js"]),
        ("node --new-option hook.js server.js data.db", ["hook.js", "server.js"]),
        ("node --new-option .env server.js data.db", [".env", "server.js"]),
        ("deno run -A server.js data.db", ["server.js"]),
        ("bun run server.js data.db", ["server.js"]),
        ("deno run --allow-net server.js", ["server.js"]),
        ("php -c php.ini server.js data.db", ["php.ini", "server.js"]),
        ("php -r start.sh", []),
        ("python3 -Ximporttime -Wcustom main.py data.db", ["main.py"]),
        ("python3.12 -S -W ignore main.py data.db", ["main.py"]),
        ("python3 -m main.py", []),
        ("python3 -Sm main.py", []),
        ("python3 -c main.py", []),
        ("ruby -rset main.py data.db", ["main.py"]),
        ("ruby --jit main.py data.db", ["main.py", "data.db"]),
        ("perl -e start.sh", []),
        ("tool main.py", []),
    ],
)
def test_scripts(folder: Path, argv: str, found: list[str]) -> None:
    assert names(folder, argv) == found


@pytest.mark.parametrize(
    "before",
    ["env", "/usr/bin/env", "env -i A=b", "env -u HOME", "env -S", "env - PATH=/bin"],
)
def test_env_is_looked_through(folder: Path, before: str) -> None:
    found = names(folder, f"{before} sh start.sh data.db")
    assert found[1:] == ["start.sh"]
    assert found[0] == "sh"


def test_env_in_another_folder(folder: Path) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "run.sh").write_text("x")
    assert names(folder, "env -C other sh run.sh")[1:] == ["run.sh"]
    assert names(folder, "env") == []
    assert names(folder, "env no-such-program start.sh") == []
