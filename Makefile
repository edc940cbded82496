# Two commands: `make demo` and `make test`. Each brings what it needs; `make help` lists the rest.

python := .venv/bin/python
# PyTorch comes from Debian, so the bench runs in Debian's Python.
bench_python := /usr/bin/python3
train_python := .venv-train/bin/python
fleet_python := .venv-fleet/bin/python
quality_python := .venv-quality/bin/python
demo_model := examples/model/demo.ckpt
pytest := $(python) -m pytest -q -n auto --dist worksteal

CKPT ?=
TORCH_PYTHON ?= python3
NAME ?= vocos
CHUNK ?= 5
OUT ?=
MINUTES ?= 25
RUNS ?= 1000
WARMUP ?= 100
SECONDS ?= 3600
SPEECH ?= examples/speech
CONFIG ?= train/configs/demo.yaml
RUN ?= build/run
ARGS ?=

# What a user gives is text and nothing else: make expands nothing in it, and the shell sees it quoted.
given := CKPT SHA256 TORCH_PYTHON NAME CHUNK OUT RUNS WARMUP SECONDS SPEECH CONFIG RUN ARGS
$(foreach variable,$(given),$(eval override $(variable) := $$(value $(variable))))
override OUT := $(if $(OUT),$(OUT),generated/$(NAME))
quoted = '$(subst ','\'',$(1))'

# C as it is written: what the compiler renders is formatted when it is emitted.
c_files = $(shell find runtime tests bench examples \( -name '*.[ch]' -o -name '*.cpp' \) -not -path '*/build/*' | xargs grep -LE '^ *//%|\$$\{')

.PHONY: help demo page page-hour test test-all test-doors test-fleet fleet mutations torture test-gpu fuzz lint lint-python lint-c object bench bench-families bench-firmware bench-gpu gpu-day rehearse-gpu-day tiles quality \
  corpus train test-train clean setup-build setup-test setup-page setup-doors setup-fleet setup-bench setup-quality setup-train setup-corpus
.NOTPARALLEL:
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ' *## ' '/^[a-z-]+:.*## / { sub(/:.*/, "", $$1); printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-build ## compile a model, let it speak a sentence, show speed, audio and picture; CKPT=FILE for one of yours
	@$(python) examples/demo.py $(if $(CKPT),--checkpoint "$$(realpath -m -- $(call quoted,$(CKPT)))")

test: setup-test lint ## lint, then the tests, on all cores
	@$(pytest) tests

test-all: setup-test lint ## the same, with every case of every test
	@VOCOSC_TEST_ALL=1 $(pytest) tests

test-doors: setup-doors ## the page in Chromium, GStreamer, wheels in fresh environments, Windows under Wine, macOS objects, pipes, firmware's manifests: brings packages of its own
	@VOCOSC_TEST_DOORS=1 $(python) -m pytest -q -rs tests/test_foreign.py tests/test_wasm.py tests/test_page.py tests/test_doors.py tests/test_manifests.py

page: setup-page ## [CKPT=FILE]: a page on which the model speaks, WebAssembly and all in one file, into build/page
	@$(python) examples/page/build.py build/page $(if $(CKPT),--checkpoint $(call quoted,$(CKPT)))

page-hour: setup-doors ## [SECONDS=3600]: that page in Chromium for so long, in real time: its times and underruns, into bench/results
	@test -e build/page/index.html || $(MAKE) page
	@$(python) -m bench.page build/page/index.html --checkpoint $(call quoted,$(or $(CKPT),$(demo_model))) \
	  --seconds $(call quoted,$(SECONDS)) --json bench/results/page.json

test-fleet: setup-fleet ## Triton servers behind HAProxy, one of them killed: brings a tritonserver and packages of its own
	@VOCOSC_TEST_FLEET=1 $(fleet_python) -m pytest -q -rs tests/test_fleet.py

fleet: setup-fleet ## [ARGS="--streams 100 --seconds 120"]: a fleet of Triton servers, one killed, one drained; its chart, into build/fleet
	@$(fleet_python) -m examples.fleet.demo $(ARGS)

fuzz: setup-test ## [SECONDS=3600]: run each fuzzer for so long
	@$(python) -m tests.fuzz --seconds $(call quoted,$(SECONDS))

torture: setup-test ## [SECONDS=3600]: the adversarial review goes on where it stopped, for so long; its figure goes to bench/results
	@$(python) -m tests.torture --seconds $(call quoted,$(SECONDS)) --results bench/results/torture.json

mutations: setup-test ## break the sources in many ways, one by one: the tests must notice
	@$(python) -m tests.mutations

test-gpu: setup-test ## on a machine with an NVIDIA GPU: its audio, its faults, compute-sanitizer; without one it says so
	@$(python) -m pytest -q -rs tests/test_gpu.py

lint: setup-test ## formats, types and static analysis
	@printf '%s\n' lint-c lint-python | xargs -P 2 -I TARGET $(MAKE) --no-print-directory TARGET

object: setup-build ## CKPT=FILE [SHA256=HEX] [CHUNK=5] [NAME=vocos] [OUT=generated/NAME]: compile a checkpoint
	@test -n $(call quoted,$(CKPT)) || { echo "make object: say which checkpoint, CKPT=FILE" >&2; exit 2; }
	@$(python) -m compiler $(if $(SHA256),--sha256 $(call quoted,$(SHA256))) -o $(call quoted,$(OUT)) --name $(call quoted,$(NAME)) --chunk $(call quoted,$(CHUNK)) -- $(call quoted,$(CKPT))

bench: setup-bench $(if $(CKPT),,build/full.ckpt) ## [CKPT=FILE] [RUNS=1000] [WARMUP=100]: speed beside PyTorch, ONNX Runtime and OpenVINO, into bench/results; RUNS=30 WARMUP=5 for a quick look
	@$(bench_python) -m bench $(call quoted,$(or $(CKPT),build/full.ckpt)) --compiler-python $(python) \
	  --runs $(call quoted,$(RUNS)) --warmup $(call quoted,$(WARMUP)) --date "$$(date +%F)" --json build/bench.json
	@mkdir -p bench/results
	@cp build/bench.json bench/results/bench.json
	@$(python) -m bench.chart bench/results/bench.json bench/results/chart.png bench/results/chart-limits.png

bench-families: setup-bench ## [ARGS="--threads 2"]: a model that looks ahead, beside PyTorch and ONNX Runtime, into bench/results
	@$(python) -m bench.families --json build/families.json $(ARGS)
	@cp build/families.json bench/results/families.json

bench-firmware: setup-test ## [ARGS="--cores cortex-m7 --precisions w8 --functions"]: instructions a frame on microcontrollers, under QEMU, into bench/results
	@$(python) -m bench.firmware $(or $(ARGS),--json build/firmware.json --estimates build/microcontrollers.json --table)
	@$(if $(ARGS),,mkdir -p bench/results && cp build/firmware.json bench/results/ && cp build/microcontrollers.json compiler/)

tiles: setup-build build/full.ckpt ## every shape of tile, timed on this machine, into bench/results
	@$(python) -m bench.tiles build/full.ckpt bench/results/tiles.json --date "$$(date +%F)" | tee bench/results/tiles.txt

bench-gpu: setup-build $(if $(CKPT),,build/full.ckpt) ## [CKPT=FILE] [TORCH_PYTHON=PYTHON]: the GPU's speed, beside a PyTorch that has CUDA, into bench/results
	@$(python) -m bench.gpu $(call quoted,$(or $(CKPT),build/full.ckpt)) --torch-python $(call quoted,$(TORCH_PYTHON)) --date "$$(date +%F)" \
	  --results bench/results

gpu-day: setup-build $(if $(CKPT),,build/full.ckpt) build/odd.ckpt ## [CKPT=FILE] [TORCH_PYTHON=PYTHON] [MINUTES=25] [ARGS="--batch 1024"]: all that a machine with a GPU has to tell, into bench/results; again: goes on
	@$(python) -m bench.gpu_day $(call quoted,$(or $(CKPT),build/full.ckpt)) --small build/odd.ckpt --minutes $(call quoted,$(MINUTES)) \
	  --torch-python $(call quoted,$(TORCH_PYTHON)) --date "$$(date +%F)" --results bench/results $(ARGS)

rehearse-gpu-day: setup-test ## `make gpu-day` as it is, without a GPU and without a network, over stand-ins for the GPU, its driver and its tools
	@VOCOSC_TEST_ALL=1 $(python) -m pytest -q tests/test_gpu_day.py -k whole_day

quality: setup-quality ## [CKPT=FILE] [SPEECH=DIR] [KEEP=1]: what each precision does to real speech, into build; KEEP=1: into bench/results, too
	@$(quality_python) -m bench.quality $(call quoted,$(or $(CKPT),$(demo_model))) --speech $(call quoted,$(SPEECH)) --compiler-python $(python) \
	  --torch-python $(bench_python) --date "$$(date +%F)" --json build/quality.json --table build/quality.md \
	  --picture build/quality.png
	@$(if $(KEEP),mkdir -p bench/results && cp build/quality.json build/quality.md build/quality.png bench/results)

corpus: setup-corpus ## synthesise speech to train on, into build/corpus
	@$(train_python) -m train.synthesise build/corpus

train: setup-train ## [CONFIG=FILE] [RUN=DIR] [ARGS="--init-from CKPT ..."]: train a model, or go on with it; the demo's by default
	@if [ -e $(call quoted,$(RUN))/last.ckpt ]; then $(train_python) -m train resume $(call quoted,$(RUN)); \
	  else $(train_python) -m train fit $(call quoted,$(CONFIG)) --out $(call quoted,$(RUN)) $(ARGS); fi

test-train: setup-train ## the tests of training, which need PyTorch
	@$(train_python) -m pytest -q tests/test_train.py

clean: ## remove all that was built; .venv stays
	@rm -rf build examples/*/build .mypy_cache .pytest_cache .ruff_cache
	@find generated -mindepth 1 ! -name README.md -delete
	@find . -name __pycache__ -not -path './.venv*' -exec rm -rf {} +

setup-build setup-test setup-page setup-doors setup-fleet setup-bench setup-quality setup-train setup-corpus: setup-%:
	@.ci/setup $*

lint-python:
	@echo "lint: ruff, mypy"
	@$(python) -m ruff check --quiet .
	@$(python) -m ruff format --check --quiet .
	@$(python) -m mypy --no-error-summary --explicit-package-bases compiler tests bench examples train

lint-c: build/odd.ckpt
	@echo "lint: clang-format, clang-tidy, cppcheck$(if $(with_cuda),, (not of --target cuda, for want of NVRTC))"
	@clang-format --dry-run -Werror $(c_files)
	@.ci/lint-c $(python) build/odd.ckpt $(with_cuda)

# The options for GPU code, where NVRTC can compile it.
with_cuda = $(shell $(python) -c 'from compiler.nvrtc import Nvrtc; Nvrtc()' 2>/dev/null && echo --target cuda --gpu 90)

build/%.ckpt: tests/make_checkpoint.py tests/golden/%.json | setup-build
	@$(python) tests/make_checkpoint.py tests/golden/$*.json $@
