"""What a program needs to read is found along the links and first lines that lead to it."""

from pathlib import Path

import pytest

from tunnel_client.sandbox.trees import STDLIB, chain_of, is_broad, python_trees, trees_of


def program(place: Path, text: str = "\x7fELF") -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)
    return place


def trees(*argv: object, protected: Path = Path("/nonexistent"), **more: Path) -> list[Path]:
    chain = chain_of([str(word) for word in argv], more.get("cwd"), {"PATH": "/usr/bin:/bin"})
    return trees_of(chain, [protected], more.get("home"))


def test_a_virtual_environment_shows_itself_and_the_python_it_was_made_of(tmp_path: Path) -> None:
    real = program(tmp_path / "python" / "bin" / "python3.12")
    (tmp_path / "python" / "lib").mkdir()
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    (venv / "bin" / "python3").symlink_to(real)
    (venv / "bin" / "python").symlink_to("python3")
    script = program(venv / "bin" / "server", f"#!{venv}/bin/python\n")
    assert trees(script) == [venv, tmp_path / "python"]
    files = chain_of([str(script)], None, {}).files
    assert files == (script, real), "the script and its interpreter are both part of it"


def test_a_script_given_to_an_interpreter_is_part_of_it(tmp_path: Path) -> None:
    """L05."""
    python = program(tmp_path / "python" / "python3")
    script = program(tmp_path / "server" / "main.py", "print()")
    argv = [str(python), "-S", "main.py", "--option"]
    assert chain_of(argv, script.parent, {}).files == (python, script)
    assert trees(*argv, cwd=script.parent) == [python.parent, script.parent]
    for words in (["-m", "main.py"], ["-c", "main.py"], ["-S"]):
        assert chain_of([str(python), *words], script.parent, {}).files == (python,)
    other = program(tmp_path / "tool")
    assert chain_of([str(other), "main.py"], script.parent, {}).files == (other,)


def test_a_node_package_shows_all_packages_beside_it(tmp_path: Path) -> None:
    server = program(tmp_path / "app/node_modules/@x/server/dist/index.js", "#!/usr/bin/env sh\n")
    link = tmp_path / "app/node_modules/.bin/server"
    link.parent.mkdir()
    link.symlink_to("../@x/server/dist/index.js")
    assert trees(link) == [tmp_path / "app/node_modules"]
    found = chain_of([str(link)], None, {"PATH": "/usr/bin:/bin"}).files
    assert found[0] == server
    assert found[1].name in ("dash", "bash", "busybox", "sh"), "what env would find"


def test_a_program_in_a_home_or_beside_our_key_shows_only_itself(tmp_path: Path) -> None:
    """C19: no tree holds the state folder, the configuration or a home."""
    home = tmp_path / "home"
    server = program(home / "server.py")
    assert trees(server, home=home) == [server]
    local = program(home / ".local" / "bin" / "server")
    (home / ".local" / "lib").mkdir()
    state = home / ".local" / "state" / "tunnel-client"
    assert trees(local, protected=state, home=home) == [home / ".local" / "bin"]
    assert trees(local, protected=local.parent / "client.toml", home=home) == [local]


def test_the_launchers_python_shows_itself_alone_where_its_prefix_holds_more(
    tmp_path: Path,
) -> None:
    """C19: a Python that was installed below ~/.local, beside the client's state."""
    prefix = tmp_path / ".local"
    python = program(prefix / "bin" / "python3")
    library = prefix / "lib" / STDLIB
    library.mkdir(parents=True)
    shared = prefix / "lib" / "libpython3.so.1"
    shared.touch()
    assert python_trees(python, [tmp_path / "elsewhere"], None) == [prefix]
    alone = [python, library, shared]
    assert python_trees(python, [prefix / "state" / "client.key"], None) == alone
    assert python_trees(python, [], prefix) == alone
    assert python_trees(python, [library / "client.key"], None) == [python, shared]
    assert python_trees(Path("/usr/bin/python3"), [], None) == []


@pytest.mark.parametrize("folder", ["/", "/home", "/root", "/etc", "/tmp", "/var"])
def test_some_folders_are_always_too_broad(folder: str) -> None:
    assert is_broad(Path(folder), [])


def test_a_link_to_itself_and_a_missing_program_are_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert chain_of([str(tmp_path / "loop")], None, {}).files == ()
    assert chain_of([str(tmp_path / "none")], None, {}).files == ()
    itself = program(tmp_path / "itself")
    itself.write_text(f"#!{itself}\n")
    assert chain_of([str(itself)], None, {}).files == (itself,)


def test_links_are_followed_as_the_kernel_follows_them(tmp_path: Path) -> None:
    """L05: `..` is taken from where a folder really is, so the program is found and hashed."""
    real = program(tmp_path / "data" / "shared" / "prog")
    (tmp_path / "data" / "mcp-1" / "bin").mkdir(parents=True)
    (tmp_path / "mcp").symlink_to("data/mcp-1")
    (tmp_path / "mcp" / "bin" / "server").symlink_to("../../shared/prog")
    argv = [str(tmp_path / "mcp" / "bin" / "server")]
    assert chain_of(argv, None, {}).files == (real,)
    (tmp_path / "gone").symlink_to(tmp_path / "mcp" / "bin" / "missing")
    assert chain_of([str(tmp_path / "gone")], None, {}).files == ()
