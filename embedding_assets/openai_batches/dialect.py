"""How the server that is asked differs from OpenAI, and how long it keeps our files."""

from __future__ import annotations

from dataclasses import dataclass

from embedding_assets.settings import Settings


@dataclass(frozen=True)
class Dialect:
    """What is sent to a server of OpenAI's API.

    `input_file_seconds` and `output_file_seconds` are how long the files of a batch are kept; 0 says nothing about
    it to the server.
    """

    completion_window: str = "24h"
    sends_dimensions: bool = True
    input_file_seconds: int = 0
    output_file_seconds: int = 0

    def dimensions(self, wanted: int | None) -> int | None:
        """The dimensions that a request names; None if it names none."""
        return wanted if self.sends_dimensions else None


def dialect_of(settings: Settings) -> Dialect:
    """What the settings say about the server."""
    return Dialect(
        completion_window=settings.completion_window,
        sends_dimensions=settings.send_dimensions,
        input_file_seconds=settings.input_file_seconds,
        output_file_seconds=settings.output_file_seconds,
    )
