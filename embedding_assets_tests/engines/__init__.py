"""Dagster's storage on a server, and steps that execute elsewhere, with real servers."""
