"""What the compiler raises for bad input, and how that speaks of it."""


class CompileError(Exception):
    """Bad input. Its text is one line: what is wrong, where, and what to do."""


def one_line(value: object) -> str:
    """A printable line of moderate length about something that came out of a file."""
    # A string or a number, an error or a name: the text of a nested container could be endless
    text = type(value).__name__ if isinstance(value, dict | list | tuple | bytes | bytearray) else str(value)
    text = " ".join((text[:1000] or type(value).__name__).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 200 else text[:200] + "..."
