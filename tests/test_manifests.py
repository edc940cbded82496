"""compiler/manifests.py: what firmware's build systems take a model by.

`make test-doors` holds the files to the schemas of PlatformIO and ESP-IDF, and Zephyr's options to its reader of
Kconfig, all in .venv-firmware. `make test` holds them to what the tools' documentation asks for, and builds programs by
the two that CMake reads, with stand-ins for the functions that they call.
"""

import json
import os
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from compiler import VERSION
from tests import builds
from tests.objects import ALL, ROOT, TINY, run_ok

WANTED = ALL or os.environ.get("VOCOSC_TEST_DOORS") == "1"
TOOLS = ROOT / ".venv-firmware" / "bin" / "python"
CHECKS = {
    "library.json": """
from platformio.package.manifest.parser import ManifestParserFactory
from platformio.package.manifest.schema import ManifestSchema
found = ManifestSchema().load_manifest(ManifestParserFactory.new_from_file(sys.argv[1]).as_dict())
print(found["name"], found["version"])
""",
    "idf_component.yml": """
from pathlib import Path
from idf_component_tools.manager import ManifestManager
found = ManifestManager(Path(sys.argv[1]), "vocos").load()
print("vocos", found.version)
""",
    "zephyr/Kconfig": """
from kconfiglib import Kconfig
found = Kconfig(sys.argv[1], warn_to_stderr=False)
assert not found.warnings, found.warnings
found.syms["VOCOS"].set_value("y")
assert "-mcpu=cortex-m4" in found.syms["VOCOS_TARGET_CFLAGS"].str_value
print("vocos", "VERSION")
""",
}
CHECKS["library.properties"] = CHECKS["library.json"]

STAND_INS = """
cmake_minimum_required(VERSION 3.20)
project(firmware C)
function(zephyr_include_directories folder)
  include_directories(${folder})
endfunction()
function(add_prebuilt_library name file)
  add_library(${name} STATIC IMPORTED GLOBAL)
  set_property(TARGET ${name} PROPERTY IMPORTED_LOCATION ${file})
endfunction()
function(zephyr_library_import name file)
  add_prebuilt_library(${name} ${file})
endfunction()
macro(idf_component_register)
  add_library(component INTERFACE)
  set(COMPONENT_LIB component)
  include_directories(${CMAKE_CURRENT_LIST_DIR})
endmacro()
set(CONFIG_VOCOS y)
set(CONFIG_VOCOS_TARGET_CFLAGS "-mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard")
include(MODEL/FILE)
add_executable(image main.c)
target_link_libraries(image vocos)
"""
MAIN = """#include "vocos.h"
static vocos_stream stream;
int main(void) { return vocos_init(&stream); }
void _exit(int status) { (void)status; for (;;) {} }
"""


@pytest.fixture(scope="module")
def model() -> Path:
    """A model's sources with the files beside them."""

    def make(folder: Path) -> None:
        options = ("--chunk", 1, "--target", "armv7e-m", "--precision", "w8", "--no-libc")
        shutil.copytree(builds.sources(builds.checkpoint(TINY), "vocos", *options), folder, dirs_exist_ok=True)
        run_ok([".venv/bin/python", "-m", "compiler.manifests", folder])

    return builds.once("manifests", make)


def test_every_tool_finds_its_file(model: Path) -> None:
    library = json.loads((model / "library.json").read_text())
    assert re.fullmatch(r"[\w-]{1,50}", library["name"]) and re.fullmatch(r"\d+\.\d+\.\d+", library["version"])
    assert (model / library["build"]["srcDir"] / library["headers"]).is_file()
    lines = (model / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    wanted = "name version author maintainer sentence paragraph category url architectures"
    assert set(wanted.split()) <= properties.keys() and properties["category"] == "Signal Input/Output"
    pack = ET.parse(model / "vocos.pdsc").getroot()
    assert [child.tag for child in pack][:5] == ["vendor", "name", "description", "url", "license"]
    assert (model / str(pack.findtext("license"))).read_text().endswith((ROOT / "LICENSE").read_text())
    named = [file.attrib["name"] for file in pack.iter("file")]
    assert named == ["vocos.h", "libvocos.a"] and (model / "vocos.h").is_file()
    assert re.search(r'^version: "\d+\.\d+\.\d+"$', (model / "idf_component.yml").read_text(), re.MULTILINE)
    module = (model / "zephyr" / "module.yml").read_text()
    assert "cmake: zephyr\n" in module and (model / "zephyr" / "CMakeLists.txt").is_file()
    kconfig = (model / "zephyr" / "Kconfig").read_text()
    assert kconfig.count("config VOCOS") == 2 and 'default "-mthumb -mcpu=cortex-m4' in kconfig
    assert not [path for path in model.rglob("*") if path.is_file() and re.search(rb"@\w+@", path.read_bytes()[:2000])]


@pytest.mark.parametrize("file", ["zephyr/CMakeLists.txt", "CMakeLists.txt"])
def test_cmake_builds_the_library_by_them(model: Path, tmp_path: Path, file: str) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("cmake") is None:
        pytest.skip("no arm-none-eabi-gcc or CMake here: .ci/setup test")
    own = tmp_path / "vocos"
    shutil.copytree(model, own)
    (tmp_path / "CMakeLists.txt").write_text(STAND_INS.replace("MODEL/FILE", str(own / file)))
    (tmp_path / "main.c").write_text(MAIN)
    flags = "-mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard"
    machine = ["-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_C_COMPILER=arm-none-eabi-gcc", f"-DCMAKE_C_FLAGS={flags}"]
    machine += ["-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY", "-DCMAKE_EXE_LINKER_FLAGS=-nostartfiles -Wl,-emain"]
    run_ok(["cmake", "-S", tmp_path, "-B", tmp_path / "build", *machine])
    run_ok(["cmake", "--build", tmp_path / "build"])
    assert (own / "libvocos.a").is_file() and (tmp_path / "build" / "image").is_file()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"no compiled model here"):
        run_ok([".venv/bin/python", "-m", "compiler.manifests", tmp_path])


@pytest.mark.parametrize("file", sorted(CHECKS))
def test_the_tools_take_their_file(model: Path, tmp_path: Path, file: str) -> None:
    """And refuse it if it is spoilt."""
    if not WANTED:
        pytest.skip("make test-doors")
    if not TOOLS.exists():
        pytest.skip("no .venv-firmware here: .ci/setup doors")
    command = [TOOLS, "-c", f"import sys\n{CHECKS[file]}".replace("VERSION", VERSION)]
    assert run_ok([*command, model / file]).split() == ["vocos", VERSION]
    spoilt = tmp_path / Path(file).name
    spoilt.write_text((model / file).read_text().replace(VERSION, "x.y").replace("bool", "bol"))
    with pytest.raises(AssertionError, match="exit code"):
        run_ok([*command, spoilt])


def test_an_address_stands_where_one_is_asked_for(model: Path, tmp_path: Path) -> None:
    """And none where none was given."""
    assert "\nurl=\n" in (model / "library.properties").read_text()
    command = [".venv/bin/python", "-m", "compiler.manifests", shutil.copytree(model, tmp_path / "model"), "--url"]
    address = "https://example.org/a?b=1&c=2"
    run_ok([*command, address])
    assert f"\nurl={address}\n" in (tmp_path / "model" / "library.properties").read_text()
    assert ET.parse(tmp_path / "model" / "vocos.pdsc").findtext("url") == address
    with pytest.raises(AssertionError, match=r"--url elsewhere: not an address"):
        run_ok([*command, "elsewhere"])
