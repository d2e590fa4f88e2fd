"""Every error this package raises on purpose, as one tree.

EmbeddingAssetsError
├── SettingsError          a setting has a value that is not allowed
│   └── MissingExtraError     packages of an extra are not installed; also an ImportError
├── InputError             a file or an argument that a person gave cannot be used
├── TransientError         network, throttling, 5xx: the same call may succeed later
│   └── UnusableAnswerError   an answer with 200 that is not what the API returns
├── ServiceError           a service refused, and will again: permission, missing table, bucket, key
│   ├── NotFoundError      the object, row, file or batch is not there
│   ├── PreconditionError  a conditional write found another state than it was conditional on
│   └── ItemError          DynamoDB does not take one item: too large, or with a value that it does not store
├── BatchError             one batch cannot be used; the others are not touched
│   └── MismatchError      its model, dimensions or distance do not fit what is published
├── ConservationError      a stage's counts do not balance
├── DamagedError           stored bytes are not what their manifest says
│   └── DamagedVersionError   they are those of a published version: no batch is to blame
│       └── LostPointerError   the pointer is gone, or behind what was published: `snapshots repair`
├── WithdrawnError         a rollback took out what was about to be merged
├── UnsuitableError        Chroma itself has to write a version that was to be written directly
├── FolderLockedError      another process is at work in a folder that one process at a time may use
├── SharedRootError        the shared file system root cannot take a version: it is published all the same
├── TargetError            a further target does not hold the published version yet
└── LockError              the merge lock is held by another, or was lost

Errors of boto3, the OpenAI SDK and the file formats are translated where those are called, and nowhere else.
Each message is one line for the person who reads it. It never contains a secret or a control character: both are
replaced when the error is made, whatever it quotes.
"""

from __future__ import annotations

from embedding_assets.text.control_characters import visible_lines
from embedding_assets.text.redaction import redacted


class EmbeddingAssetsError(Exception):
    """Base of all errors of this package."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(visible_lines(redacted(arg)) if isinstance(arg, str) else arg for arg in args))


class SettingsError(EmbeddingAssetsError):
    """A setting has a value that is not allowed."""


class MissingExtraError(SettingsError, ImportError):
    """Packages of an extra are not installed. An ImportError too: whoever tries an import expects one."""


class InputError(EmbeddingAssetsError):
    """A file or an argument that a person gave cannot be used."""


class TransientError(EmbeddingAssetsError):
    """Network, throttling or a 5xx answer: the same call may succeed later. It counts against no batch.

    `throttled` is true if the service asked for fewer calls (429, 503, SlowDown); `retry_after` is how many
    seconds it asked to wait, None if it did not say. `broke_off` is true if an answer ended in the middle of its
    body, which no SDK tries again.
    """

    def __init__(
        self,
        message: str,
        *,
        throttled: bool = False,
        retry_after: float | None = None,
        broke_off: bool = False,
    ) -> None:
        super().__init__(message)
        self.throttled = throttled
        self.retry_after = retry_after
        self.broke_off = broke_off


class UnusableAnswerError(TransientError):
    """An answer with 200 that is not what the API returns: a proxy's HTML page, a list without data."""


class ServiceError(EmbeddingAssetsError):
    """A service refused, and will refuse the same call again."""


class NotFoundError(ServiceError):
    """The object, row, file or batch is not there."""


class PreconditionError(ServiceError):
    """A conditional write found another state than the one it was conditional on."""


class ItemError(ServiceError):
    """DynamoDB does not take one item: it is too large, or has a value that DynamoDB does not store."""


class BatchError(EmbeddingAssetsError):
    """One batch cannot be used; the others are not touched."""


class MismatchError(BatchError):
    """A batch's model, dimensions or distance do not fit what is published."""


class ConservationError(EmbeddingAssetsError):
    """A stage's counts do not balance: something was lost or invented."""


class DamagedError(EmbeddingAssetsError):
    """Stored bytes are not what their manifest says."""


class DamagedVersionError(DamagedError):
    """A published version, or the pointer, is damaged: no batch is to blame."""


class LostPointerError(DamagedVersionError):
    """The pointer is gone, or does not hold a version that was published: only `snapshots repair` may write it."""


class WithdrawnError(EmbeddingAssetsError):
    """A rollback took a batch out while an execution was about to merge it: only `reprocess` brings it back."""


class UnsuitableError(EmbeddingAssetsError):
    """A version cannot be written directly: Chroma itself has to write it."""


class FolderLockedError(EmbeddingAssetsError):
    """Another process is at work in a folder that one process at a time may use."""


class SharedRootError(EmbeddingAssetsError):
    """The shared file system root cannot take or show a version; what is published in S3 is not touched."""


class TargetError(EmbeddingAssetsError):
    """A target does not hold the published version yet; it is brought there by a later call."""


class LockError(EmbeddingAssetsError):
    """The merge lock is held by another, or was lost while we held it."""
