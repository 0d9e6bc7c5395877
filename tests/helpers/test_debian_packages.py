"""What is missing is named, and installed only where that is allowed."""

import pytest

from tests.helpers.debian_packages import BROWSER, NEVER, install, missing

NOWHERE = {"no-such-program-here": "no-such-package", "sh": "dash"}


def test_only_what_is_missing_is_named() -> None:
    assert missing(NOWHERE) == ["no-such-package"]
    assert missing({"sh": "dash"}) == []
    assert set(BROWSER) == {"chromium", "chromedriver"}


def test_who_may_not_install_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NEVER, "1")
    problem = install(NOWHERE)
    assert problem is not None
    assert "apt-get install no-such-package" in problem
    assert install({"sh": "dash"}) is None
