"""The one error of the end-to-end suites that is no failure."""


class CannotRun(Exception):
    """This machine does not allow it; the text is one line that says why."""
