"""The errors a user can cause or meet: one class per kind, each saying what was expected, what came, what to do."""


class SotFilterError(Exception):
    """Base of all errors of this package; the command line prints it without a traceback.

    Args:
        expected: what would have been right.
        got: what was found instead.
        do: the next thing to try.
    """

    exit_code = 1

    def __init__(self, expected: str, got: str, do: str) -> None:
        super().__init__(expected, got, do)
        self.expected, self.got, self.do = expected, got, do

    def __str__(self) -> str:
        return f"expected {self.expected}; got {self.got}. {self.do}"


class ConfigError(SotFilterError):
    """The pipeline file, a card or a command-line option is wrong."""

    exit_code = 2


class SourceError(SotFilterError):
    """Input rows cannot be found, read or understood."""

    exit_code = 2


class ReferenceError(SotFilterError):  # noqa: A001 - the field's word; nothing here uses the built-in of this name
    """A safe or harmful reference is missing, empty, or not the rows its card promises."""

    exit_code = 2


class ModelError(SotFilterError):
    """The embedding model cannot be found, is not safe to load, or does not fit the settings."""

    exit_code = 2


class ArtifactError(SotFilterError):
    """A folder of artifacts cannot be written, is incomplete, or belongs to another run."""

    exit_code = 2


class SolverError(SotFilterError):
    """The push-pull problem cannot be solved as posed."""


class HubError(SotFilterError):
    """The Hub, or the network on the way to it, did not answer as needed."""

    exit_code = 5


class ExecutorError(SotFilterError):
    """The scheduler that is to run the stages is not there, or does not answer."""

    exit_code = 6
