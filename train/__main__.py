"""The commands: `python -m train fit|resume|export`."""

import argparse
import sys
from pathlib import Path

try:
    from train.configuration import ConfigurationError
    from train.export import export
    from train.run import fit, resume
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"train: error: Python package {missing.name} is missing: .ci/setup train, then .venv-train/bin/python -m train"
    ) from None


def main() -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fitting = commands.add_parser("fit", help="train a model from the start")
    fitting.add_argument("config", type=Path, help="YAML, with the sections model, data and trainer")
    fitting.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the run: checkpoints, log, audio")
    resuming = commands.add_parser("resume", help="go on with a run that was cut off")
    resuming.add_argument("folder", type=Path, metavar="DIR", help="of the run")
    exporting = commands.add_parser("export", help="write a small checkpoint of the decoder alone")
    exporting.add_argument("checkpoint", type=Path, help="last.ckpt of a run")
    exporting.add_argument("out", type=Path)
    exporting.add_argument("--dtype", default="float16", choices=["float16", "float32"])
    arguments = parser.parse_args()
    try:
        if arguments.command == "fit":
            fit(arguments.config, arguments.out)
        elif arguments.command == "resume":
            resume(arguments.folder)
        else:
            export(arguments.checkpoint, arguments.out, arguments.dtype)
    except (ConfigurationError, ValueError) as error:
        print(f"train: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"train: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
