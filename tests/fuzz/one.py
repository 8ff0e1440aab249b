"""One target in this process: python -m tests.fuzz.one TARGET [arguments of libFuzzer]."""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> None:
    """Fuzz until libFuzzer has enough; it ends the process."""
    import atheris  # type: ignore[import-untyped] # noqa: PLC0415 - only .venv-fuzz has it

    # What leads to what is seen by coverage, so ours is instrumented when it is loaded first.
    with atheris.instrument_imports(include=["rbln_supervisor", "rbln_worker", "yaml"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    name, *rest = argv
    target = TARGETS[name]

    def fuzz(raw: bytes) -> None:
        target(raw)

    atheris.Setup([sys.argv[0], *rest], fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
