"""Row P11: a policy file is read with care, and never lost once it was good."""

from pathlib import Path

import pytest

from tunnel_relay.errors import Code, RelayError
from tunnel_relay.policy.default import default_policy
from tunnel_relay.policy.load import load_policy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "policy.yaml"
    place.write_text(default_policy())
    place.chmod(0o600)
    return place


def refusal(path: Path) -> Code:
    with pytest.raises(RelayError) as caught:
        load_policy(path)
    return caught.value.code


def test_a_good_file_is_loaded(path: Path) -> None:
    assert len(load_policy(path).policy.rules) == 1


def test_there_is_no_start_without_one(path: Path) -> None:
    path.unlink()
    assert refusal(path) is Code.POLICY_MISSING


@pytest.mark.parametrize("content", [b"", b"rules: [", b"version: 1\n", b"allow all"])
def test_there_is_no_start_with_a_broken_one(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert refusal(path) is Code.POLICY_BROKEN


def test_a_file_that_is_cut_at_the_bound_is_refused(path: Path) -> None:
    path.write_text(default_policy() + "#" * 1024 * 1024)
    assert refusal(path) is Code.POLICY_MISSING


def test_a_file_others_may_change_is_refused(path: Path) -> None:
    path.chmod(0o622)
    assert refusal(path) is Code.FILE_UNSAFE


def test_what_goes_wrong_later_leaves_the_policy(path: Path) -> None:
    file = load_policy(path)
    before = file.policy
    for harm in (lambda: path.write_text("rul"), lambda: path.chmod(0o666), path.unlink):
        harm()
        outcome = file.reload()
        assert outcome.problem
        assert file.policy is before


def test_a_file_that_was_refused_for_its_mode_is_taken_once_that_is_mended(path: Path) -> None:
    file = load_policy(path)
    path.write_text("version: 1\nrules: [{id: a, match: {}, effect: allow}]\n")
    path.chmod(0o666)
    assert file.poll() is None
    refused = file.poll()
    assert refused is not None
    assert refused.problem
    path.chmod(0o600)
    assert file.poll() is None
    mended = file.poll()
    assert mended is not None
    assert (mended.changed, mended.problem) == (True, None)
