#!/usr/bin/env python3
"""Stands where a desktop opens pages: writes the address down for whoever drives the browser."""

import os
import sys
from pathlib import Path

with Path(os.environ["LOGIN_PAGES"]).open("a") as pages:
    pages.write(sys.argv[1] + "\n")
