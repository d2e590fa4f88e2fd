"""Submitting: files of records become OpenAI batches and their batch summaries, each record paid for once."""
