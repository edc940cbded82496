"""The one exception that a user of the compiler sees."""


class CompileError(Exception):
    """Bad input: one clear line that says what, where, and what to do. The command prints it and exits with 1."""
