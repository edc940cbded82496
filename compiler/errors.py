"""What the compiler raises for bad input, and how that speaks of it."""


class CompileError(Exception):
    """Bad input. Its text is one line: what is wrong, where, and what to do."""


def one_line(value: object) -> str:
    """A printable line of moderate length about something that came out of a file."""
    # The text of a nested container could be endless
    text = str(value)[:1000] if isinstance(value, str | int | float | Exception) else ""
    text = " ".join((text or type(value).__name__).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 200 else text[:200] + "..."


def printable(text: str) -> str:
    """A text that fits on one line of a terminal, whatever is in it: of a path's newline `\\n` remains."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
