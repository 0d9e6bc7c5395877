"""What is wrong with a command line before anybody runs it: unpinned packages, known dangers; pure.

A help for the person who consents, not a barrier: what really binds is the digest of the program
and the sandbox around it. So it looks for the usual forms and does not try to outwit a hider.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePath

_SHELLS = (
    "sh",
    "bash",
    "dash",
    "zsh",
    "ksh",
    "fish",
    "ash",
    "busybox",
    "cmd",
    "powershell",
    "pwsh",
)
_POWERSHELLS = ("powershell", "pwsh")
_RAISERS = ("sudo", "doas", "su", "pkexec", "runuser")
_FETCHERS = ("curl", "wget", "fetch", "iwr", "irm", "invoke-webrequest")
_PREFIXES = ("env", "nice", "nohup", "stdbuf", "timeout", "setsid", *_RAISERS)
_NODE_RUNNERS = ("npx", "pnpx", "bunx")
_NODE_PINNED = re.compile(r"@?[^@\s]+@v?\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?")
_PYTHON_PINNED = re.compile(r"[A-Za-z0-9._-]+(?:\[[^\]]*\])?(?:==|@)\d+[A-Za-z0-9.!+_-]*")
_IMAGE_PINNED = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_SEPARATORS = re.compile(r"\|\||&&|[|;&\n]")


def unpinned(argv: Sequence[str]) -> str | None:
    """Say which part of a command may be another program tomorrow; None when no part is."""
    for words in _commands(argv):
        reason = _unpinned(words)
        if reason is not None:
            return reason
    if any(_fetched_and_run(text) for text in _scripts(argv)):
        return "what is downloaded goes straight to a shell"
    return None


def dangers(argv: Sequence[str]) -> list[str]:
    """Return what in a command deserves a second look, one line each."""
    found: list[str] = []
    for words in _commands(argv):
        name = _name(words[0])
        rest = [word.lower() for word in words[1:]]
        if name in _RAISERS:
            found.append(f"{name} runs it as another user")
        if name == "rm" and any(
            re.fullmatch(r"-[a-z]*[rf][a-z]*|--recursive|--force", each) for each in rest
        ):
            found.append("rm deletes without asking")
        if name in _POWERSHELLS and any(
            re.fullmatch(r"[-/]e(nc?|c|ncodedcommand)?", each) for each in rest
        ):
            found.append("an encoded PowerShell command hides what it does")
    for text in _scripts(argv):
        found.append("a shell reads an argument as commands")
        if re.search(r"\|\s*(?:\S*/)?(?:" + "|".join(_SHELLS) + r")\b", text, re.IGNORECASE):
            found.append("a pipe feeds a shell")
    return list(dict.fromkeys(found))


def _name(word: str) -> str:
    return PurePath(word.replace("\\", "/")).name.lower().removesuffix(".exe").removesuffix(".cmd")


def _commands(argv: Sequence[str], depth: int = 4) -> Iterator[list[str]]:
    """Yield every command inside a command line, its prefixes and what shells are told included."""
    words = list(argv)
    while words:
        yield words
        if _name(words[0]) not in _PREFIXES:
            break
        words = words[1:]
        while words and (words[0].startswith("-") or "=" in words[0] or words[0].isdigit()):
            words = words[1:]
    if depth > 0:
        for text in _scripts(argv):
            for part in _SEPARATORS.split(text):
                inner = _split(part)
                if inner:
                    yield from _commands(inner, depth - 1)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _scripts(argv: Sequence[str]) -> Iterator[str]:
    """Yield the texts that shells on a command line are given to run."""
    for at, word in enumerate(argv):
        if _name(word) in _SHELLS:
            for place, option in enumerate(argv[at + 1 :], at + 1):
                if re.fullmatch(r"-[a-z]*c|/c|-command", option, re.IGNORECASE):
                    yield " ".join(argv[place + 1 :])
                    return


def _fetched_and_run(text: str) -> bool:
    shells = "|".join((*_SHELLS, "python3?", "node", "iex"))
    fetch = "|".join(_FETCHERS)
    piped = rf"\b(?:{fetch})\b.*\|\s*(?:sudo\s+)?(?:\S*/)?(?:{shells})\b"
    inside = rf"(?:\$\(|`|<\()\s*(?:{fetch})\b"
    return re.search(f"{piped}|{inside}", text, re.IGNORECASE | re.DOTALL) is not None


def _unpinned(words: Sequence[str]) -> str | None:
    name, rest = _name(words[0]), list(words[1:])
    if name in _NODE_RUNNERS or (
        name in ("npm", "pnpm", "yarn", "bun") and rest[:1] in (["exec"], ["dlx"], ["x"])
    ):
        rest = rest if name in _NODE_RUNNERS else rest[1:]
        return _judge(_packages(rest, ("-p", "--package")), _NODE_PINNED, "@1.2.3")
    if name == "uvx" or (name == "uv" and rest[:2] == ["tool", "run"]):
        rest = rest if name == "uvx" else rest[2:]
        return _judge(_packages(rest, ("--from", "--with", "-w")), _PYTHON_PINNED, "==1.2.3")
    if name == "uv" and rest[:1] == ["run"]:
        given = _packages(rest[1:], ("--with", "-w"))[:-1]
        return _judge(given, _PYTHON_PINNED, "==1.2.3") if given else None
    if name == "pipx" and rest[:1] == ["run"]:
        return _judge(_packages(rest[1:], ("--spec", "--with")), _PYTHON_PINNED, "==1.2.3")
    runs_image = name in ("docker", "podman", "nerdctl") and {"run", "create"} & set(rest[:2])
    if runs_image and not any(_IMAGE_PINNED.fullmatch(word) for word in rest):
        return "the image is named without its digest; name it as IMAGE@sha256:..."
    return None


def _packages(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return the packages a runner is told to fetch: those of options, or else the first word."""
    given: list[str] = []
    main: str | None = None
    waiting = False
    for word in words:
        option, equals, value = word.partition("=")
        if waiting:
            given.append(word)
            waiting = False
        elif option in options and word.startswith("-"):
            if equals:
                given.append(value)
            waiting = not equals
        elif not word.startswith("-"):
            main = word
            break
    names_it = {"-p", "--package", "--from", "--spec"} & set(options)
    # With `--from` and its like the first word is only the command inside of the package.
    replaced = any(word.partition("=")[0] in names_it for word in words)
    return given if given and replaced else [*given, *([main] if main else [])]


def _judge(packages: Sequence[str], pinned: re.Pattern[str], form: str) -> str | None:
    for package in packages:
        if package.startswith(("./", "/", "../")) or pinned.fullmatch(package):
            continue
        return f"{package} is fetched in whatever version is newest; name one, as {package}{form}"
    return None
