"""What is logged is what these tests look at, whatever ran in this process before."""

import pytest
import structlog


@pytest.fixture(autouse=True)
def logs_as_they_come() -> None:
    structlog.reset_defaults()
