"""The way from a folded network to the files in the output folder, one step after the other."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .accuracy import measure
from .arrange import arrange
from .bounds import check_bounds
from .budget import check_budget
from .build import build, build_backend, build_shared, tools_of
from .calibrate import calibrate
from .cuda import parse_tuning, plan_device
from .cuda_libs import add_libraries
from .emit import KERNELS, Options, emit, emit_kernels
from .golden import golden_hash
from .network import Network
from .nvrtc import Image, compile_images
from .output import replacing
from .pack import pack, pack_matrices
from .package import package
from .plan import plan
from .report import report, to_json
from .sbom import sbom
from .triton import FOLDER, backend, library_name, write_repository
from .weights import build_weights
from .wheel import write_wheel


def compile_network(
    network: Network,
    sha256: str,
    chunks: Sequence[int],
    options: Options,
    output: Path | None,
    *,
    log_mels: Sequence[Any] = (),
    budget: Mapping[str, int] | None = None,
    sources_only: bool = False,
    wheel: bool = False,
    triton: Path | None = None,
) -> dict[str, Any]:
    """Compiles a folded network, whose checkpoint has this sha256, into a folder; returns the report's figures.

    Without a folder nothing is written and nothing built. Integer weights are rounded for `log_mels`; `wheel` adds a
    Python wheel to what is built, `triton` is a repository of models that this one is added to. Raises CompileError,
    also where the figures exceed the budget.
    """
    check_bounds(network)
    layout = plan(
        network,
        chunks,
        options.precision,
        baked=options.baked,
        libraries=options.link == "libs",
        check=options.check,
        streams=options.streams,
        wide_rows=options.isas[-1].wide_rows,
        many_rows=options.isas[-1].many_rows,
    )
    fed = None
    if log_mels:
        if output is not None:  # how weights are rounded changes no size
            fed = calibrate(network, log_mels, options.precision)
        digest = hashlib.sha256(b"".join(log_mel.tobytes() for log_mel in log_mels)).hexdigest()
        options = dataclasses.replace(options, calibration=digest)
    tables = pack_matrices(network) if options.link == "libs" else pack(network, options.precision, fed)
    device = plan_device(layout, options.batch, parse_tuning(options.tuning)) if options.gpus else None
    if device and (options.link == "libs" or device.tuning.tensor):
        device = add_libraries(device, layout)

    figures = functools.partial(report, layout, tables, sha256, options, device=device)
    will_build = output is not None and not sources_only
    check_budget(budget or {}, figures(), will_build=will_build)
    if output is None:
        return figures()
    golden = golden_hash(layout, tables) if options.bit_exact else 0
    tables = arrange(layout, tables, options.isas)
    figures = functools.partial(report, layout, tables, sha256, options, device=device)
    weights = build_weights(layout, tables, golden)
    images: Sequence[Image] = ()
    if device is not None:
        kernels = emit_kernels(layout, device, sha256, options)
        texts = {name: text.decode() for name, text in kernels.items()}
        images = compile_images(f"{options.name}_{KERNELS}", texts, options.gpus)
    figures = functools.partial(figures, images=images)
    sources = emit(layout, tables, weights, sha256, options, device=device, images=images)
    if not options.is_wasm:
        sources |= package(layout, sha256, options)
    if triton is not None:
        sources |= backend(layout, sha256, options)

    with replacing(output, options.name) as work:
        for file, data in sources.items():
            (work / file).parent.mkdir(exist_ok=True)
            (work / file).write_bytes(data)
        built = figures()
        if will_build:
            measured = build(work, options)
            check_budget(budget or {}, figures(measured=measured))
            built = figures(measured=measured, accuracy=measure(work / options.name, network))
        (work / f"{options.name}.json").write_text(to_json(built))
        tools = tools_of(options.target) if will_build else {}
        (work / f"{options.name}.sbom.json").write_text(sbom(work, sha256, layout.chunks, options, tools))
        if wheel:
            build_shared(work, options)
            write_wheel(work, options.name, built, weights.file)
        if triton is not None:
            library, source = library_name(options.name), f"{options.name}_triton.cpp"
            build_backend(work, options, Path(FOLDER, library), Path(FOLDER, source))
            with replacing(triton / options.name, options.name) as model:
                write_repository(work, model, options.name)
    return built
