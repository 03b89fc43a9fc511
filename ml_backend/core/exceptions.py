"""All errors that the project raises on purpose. Their messages hold no key and no task text: users may see them.

ApprenticeError
├── ArtifactError
├── InvalidEventError
├── LabelStudioError
│   ├── AccessDeniedError
│   ├── NotFoundError
│   ├── RequestRefusedError
│   └── UnreachableError
├── LeaseLostError
├── NoWeaknessError
├── RepliesAwaitedError
├── StoreError
├── TeacherUnavailableError
├── UnknownPluginError
├── UnknownVersionError
└── UnsupportedConfigError
"""

from __future__ import annotations


class ApprenticeError(Exception):
    """Base of all errors of the project. Raised itself where a caller needs nothing but the message."""


class ArtifactError(ApprenticeError):
    """An artifact is missing, or its content differs from what was written."""


class InvalidEventError(ApprenticeError):
    """The body of a webhook request is no event of Label Studio."""


class LabelStudioError(ApprenticeError):
    """A call to Label Studio failed."""


class AccessDeniedError(LabelStudioError):
    """Label Studio does not accept the API key, or the key's user may not do this."""


class NotFoundError(LabelStudioError):
    """Label Studio has no such object."""


class RequestRefusedError(LabelStudioError):
    """Label Studio answered, and refused the request."""


class UnreachableError(LabelStudioError):
    """Label Studio does not answer."""


class LeaseLostError(ApprenticeError):
    """Another worker holds the project's lease, or this worker is stopping: this worker must publish nothing more."""


class NoWeaknessError(ApprenticeError):
    """The learner has made no mistake that tasks could be chosen by."""


class RepliesAwaitedError(ApprenticeError):
    """A step waits for replies of the teacher. The step can be continued when the replies are there."""


class StoreError(ApprenticeError):
    """The database cannot be opened, read or written."""


class TeacherUnavailableError(ApprenticeError):
    """The teacher does not answer now, for a reason that does not lie in the questions.

    retry_after  seconds to wait before the next try, None if unknown
    fatal        whether another try is useless until a setting is changed (a wrong key, a model that does not exist)
    """

    def __init__(self, problem: str, retry_after: float | None = None, *, fatal: bool = False) -> None:
        super().__init__(problem)
        self.retry_after = retry_after
        self.fatal = fatal


class UnknownPluginError(ApprenticeError):
    """A setting or a stored learner names a plugin that is not installed or cannot be loaded."""


class UnknownVersionError(ApprenticeError):
    """The project has no such version to go back to."""


class UnsupportedConfigError(ApprenticeError):
    """The labelling configuration has no control that can be learnt."""
