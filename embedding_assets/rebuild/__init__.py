"""Rebuilding: what is published once more, under another distance or by another model, built anew."""
