"""Rates of faults. What is asserted in these modules says what differs, as in the tests themselves."""

import pytest

pytest.register_assert_rewrite(
    "embedding_assets_tests.rates.memory_world",
    "embedding_assets_tests.rates.servers",
    "embedding_assets_tests.rates.storm",
)
