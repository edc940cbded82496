"""What goes into a build is known: packages by their hashes, a checkpoint by its sum, an object by its bill."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from compiler import VERSION
from tests import builds
from tests.objects import ROOT, TINY, compile_sources, one_line, run_compiler, run_ok

LISTS = ["requirements", "requirements-cuda", "train/requirements", "bench/requirements", "bench/quality-requirements"]
LISTS += ["examples/fleet/requirements", "examples/fleet/server-requirements"]


def pins(text: str) -> set[str]:
    """name==version of each requirement, as pip compares names."""
    found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {f"{re.sub('[-_.]+', '-', name).lower()}=={version}" for name, version in found}


@pytest.mark.parametrize("name", LISTS)
def test_every_package_has_its_hashes(name: str) -> None:
    wanted, locked = ((ROOT / f"{name}{suffix}").read_text() for suffix in (".in", ".txt"))
    assert pins(wanted) and pins(wanted) <= pins(locked)
    entries = re.split(r"\n(?=[\w.-]+==)", re.sub("^#.*\n", "", locked))
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+", entry) and re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    others = [line for line in locked.splitlines() if not re.match(r"#|[\w.-]+==|    --hash=sha256:[0-9a-f]{64}", line)]
    assert not others, others[:3]


def test_the_set_up_insists_on_hashes() -> None:
    for line in (ROOT / ".ci/setup").read_text().splitlines():
        assert "pip install" not in line or "--require-hashes" in line, line


def test_a_checkpoint_may_have_to_be_this_very_file(tmp_path: Path) -> None:
    path = builds.checkpoint(TINY)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    command = ("-o", tmp_path / "out", "--sources-only", "--target", "portable", "--sha256")
    done = run_compiler(path, *command, digest.upper())
    assert done.returncode == 0, done.stderr
    assert f"checkpoint sha256 {digest}\n" in done.stdout
    shutil.rmtree(tmp_path / "out")
    one_line(run_compiler(path, *command, "0" * 64), path.name, digest, "--sha256")
    one_line(run_compiler(path, *command, digest[:-1]), "--sha256", "64")
    not_read = tmp_path / "bomb.ckpt"
    not_read.write_bytes(b"not a checkpoint at all")
    one_line(run_compiler(not_read, *command, digest), "not the one given")
    assert list(tmp_path.iterdir()) == [not_read]


def test_the_bill_of_materials(tmp_path: Path) -> None:
    path = builds.checkpoint(TINY)
    directory = builds.model(path, "tiny", "--target", "portable", "--chunk", "9", light=True)
    bill = json.loads((directory / "tiny.sbom.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.5", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    tools = {tool["name"]: tool for tool in bill["metadata"]["tools"]["components"]}
    assert tools["vocosc"]["version"] == VERSION and tools["vocosc"]["licenses"] == [{"license": {"id": "MIT"}}]
    if shutil.which("git") and (ROOT / ".git").exists():
        (commit,) = tools["vocosc"]["properties"]
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", commit["value"])
    assert tools["numpy"]["version"]
    assert tools["cc"]["description"] == run_ok(["cc", "--version"]).splitlines()[0]
    component = bill["metadata"]["component"]
    assert "--name tiny --chunk 9 --precision f32 --target portable" in component["properties"][0]["value"]
    files = {file["name"]: file["hashes"][0]["content"] for file in component["components"]}
    for name in ("tiny.o", "libtiny.a", "tiny"):
        assert files[name] == hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (checkpoint,) = bill["components"]
    assert checkpoint["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}]
    refs = {component["bom-ref"], checkpoint["bom-ref"]}
    assert {entry["ref"] for entry in bill["dependencies"]} == refs
    assert "timestamp" not in json.dumps(bill) and str(ROOT) not in json.dumps(bill)
    options = ("--target", "portable", "--chunk", "9")
    twice = [compile_sources(path, tmp_path / name, "tiny", *options) / "tiny.sbom.json" for name in ("a", "b")]
    assert twice[0].read_bytes() == twice[1].read_bytes()
