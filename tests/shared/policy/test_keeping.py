"""Row P11: a policy that breaks later leaves the last good one in force."""

from pathlib import Path

import pytest

from shared.configfile import ConfigError
from shared.policy.keeping import PolicyFile, Stamp

GOOD = "version: 1\nrules:\n- {id: a, match: {}, effect: allow}\n"
OTHER = GOOD + "- {id: b, match: {}, effect: deny}\n"


class Disk:
    """A file that a test changes; every write is seen."""

    def __init__(self, text: str | None = GOOD) -> None:
        self.writes = 0
        self.text = text
        self.reads = 0
        self.trouble: OSError | None = None

    def write(self, text: str | None) -> None:
        self.writes += 1
        self.text = text

    def read(self) -> str:
        self.reads += 1
        if self.trouble is not None:
            raise self.trouble
        if self.text is None:
            raise FileNotFoundError(2, "No such file")
        return self.text

    def stamp(self) -> Stamp:
        return None if self.text is None else (self.writes, len(self.text), 1)

    def file(self) -> PolicyFile:
        return PolicyFile("p.yaml", self.read, self.stamp)


@pytest.mark.parametrize(
    "text", ["", "version: 1\n", "rules: [", None, "version: 1\nrules: [{}]\n"]
)
def test_the_first_load_is_good_or_fails(text: str | None) -> None:
    with pytest.raises((ConfigError, OSError)):
        Disk(text).file()


@pytest.mark.parametrize("text", ["", "version: 1\nru", GOOD[:-5], None, GOOD.replace("a", "*")])
def test_a_broken_file_leaves_the_old_policy_and_says_why(text: str | None) -> None:
    disk = Disk()
    file = disk.file()
    before = file.policy
    disk.write(text)
    outcome = file.reload()
    assert file.policy is before
    assert not outcome.changed
    assert outcome.problem
    assert file.problem == outcome.problem
    disk.write(OTHER)
    mended = file.reload()
    assert (mended.changed, mended.problem) == (True, None)
    assert mended.digest == file.policy.digest
    assert not file.problem
    assert len(file.policy.rules) == 2


def test_the_same_meaning_keeps_the_same_policy() -> None:
    disk = Disk()
    file = disk.file()
    before = file.policy
    disk.write("# looked at\n" + GOOD)
    assert file.reload() == (False, before.digest, None)
    assert file.policy is before


def test_a_file_is_taken_once_it_stays_as_it_is() -> None:
    disk = Disk()
    file = disk.file()
    assert file.poll() is None
    disk.write(OTHER[:30])  # being written
    assert file.poll() is None
    disk.write(OTHER)
    assert file.poll() is None
    assert len(file.policy.rules) == 1
    outcome = file.poll()
    assert outcome is not None
    assert outcome.changed
    reads = disk.reads
    assert file.poll() is None
    assert disk.reads == reads


def test_a_file_that_went_away_is_told_once() -> None:
    disk = Disk()
    file = disk.file()
    disk.write(None)
    assert file.poll() is None
    outcome = file.poll()
    assert outcome is not None
    assert outcome.problem is not None
    assert file.poll() is None
    assert file.problem == outcome.problem


def test_a_read_that_fails_once_is_tried_again_and_told_once() -> None:
    disk = Disk()
    file = disk.file()
    disk.write(OTHER)
    disk.trouble = OSError(5, "Input/output error")
    assert file.poll() is None
    told = file.poll()
    assert told is not None
    assert told.problem is not None
    assert file.poll() is None  # read again, and the same is not told again
    assert file.problem == told.problem
    disk.trouble = OSError(13, "Permission denied")
    other = file.poll()
    assert other is not None
    assert other.problem not in (None, told.problem)
    disk.trouble = None
    mended = file.poll()
    assert mended == (True, file.policy.digest, None)
    assert len(file.policy.rules) == 2
    assert file.poll() is None


def test_a_text_that_is_broken_is_not_read_again_until_it_changes() -> None:
    disk = Disk()
    file = disk.file()
    disk.write(OTHER[:30])
    assert file.poll() is None
    assert file.poll() is not None
    reads = disk.reads
    assert file.poll() is None
    assert disk.reads == reads


def test_the_source_is_what_problems_name(tmp_path: Path) -> None:
    place = str(tmp_path / "x.yaml")
    with pytest.raises(ConfigError, match=r"x\.yaml:1"):
        PolicyFile(place, lambda: "", lambda: None)
