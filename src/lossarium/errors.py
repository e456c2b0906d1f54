"""The exception for users' mistakes."""


class LossariumError(Exception):
    """A mistake or a limit that the user can do something about.

    The message is one sentence: what is wrong, where, and how to fix it. The command line prints it without
    a traceback and exits with status 2.
    """
