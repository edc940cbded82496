"""The console command `vocosc`. The packages of the compiler take a third of a second to read: Ctrl-C ends that, too,
without a traceback."""

import signal


def main() -> int:
    """Runs the command; returns its exit code."""
    end_silently()
    from .__main__ import command  # noqa: PLC0415

    return command()


def end_silently() -> None:
    """Let SIGINT end the program as it ends those in C, unless it is ignored, as behind `&`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
