"""As checkpoint.py, with atheris (https://pypi.org/project/atheris), which sees which mutations reach new code."""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["compiler"]):
    from tests.fuzz.checkpoint import Target, watch


def main() -> None:
    """The command: the last argument is a folder for inputs, which gets the seeds."""
    watch()
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder))
        for number, seed in enumerate(target.seeds):
            (Path(sys.argv[-1]) / f"seed{number}").write_bytes(seed)
        atheris.Setup(sys.argv, lambda data: target(data) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
