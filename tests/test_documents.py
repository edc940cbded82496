"""What the documents name is there: tests, functions, macros, files, and the C library's functions that are used."""

import re
from pathlib import Path

import pytest

from compiler import VERSION
from tests import builds
from tests.objects import ROOT, TINY, include_flags, run_ok, sources

RUNTIME = ROOT / "runtime"
DOCUMENTS = ("API.md", "LIBC.md", "LIMITS.md")
FOLDERS = (".", "bench", "examples/*", "generated", "runtime", "tests", "tests/*", "train", ".github", ".github/*")
EVERY_DOCUMENT = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.md"))
# What a function of the C library is called in an object file, where that differs.
LINKED_AS = {"__ctype_b_loc": "isspace", "__sysv_signal": "signal"}
NO_FUNCTIONS = {"__errno_location", "stdin", "stdout", "stderr"}


@pytest.fixture
def tiny_sources() -> Path:
    return builds.sources(builds.checkpoint(TINY), "tiny", "--target", "portable")


def text_of(document: str) -> str:
    return (RUNTIME / document).read_text()


def code(text: str) -> set[str]:
    """What stands between backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


@pytest.mark.parametrize("document", EVERY_DOCUMENT)
def test_tests_that_are_named_exist(document: str) -> None:
    """As `test_x.py`, `tests/c/test_x.c` or `test_x.py::test_y`."""
    for name in sorted(code((ROOT / document).read_text())):
        if found := re.fullmatch(r"(?:tests/)?(test_\w+\.py)(?:::(test_\w+))?", name):
            path = ROOT / "tests" / found[1]
            assert path.exists(), name
            assert found[2] is None or re.search(rf"^def {found[2]}\(", path.read_text(), re.MULTILINE), name
        elif name.startswith("tests/"):
            assert (ROOT / name).exists(), name


def test_tests_import_no_other_tests() -> None:
    """What they share lies in modules of its own."""
    for path in (ROOT / "tests").rglob("*.py"):
        assert not re.search(r"^(from|import) tests\.test_", path.read_text(), re.MULTILINE), path


def test_every_promise_names_a_test() -> None:
    promises = text_of("API.md").split("\n## Promises\n")[1]
    rows = [row.split("|")[1:-1] for row in promises.splitlines() if re.match(r"\| (?!promise )", row)]
    promised = {row[0].strip() for row in rows}
    assert {"allocation-free", "library-free", "bit-exact", "branch-free", "reentrant"} <= promised
    for row in rows:
        assert re.search(r"`test_\w+\.py", row[2]), row[0]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_symbols_that_are_named_are_in_the_header(tiny_sources: Path, document: str) -> None:
    header = (tiny_sources / "tiny.h").read_text()
    others = set(re.findall(r"\bvocosc_decode_samples\b", (RUNTIME / "vocosc.h").read_text()))  # of some models only
    for symbol in sorted(set(re.findall(r"\b(?:vocosc|VOCOSC)_\w+", text_of(document))) - others):
        assert re.search(rf"\b{symbol.replace('vocosc', 'tiny').replace('VOCOSC', 'TINY')}\b", header), symbol


def test_symbols_of_the_gpu_that_are_named_are_in_its_header() -> None:
    header = "".join(path.read_text() for path in (RUNTIME / "vocosc.h", RUNTIME / "cuda" / "vocosc_cuda.h"))
    for symbol in sorted(set(re.findall(r"\b(?:vocosc|VOCOSC)_\w+", text_of("GPU.md")))):
        assert re.search(rf"\b{symbol}\b", header), symbol


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_that_are_named_exist(document: str) -> None:
    """Paths from the root, except those with a name to fill in and what the compiler writes."""
    named = code((ROOT / document).read_text())
    folders = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir())
    paths = [name for name in named if name.startswith(folders) and not re.search("NAME|ISA|generated/demo", name)]
    assert len(paths) > 10
    for path in paths:
        assert list(ROOT.glob(path)), path


def test_the_picture_names_files_that_exist() -> None:
    named = re.findall(r'text-anchor="middle" class="file">([^<]+)<', (ROOT / "architecture.svg").read_text())
    assert len(named) > 10
    for name in ", ".join(named).split(", "):
        assert (ROOT / "compiler" / name).exists() or (ROOT / name).exists(), name


def test_every_function_and_status_is_in_api_md(tiny_sources: Path) -> None:
    header = re.sub(r"/\*.*?\*/", "", (tiny_sources / "tiny.h").read_text(), flags=re.DOTALL)
    functions = set(re.findall(r"^[\w ]+[ *]tiny_(\w+)\(", header, re.MULTILINE))
    assert {"init", "decode_batch", "flush_int16", "mel_flush", "status_text"} <= functions
    named = code(text_of("API.md"))
    for function in sorted(functions):
        assert f"vocosc_{function}" in named, function
    for status in re.findall(r"^  (TINY_\w+) = -?\d+,", header.split("} tiny_status;")[0], re.MULTILINE):
        assert f"`{status.replace('TINY', 'VOCOSC')}`" in text_of("API.md"), status


def test_the_changelog_has_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (Unreleased|\d+\.\d+\.\d+)", changelog, re.MULTILINE)[:2] == ["Unreleased", VERSION]


def anchors(text: str) -> set[str]:
    """What links to the headings of a document end in, as GitHub makes it of them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", EVERY_DOCUMENT)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = link.partition("#")
        path = (ROOT / document).parent / name if name else ROOT / document
        assert path.exists(), link
        assert not anchor or anchor in anchors(path.read_text()), link


@pytest.mark.parametrize(("section", "pattern"), [("## The team", "*_team_*.c"), ("## The host tool", "*_tool_*.c")])
def test_the_librarys_functions_are_those_listed(
    tiny_sources: Path, tmp_path: Path, section: str, pattern: str
) -> None:
    """Each that an object file asks for is in LIBC.md, and each in LIBC.md is used in a source."""
    part = text_of("LIBC.md").split(section)[1].split("\n## ")[0]
    # In tables, first column: what stands in another is a suggestion
    rows = [row.split("|")[1] for row in part.splitlines() if row.startswith("| `")]
    listed = {name for row in rows for name in code(row)}
    own: set[str] = set()
    used: set[str] = set()
    texts = ""
    for source in sources(tiny_sources, pattern):
        built = tmp_path / f"{source.stem}.o"
        flags = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O0", "-fno-builtin", "-fno-stack-protector"]
        flags += ["-U_FORTIFY_SOURCE", *include_flags(tiny_sources)]
        run_ok(["cc", *flags, "-c", source, "-o", built])
        for line in run_ok(["nm", "-P", "-g", built]).splitlines():
            name, kind = line.split()[:2]
            (used if kind == "U" else own).add(name)
        texts += source.read_text()
    used = {LINKED_AS.get(name, name) for name in used - own - NO_FUNCTIONS if not name.startswith("tiny_")}
    assert used <= listed, "not in LIBC.md"
    for name in sorted(listed):
        assert re.search(rf"\b{name}\(", texts), f"{name} is in LIBC.md, but nobody calls it"
