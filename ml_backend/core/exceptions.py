"""All errors that the project raises on purpose. Their texts hold no key and no task text, so that users may see them.

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
    """Base of all errors of the project; also raised itself where the text is all that a caller needs."""


class ArtifactError(ApprenticeError):
    """An artifact is missing, or its content is not what was written."""


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
    """Another worker has taken the project over, or this worker is stopping: it must publish nothing more."""


class NoWeaknessError(ApprenticeError):
    """The learner has made no mistake, so there is nothing to choose tasks by."""


class RepliesAwaitedError(ApprenticeError):
    """A step has questions without a reply. Nothing is wrong, and nothing is lost."""


class StoreError(ApprenticeError):
    """The database cannot be opened, read or written."""


class TeacherUnavailableError(ApprenticeError):
    """No teacher answers now; nothing is wrong with the questions.

    retry_after  seconds to wait before the next try, None if unknown
    fatal        another try is useless until a setting is changed (a wrong key, a model that does not exist)
    """

    def __init__(self, problem: str, retry_after: float | None = None, *, fatal: bool = False) -> None:
        super().__init__(problem)
        self.retry_after = retry_after
        self.fatal = fatal


class UnknownPluginError(ApprenticeError):
    """A setting names a plugin that is not installed."""


class UnknownVersionError(ApprenticeError):
    """The project has no such version to go back to."""


class UnsupportedConfigError(ApprenticeError):
    """The labelling configuration asks for something that cannot be learnt."""
