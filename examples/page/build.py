"""Builds the page: compiles a model to WebAssembly in several precisions, and puts all that it needs into one file.

    python build.py ../../build/page          or, in the root, make page

OUT/index.html then opens in a browser as it is, or from any web server: it asks for nothing else.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PRECISIONS = ("f32", "w8", "w4")
CHUNKS = (1, 5, 10)
RECORDINGS = {"bdl_arctic_a0001": "A man speaks", "slt_arctic_a0002": "A woman speaks"}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Builds a page on which a model speaks.")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "examples" / "model" / "demo.ckpt")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    page = build(arguments.checkpoint, arguments.out / "model")
    (arguments.out / "index.html").write_text(page)
    print(f"written: {arguments.out / 'index.html'}, {len(page) / 1e6:.1f} MB: open it in a browser")


def build(checkpoint: Path, work: Path) -> str:
    """The page's HTML; the models are compiled in `work`."""
    data = {}
    for precision in PRECISIONS:
        folder, name = work / precision, f"voice_{precision}"
        options = ("--target", "wasm", "--weights", "blob", "--precision", precision)
        chunks = ",".join(map(str, CHUNKS))
        paths = (checkpoint.resolve(), "-o", folder.resolve())
        command = (sys.executable, "-m", "compiler", *paths, "--name", name, "--chunk", chunks, *options)
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(done.stderr.rstrip())
        data[f"{precision}-js"] = (folder / f"{name}.js").read_text()
        for part, file in (
            ("wasm", f"{name}.wasm"),
            ("relaxed", f"{name}_relaxed.wasm"),
            ("weights", f"{name}_weights.bin"),
        ):
            data[f"{precision}-{part}"] = base64.b64encode((folder / file).read_bytes()).decode()
    for recording in RECORDINGS:
        path = ROOT / "examples" / "speech" / f"{recording}.wav"
        data[recording] = base64.b64encode(path.read_bytes()).decode()
    about = {
        "precisions": PRECISIONS,
        "chunks": CHUNKS,
        "recordings": [{"id": name, "title": title} for name, title in RECORDINGS.items()],
        "about": checkpoint.name,
    }
    data["page-data"] = json.dumps(about).replace("<", "\\u003c")
    scripts = [f'<script type="text/plain" id="{name}">{text}</script>' for name, text in data.items()]
    assert not any("</script" in text for text in data.values())
    page = (HERE / "index.html").read_text()
    for mark, text in (
        ("/* page.css */", (HERE / "page.css").read_text()),
        ("/* page.js */", (HERE / "page.js").read_text()),
        ("<!-- data -->", "\n".join(scripts)),
    ):
        assert page.count(mark) == 1, mark
        page = page.replace(mark, text)
    return page


if __name__ == "__main__":
    main()
