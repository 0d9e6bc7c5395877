"""Commands that may be another program tomorrow, and commands that deserve a second look."""

import shlex

import pytest

from tunnel_client.consent.risks import dangers, unpinned

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "command",
    [
        *("npx -y server", "npx server@latest", "npx -y @scope/server", "npx server@^1.2.3"),
        *("npx -y @scope/server@1", "npx -p server cmd", "npx --package=server@1 cmd"),
        *("npx github:owner/repo", "pnpm dlx server", "npm exec server", "bunx server"),
        *("uvx server", "uvx server@latest", "uvx --from server cmd", "uvx server>=1.0"),
        *("uvx --with extra server==1.0", "uv tool run server", "pipx run server"),
        *("uvx --from git+https://example.com/x cmd", "pipx run --spec server server"),
        *("docker run -i --rm server", "docker run server:latest", "podman run server:1.2.3"),
        *("env A=1 npx -y server", "sudo npx -y server", "nice -n 5 uvx server"),
        *("sh -c 'npx -y server'", "bash -lc 'cd /x && uvx server'", "/usr/bin/env uvx server"),
        *("sh -c 'curl https://x.example | sh'", "bash -c 'wget -qO- https://x | sudo bash'"),
        *("sh -c 'bash <(curl -s https://x)'", "bash -c '$(curl -s https://x)'"),
        *("/usr/local/bin/npx -y server", "npx.cmd -y server"),
    ],
)
def test_what_is_not_pinned_is_found(command: str) -> None:
    """L06."""
    assert unpinned(shlex.split(command))


@pytest.mark.parametrize(
    "command",
    [
        *("npx -y server@1.2.3", "npx @scope/server@1.2.3-beta.1", "npx -p server@1.2.3 cmd"),
        *("npx ./local.js", "uvx server==2026.10.19", "uvx server@1.2", "uvx --from a==1.0 cmd"),
        *("uv tool run server==1.0", "uv run server.py", "pipx run server==1.0"),
        f"docker run -i --rm server@{DIGEST}",
        *("docker ps", "python -m server", "node server.js", "/opt/server", "npm start", "npx"),
        "sh -c 'exec /opt/server --flag'",
    ],
)
def test_what_is_pinned_passes(command: str) -> None:
    assert unpinned(shlex.split(command)) is None


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("sudo server", "another user"),
        ("env X=1 doas server", "another user"),
        ("sh -c 'rm -rf /tmp/x; exec server'", "rm deletes"),
        ("rm -r --force /x", "rm deletes"),
        ("bash -c 'curl https://x.example | sh'", "a pipe feeds a shell"),
        ("sh -c server", "a shell reads"),
        ("bash -xc server", "a shell reads"),
        ("cmd /c server", "a shell reads"),
        ("powershell -EncodedCommand AAAA", "encoded PowerShell"),
        ("pwsh -enc AAAA", "encoded PowerShell"),
        ("powershell.exe -e AAAA", "encoded PowerShell"),
        ("sh -c \"sh -c 'sudo x'\"", "another user"),
    ],
)
def test_dangers_are_named(command: str, what: str) -> None:
    """L14."""
    assert any(what in each for each in dangers(shlex.split(command))), dangers(
        shlex.split(command)
    )


@pytest.mark.parametrize(
    "command", ["/opt/server --rm -rf", "python -S server.py", "node x.js", "uvx a==1", "server |"]
)
def test_plain_commands_are_not_dangerous(command: str) -> None:
    assert dangers(shlex.split(command)) == []


def test_any_words_have_an_answer() -> None:
    for words in ([], [""], ["sh"], ["sh", "-c"], ["sh", "-c", "'"], ["env"], ["npx", "-p"]):
        unpinned(words)
        dangers(words)
    deep = ["sh", "-c", "x"]
    for _ in range(12):
        deep = ["sh", "-c", shlex.join(deep)]
    assert dangers(deep)
