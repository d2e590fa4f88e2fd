"""Tests of the targets, against a real Chroma server."""
