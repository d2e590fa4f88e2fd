"""Every error this package raises on purpose, as one tree.

EmbeddingAssetsError
├── SettingsError          a setting has a value that is not allowed
├── InputError             a file or an argument that a person gave cannot be used
├── TransientError         network, throttling, 5xx: the same call may succeed later
├── ServiceError           a service refused, and will again: permission, missing table, bucket, key
│   ├── NotFoundError      the object, row, file or batch is not there
│   └── PreconditionError  a conditional write found another state than it was conditional on
├── BatchError             one batch cannot be used; the others are not touched
│   └── MismatchError      its model, dimensions or distance do not fit what is published
├── ConservationError      a stage's counts do not balance
├── DamagedError           stored bytes are not what their manifest says
│   └── DamagedVersionError   they are those of a published version: no batch is to blame
├── WithdrawnError         a rollback took out what was about to be merged
├── UnsuitableError        Chroma itself has to write a version that was to be written directly
├── SharedRootError        the shared file system root cannot take a version: it is published all the same
└── LockError              the merge lock is held by another, or was lost

Errors of boto3, the OpenAI SDK and the file formats are translated where those are called, and nowhere else.
Each message is one line for the person who reads it. It never contains a secret or a control character: both are
replaced when the error is made, whatever it quotes.
"""

from __future__ import annotations

from embedding_assets.control_characters import visible_lines
from embedding_assets.redaction import redacted


class EmbeddingAssetsError(Exception):
    """Base of all errors of this package."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(visible_lines(redacted(arg)) if isinstance(arg, str) else arg for arg in args))


class SettingsError(EmbeddingAssetsError):
    """A setting has a value that is not allowed."""


class InputError(EmbeddingAssetsError):
    """A file or an argument that a person gave cannot be used."""


class TransientError(EmbeddingAssetsError):
    """Network, throttling or a 5xx answer: the same call may succeed later."""


class ServiceError(EmbeddingAssetsError):
    """A service refused, and will refuse the same call again."""


class NotFoundError(ServiceError):
    """The object, row, file or batch is not there."""


class PreconditionError(ServiceError):
    """A conditional write found another state than the one it was conditional on."""


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


class WithdrawnError(EmbeddingAssetsError):
    """A rollback took a batch out while an execution was about to merge it: only `reprocess` brings it back."""


class UnsuitableError(EmbeddingAssetsError):
    """A version cannot be written directly: Chroma itself has to write it."""


class SharedRootError(EmbeddingAssetsError):
    """The shared file system root cannot take or show a version; what is published in S3 is not touched."""


class LockError(EmbeddingAssetsError):
    """The merge lock is held by another, or was lost while we held it."""
