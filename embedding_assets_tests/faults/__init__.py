"""Faults at every call that leaves the product."""

import pytest

pytest.register_assert_rewrite("embedding_assets_tests.faults.scene", "embedding_assets_tests.faults.upkeep_scene")
