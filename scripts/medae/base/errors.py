"""The one exception for problems that the user can fix."""


class InputError(Exception):
    """Bad input; the message is one paragraph: what is wrong, where, and what to do."""
