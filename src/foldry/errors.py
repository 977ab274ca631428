"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Bad input: one sentence that says what is wrong, where, and what to do.

    The command line prints the sentence and exits with code 2; nothing has been written by then.
    """
