# Builds vocosc.wasm and vocosc_relaxed.wasm from these sources: make -f vocosc.mk
# By Clang 16 or later and its lld; another one: make -f vocosc.mk CC=clang-16 LD=wasm-ld-16
ifeq ($(origin CC),default)
CC = clang-19
endif
ifeq ($(origin LD),default)
LD = wasm-ld-19
endif
TARGET_CFLAGS ?= --target=wasm32 -msimd128 -mbulk-memory -mnontrapping-fptoint -ffreestanding -fbuiltin -fvisibility=default

# Flags of yours: they are added, and warnings are no errors then.
CFLAGS ?=
override DEFAULT_CFLAGS := -O3 -Wall -Wextra -Wconversion -Wvla -Walloca $(if $(strip $(CFLAGS)),,-Werror)
OWN_CFLAGS =

# What the bits rest on: these come last, and no variable changes them. No contraction: which products are fused with which
# sums is written out, so that all targets give the same bits.
override MANDATORY_CFLAGS := -std=c11 -fno-trapping-math -fno-fast-math -fno-approx-func -fno-unsafe-math-optimizations \
  -fno-associative-math -fno-reciprocal-math -fno-finite-math-only -fsigned-zeros -fno-math-errno -fno-strict-aliasing -fno-lto \
  -ffp-contract=off

code = ${code | wrap}
data = ${data | wrap}
relaxed = network/vocosc_network_wasm_relaxed.o

all: vocosc.o vocosc.wasm vocosc_relaxed.wasm

# What vocosc.js takes. They import nothing; a call that needs more stack than there is ends in an error.
MODULE_LDFLAGS = --no-entry --export-dynamic --export=__heap_base --stack-first -z stack-size=65536 --strip-all
vocosc.wasm: $(filter-out $(relaxed),$(code)) $(data)
	$(LD) $(MODULE_LDFLAGS) -o $@ $^
vocosc_relaxed.wasm: $(code) $(data)
	$(LD) $(MODULE_LDFLAGS) -o $@ $^

# To link into a module of yours, for engines that know relaxed instructions.
vocosc.o: $(code) $(data)
	$(LD) -r -o $@ $^

$(relaxed): OWN_CFLAGS = -mrelaxed-simd
//% if options.no_libc
network/vocosc_memory.o: OWN_CFLAGS = -fno-builtin
//% endif
$(code): %.o: %.c vocosc.h vocosc.mk $(wildcard network/*.h)
	$(CC) $(DEFAULT_CFLAGS) $(TARGET_CFLAGS) $(CFLAGS) $(EXTRA_CFLAGS) $(OWN_CFLAGS) $(MANDATORY_CFLAGS) -iquote . -iquote network -c -o $@ $<
$(data): %.o: %.S vocosc.mk $(wildcard network/*.bin network/*.h)
	$(CC) $(TARGET_CFLAGS) -c -o $@ $<

clean:
	rm -f $(code) $(data) vocosc.o vocosc.wasm vocosc_relaxed.wasm

.PHONY: all clean
