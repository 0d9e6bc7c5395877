"""What holds for every test."""

import os

from hypothesis import settings

from shared.audit import closing
from shared.link.loop import name_the_loop
from tests.helpers.tunnel import Lab

# As the programs do it at their start; tests drive their parts without starting them.
name_the_loop()

# Tests run beside others: what waits for an idle processor would wait for the last of them.
closing.PATIENT = -1

# Whole programs in tests come from one that has imported them.
Lab.warm = True

# A slice of the examples in every run; `HYPOTHESIS=full make test` takes all. No example is timed.
settings.register_profile("slice", max_examples=30, deadline=None)
settings.register_profile("full", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS", "slice"))
