"""No committed file says where it was written or where its packages came from."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = Path(__file__).name
_HOSTS = "pypi.org|pythonhosted.org|registry.npmjs.org|registry.yarnpkg.com|proxy.golang.org"
REGISTRY = re.compile(rf"\b({_HOSTS})|\b(artifactory|nexus|devpi|verdaccio)\.[a-z0-9-]+\.[a-z]+")
MACHINE = re.compile(
    r"(?<![\w.:@}-])/(?:work|workspace|workspaces|Users|github|runner|mnt/[a-z]|home/[a-z][\w-]*|root)/[\w.-]"
)
"""A folder that exists on one machine; system places such as /etc and /run exist on all."""


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def found(pattern: re.Pattern[str]) -> list[str]:
    hits = []
    for path in committed():
        if path.name == OWN:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return hits


def test_no_file_names_a_package_registry() -> None:
    assert found(REGISTRY) == []


def test_no_file_holds_a_path_of_the_machine_it_was_written_on() -> None:
    assert found(MACHINE) == []


@pytest.mark.parametrize(
    "line", ["/work/x", "see /home/kim/project", '"/Users/kim/x"', "cd /root/project"]
)
def test_a_path_of_a_machine_is_recognised(line: str) -> None:
    assert MACHINE.search(line)


@pytest.mark.parametrize("line", ["/etc/mcp", "/run/x.sock", "a/work/b", "https://x/work/y"])
def test_other_paths_are_left_alone(line: str) -> None:
    assert not MACHINE.search(line)
