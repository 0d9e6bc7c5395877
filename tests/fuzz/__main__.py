"""Fuzz one decoder until stopped: `python -m tests.fuzz TARGET [atheris options]`."""

import sys

from tests.fuzz.targets import SEEDS, TARGETS


def main() -> None:
    """Run atheris on a target; says how to install it when it is missing."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit("usage: python -m tests.fuzz TARGET\ntargets: " + " ".join(TARGETS))
    name = sys.argv.pop(1)
    try:
        import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise SystemExit("needs atheris, which is optional: pip install atheris") from None
    for seed in SEEDS[name]:
        TARGETS[name](seed)
    target = atheris.instrument_func(TARGETS[name])
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
