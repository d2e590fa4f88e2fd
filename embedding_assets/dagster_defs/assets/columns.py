"""The columns of what assets hold, as Dagster's catalog shows them."""

from __future__ import annotations

import dagster as dg

COLUMN_SCHEMA = "dagster/column_schema"

_RECORD = [
    dg.TableColumn("id", "string", "The record's id.", dg.TableColumnConstraints(nullable=False)),
    dg.TableColumn("vector", "list<float32>", "The embedding.", dg.TableColumnConstraints(nullable=False)),
    dg.TableColumn("document", "string", "The text, if the record has one."),
    dg.TableColumn("metadata", "string", "The metadata as canonical JSON, if the record has any."),
]

RECORDS = {COLUMN_SCHEMA: dg.TableSchema(columns=_RECORD)}
"""Of records, as deltas, intermediate snapshots and versions hold them."""
