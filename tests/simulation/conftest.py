"""The seeds of simulations."""

import pytest

SEEDS = 100


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``seed`` with each seed, or with the one of ``--seed``."""
    if "seed" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", range(SEEDS) if chosen is None else [chosen])
