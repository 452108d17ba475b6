"""The errors a user can act on; every other exception is a bug of ours and keeps its traceback."""


class JetbenchError(Exception):
    """Base of the errors that the command line prints without a traceback, with exit code 2."""


class SpecError(JetbenchError):
    """What was asked for cannot be built or run: fix the YAML or the option."""


class DataError(JetbenchError):
    """Image or label files are missing, truncated or do not mean what they should."""


class ProfilingError(JetbenchError):
    """The measured number would not mean what its name says."""


class StudyError(JetbenchError):
    """The report folder is in use by another driver, or holds another study."""
