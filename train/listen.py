"""A page to listen to: `python -m train.listen OUT.html recording=DIR demo=DIR ...`.

Each folder holds WAVs of the same names. The page, one file that needs no network, plays every sentence as every folder
has it, and asks blind, as ABX tests do: X is A or B, which one? The answers are saved as JSON.
"""

import argparse
import base64
import html
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

PAGE = Path(__file__).with_name("listen.html")


def page(folders: Mapping[str, Path], trials: int) -> str:
    """The page. `folders`: two or more, by the name to show. Raises ValueError if they do not hold the same names."""
    names = {label: sorted(path.name for path in folder.glob("*.wav")) for label, folder in folders.items()}
    first, *others = names
    if len(names) < 2:
        raise ValueError("two folders or more are compared")
    if not names[first]:
        raise ValueError(f"{folders[first]}: no WAV files there")
    for label in others:
        differing = set(names[label]) ^ set(names[first])
        if differing:
            raise ValueError(f"{min(differing)}: is in one of {folders[first]}, {folders[label]} and not in the other")
    audio = {
        label: {name: base64.b64encode((folder / name).read_bytes()).decode() for name in names[first]}
        for label, folder in folders.items()
    }
    heads = "".join(f"<th>{html.escape(label)}</th>" for label in names)
    rows = "\n".join(
        f"<tr><th>{html.escape(name.removesuffix('.wav'))}</th>"
        + "".join(
            f'<td><audio controls src="data:audio/wav;base64,{audio[label][name]}"></audio></td>' for label in names
        )
        + "</tr>"
        for name in names[first]
    )
    # "</" inside a script would end it
    data = json.dumps({"audio": audio, "trials": trials}).replace("</", "<\\/")
    return Template(PAGE.read_text(encoding="utf-8")).substitute(heads=heads, rows=rows, data=data)


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m train.listen", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.html")
    parser.add_argument("folders", nargs="+", metavar="NAME=DIR")
    parser.add_argument("--trials", type=int, default=12, help="of the blind test (default: %(default)s)")
    arguments = parser.parse_args()
    folders = dict(folder.partition("=")[::2] for folder in arguments.folders)
    try:
        text = page({label: Path(folder) for label, folder in folders.items()}, arguments.trials)
        arguments.out.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"listen: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
