"""Versions of `lines` to keep house with."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_assets.ledger.ledger import Ledger
from embedding_assets.snapshots.store import Store
from embedding_assets_tests.merge.conftest import Workbench


@pytest.fixture
def bench(store: Store, ledger: Ledger, tmp_path: Path) -> Workbench:
    """Executions of `lines`."""
    return Workbench(store, ledger, tmp_path)
