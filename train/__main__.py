"""The commands: `python -m train fit|resume|export`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from train.configuration import ConfigurationError, read_configuration, without_overrides

try:
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
    fitting = commands.add_parser(
        "fit",
        help="train a model from the start",
        usage="%(prog)s CONFIG... --out DIR [--init-from CKPT] [--SECTION.NAME VALUE ...]",
    )
    fitting.add_argument("config", type=Path, nargs="*", help="YAML, with the sections model, data and trainer")
    fitting.add_argument("-c", "--config", type=Path, action="append", default=[], dest="more", help="likewise")
    fitting.add_argument("--out", type=Path, metavar="DIR", help="of the run: checkpoints, log, audio")
    fitting.add_argument("--init-from", metavar="CKPT", help="begin with the weights of this checkpoint")
    fitting.add_argument("--ckpt_path", type=Path, metavar="CKPT", help="go on with the run that wrote this last.ckpt")
    resuming = commands.add_parser("resume", help="go on with a run that was cut off")
    resuming.add_argument("folder", type=Path, metavar="DIR", help="of the run")
    exporting = commands.add_parser("export", help="write a small checkpoint of the decoder alone")
    exporting.add_argument("checkpoint", type=Path, help="last.ckpt of a run")
    exporting.add_argument("out", type=Path)
    exporting.add_argument("--dtype", default="float16", choices=["float16", "float32"])
    try:
        others, overrides = without_overrides(sys.argv[1:])
        arguments = parser.parse_args(others)
        if arguments.command == "fit":
            _fit(arguments, overrides)
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


def _fit(arguments: argparse.Namespace, overrides: list[tuple[str, str]]) -> None:
    configuration = read_configuration(*arguments.config, *arguments.more, overrides=overrides)
    if arguments.init_from:
        configuration = replace(configuration, init_from=arguments.init_from)
    folder = arguments.out or (arguments.ckpt_path.parent if arguments.ckpt_path else None)
    if folder is None:
        raise ConfigurationError("fit: say where the run goes: --out DIR")
    if arguments.ckpt_path:
        resume(folder, configuration, arguments.ckpt_path)
    else:
        fit(configuration, folder)


if __name__ == "__main__":
    sys.exit(main())
