"""Faults at every call that leaves the product."""

import pytest

SCENES = ("scene", "upkeep_scene", "submit_scene", "import_scene", "complete_scene")
pytest.register_assert_rewrite(*(f"embedding_assets_tests.faults.{name}" for name in SCENES))
