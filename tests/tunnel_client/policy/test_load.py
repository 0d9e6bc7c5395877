"""Row P11: a policy file is read with care, and never lost once it was good."""

from pathlib import Path

import pytest

from shared.policy.keeping import PolicyFile
from tunnel_client.errors import ClientError, NoPolicyError, PolicyBrokenError, UnsafeFileError
from tunnel_client.policy.default import default_policy
from tunnel_client.policy.load import load_policy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "policy.yaml"
    place.write_text(default_policy())
    place.chmod(0o600)
    return place


def test_a_good_file_is_loaded(path: Path) -> None:
    assert isinstance(load_policy(path), PolicyFile)


def test_there_is_no_start_without_one(path: Path) -> None:
    path.unlink()
    with pytest.raises(NoPolicyError):
        load_policy(path)


@pytest.mark.parametrize("content", [b"", b"rules: [", b"version: 1\n", b"\xff\xfe", b"allow all"])
def test_there_is_no_start_with_a_broken_one(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(PolicyBrokenError, match=str(path)):
        load_policy(path)


def test_a_file_others_may_change_is_refused(path: Path) -> None:
    path.chmod(0o622)
    with pytest.raises(UnsafeFileError):
        load_policy(path)


def test_what_goes_wrong_later_leaves_the_policy(path: Path) -> None:
    file = load_policy(path)
    before = file.policy

    def opened_up() -> None:
        path.write_text("version: 1\nrules: [{id: a, match: {}, effect: allow}]\n")
        path.chmod(0o666)

    for harm in (lambda: path.write_text("rul"), opened_up, path.unlink):
        harm()
        assert file.poll() is None
        outcome = file.poll()
        assert outcome is not None
        assert outcome.problem
        assert file.policy is before
    assert issubclass(NoPolicyError, ClientError)
    opened_up()
    assert file.poll() is None
    refused = file.poll()
    assert refused is not None
    assert refused.problem
    path.chmod(0o600)  # what the refusal says to do
    assert file.poll() is None
    mended = file.poll()
    assert mended is not None
    assert (mended.changed, mended.problem) == (True, None)


def test_an_exchanged_file_is_seen(path: Path) -> None:
    file = load_policy(path)
    other = path.with_name("new")
    other.write_text(default_policy().replace("15m", "5m"))
    other.chmod(0o600)
    other.replace(path)
    assert file.poll() is None
    outcome = file.poll()
    assert outcome is not None
    assert outcome.changed
