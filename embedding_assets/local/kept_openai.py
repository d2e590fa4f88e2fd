"""What the local OpenAI server holds beside the bytes of its files, kept in the folder of these."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

from embedding_assets.local.keeping import read_pickle, write_bytes
from embedding_assets.local.openai_batches import BatchStore
from embedding_assets.local.openai_files import FileStore

STATE_FILE = "openai.pickle"


@dataclass
class KeptOpenAi:
    """The files and batches of a server, and their folder."""

    folder: Path
    files: FileStore
    batches: BatchStore
    _saved: bytes = b""

    def load(self) -> None:
        """Put back what was saved, if anything was: batches go on. Raises InputError if that cannot be read."""
        found = read_pickle(self.folder / STATE_FILE)
        if found is not None:
            self.files.put_back(found["files"])
            self.batches.put_back(found["batches"], found["waiting"])

    def save(self) -> None:
        """Save everything, if anything changed since the last time. A batch's files are saved with it."""
        batches, waiting = self.batches.held()
        state = pickle.dumps({"batches": batches, "waiting": waiting, "files": self.files.held()})
        if state != self._saved:
            write_bytes(self.folder / STATE_FILE, state)
            self._saved = state
