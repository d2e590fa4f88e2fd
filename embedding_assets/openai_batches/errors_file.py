"""`errors.jsonl` of one batch, and its poll result, which is written last.

Where there are errors, a result that says `wait` is created before them. So an `errors.jsonl` is never there
without a `result.json`: whoever creates the result of a batch knows that there is no file of an earlier poll to
remove, and does not have to look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from embedding_assets.bucket.keys import errors_key, result_key
from embedding_assets.bucket.store import Store
from embedding_assets.errors import PreconditionError, TransientError
from embedding_assets.openai_batches.poll_result import PollResult, RequestError


@dataclass
class ErrorsFile:
    """What the file is to have. `lines` is None if it stays as it is, and empty if there is to be none."""

    store: Store
    batch_id: str
    lines: list[str] | None = None

    def set(self, errors: Iterable[RequestError]) -> None:
        """The file is to have a line for each of these."""
        self.lines = [error.model_dump_json() for error in errors]

    def write_with(self, result: PollResult, *, first: bool) -> None:
        """Write the file, then the poll result. `first`: nothing says that the batch was polled before."""
        key = errors_key(self.batch_id)
        if self.lines:
            if first:
                self._create(result.model_copy(update={"action": "wait", "delta_id": None, "delta_key": None}))
            self.store.put(key, ("\n".join(self.lines) + "\n").encode(), "application/jsonl")
        elif first and self._create(result):
            return
        elif self.lines is not None and self.store.find(key) is not None:
            self.store.delete([key])
        self.store.put(result_key(self.batch_id), _document(result))

    def _create(self, result: PollResult) -> bool:
        """Whether there was no poll result. False also if nobody knows: an answer may have got lost."""
        try:
            self.store.create(result_key(self.batch_id), _document(result))
        except (PreconditionError, TransientError):
            return False
        return True


def _document(result: PollResult) -> bytes:
    return result.model_dump_json(indent=2).encode()
