# Builds vocosc.o, libvocosc.a and the host tool from these sources: make -f vocosc.mk
//% if options.target == "riscv-v"
# Another compiler: make -f vocosc.mk CC="clang-19 --target=riscv64-unknown-elf" TARGET_CFLAGS="-march=rv64gcv -mabi=lp64d"
//% else
# Another compiler: make -f vocosc.mk CC=arm-none-eabi-gcc TARGET_CFLAGS="-mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard"
//% endif
# GCC's ar and objcopy are taken along; those that go with Clang are to be named: AR=llvm-ar-19 OBJCOPY=llvm-objcopy-19, or
# GNU's for the machine. For a machine without an operating system there is no host tool. Without a C library, compile the
# model with --no-libc.
//% if options.target in bare_targets
ifeq ($(origin CC),default)
CC = arm-none-eabi-gcc
endif
TARGET_CFLAGS ?= ${bare_targets[options.target]}
//% endif
//% if options.target.startswith("aarch64")
ifneq ($(shell uname -m),aarch64)
CC = aarch64-linux-gnu-gcc
AR = aarch64-linux-gnu-ar
OBJCOPY = aarch64-linux-gnu-objcopy
TOOL_LDFLAGS = -static # qemu-aarch64 runs the tool as it is: no libraries of AArch64 are needed
endif
//% endif
ifeq ($(origin CC),default)
CC = cc
endif
override CROSS := $(patsubst %gcc,%,$(filter %-gcc,$(firstword $(CC))))
ifeq ($(origin AR),default)
AR = $(CROSS)ar
endif
OBJCOPY ?= $(CROSS)objcopy

# Flags that name the machine, in every step, such as -mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard.
TARGET_CFLAGS ?=

# Flags of yours, such as -g: CFLAGS for all that is compiled, and EXTRA_CFLAGS for the object alone. They are added, and with
# CFLAGS warnings are no errors.
CFLAGS ?=
override WARNINGS := -Wall -Wextra -Wconversion $(if $(strip $(CFLAGS)),,-Werror)
override DEFAULT_CFLAGS := -O3 $(WARNINGS) -Wvla -Walloca -fPIC -fno-asynchronous-unwind-tables
OWN_CFLAGS =

# Indirect branches go to marked places only, where the machine checks it (CET, BTI): else a linker would switch that off for
# the whole program.
override MACHINE := $(shell $(CC) $(TARGET_CFLAGS) -dumpmachine 2>&1)
override BARE := $(if $(findstring linux,$(MACHINE)),,$(filter %-elf %eabi %eabihf,$(MACHINE)))
BRANCH_CFLAGS = $(if $(filter x86_64-%,$(MACHINE)),-fcf-protection)$(if $(filter aarch64-linux-%,$(MACHINE)),-mbranch-protection=standard)

# What the bits and the promises rest on: these come last, and no variable changes them. No contraction: which products are
# fused with which sums is written out, so that all targets give the same bits.
# Clang has no name for -fno-unsafe-math-optimizations but the parts that follow: it would bring strict exceptions back.
override CLANG := $(findstring clang,$(shell $(CC) --version 2>&1))
override MANDATORY_CFLAGS := -std=c11 -fno-trapping-math -fno-fast-math $(if $(CLANG),-fno-approx-func,-fno-unsafe-math-optimizations) \
  -fno-associative-math -fno-reciprocal-math -fno-finite-math-only -fsigned-zeros -fno-math-errno \
  -fno-strict-aliasing -fno-jump-tables -fno-stack-protector -U_FORTIFY_SOURCE -fno-lto -ffp-contract=off${" $(if $(BARE),-ffreestanding -fbuiltin)" if options.no_libc}

TOOL_CFLAGS = -std=c11 -D_POSIX_C_SOURCE=200809L -O2 $(WARNINGS) $(TARGET_CFLAGS)

code = ${code | wrap}
data = ${data | wrap}
tool = ${tool | wrap}

all: vocosc.o libvocosc.a $(if $(BARE),,vocosc)

# One object: everything but the public functions becomes local to it.
# (An object of Windows has no hidden symbols: there the others stay visible, and have the prefix.)
windows = $(findstring mingw,$(CC))
vocosc.o: $(code) $(data)
	$(CC) $(TARGET_CFLAGS) -r -nostdlib $(if $(windows),,-Wl,-z,noexecstack) -o network/all.o $(code) $(data)
	$(if $(windows),cp network/all.o $@,$(OBJCOPY) --localize-hidden network/all.o $@)

libvocosc.a: vocosc.o
	rm -f $@
	$(AR) rcsD $@ vocosc.o

# For programs that load it: `make -f vocosc.mk libvocosc.so`.
libvocosc.so: vocosc.o vocosc.map
	$(CC) $(TARGET_CFLAGS) -shared -nostartfiles -Wl,-z,defs -Wl,-z,noexecstack -Wl,--build-id=none -Wl,-soname,$@ \
	  -Wl,--version-script=vocosc.map -o $@ vocosc.o -Wl,--as-needed ${libraries}

vocosc: $(tool) libvocosc.a
	$(CC) $(TARGET_CFLAGS) $(TOOL_LDFLAGS) -o $@ $(tool) libvocosc.a ${libraries}

//% for isa in isas if isa.flags or isa.gcc_flags
network/vocosc_network_${isa.name}.o: OWN_CFLAGS = ${isa.flags | join(" ")}${" " + isa.make_flags if isa.make_flags}${" $(if $(findstring clang,$(CC)),,%s)" | format(isa.gcc_flags | join(" ")) if isa.gcc_flags}
//% endfor
//% if options.no_libc
network/vocosc_memory.o: OWN_CFLAGS = -fno-builtin
//% endif
$(code): %.o: %.c vocosc.h vocosc.mk $(wildcard network/*.h)
	$(CC) $(DEFAULT_CFLAGS) $(TARGET_CFLAGS) $(CFLAGS) $(EXTRA_CFLAGS) $(OWN_CFLAGS) $(BRANCH_CFLAGS) $(MANDATORY_CFLAGS) -iquote . -iquote network -c -o $@ $<
$(data): %.o: %.S vocosc.mk $(wildcard network/*.bin network/*.h)
	$(CC) $(TARGET_CFLAGS) $(BRANCH_CFLAGS) -c -o $@ $<
$(tool): %.o: %.c vocosc.h vocosc.mk $(wildcard tool/*.h)
	$(CC) $(TOOL_CFLAGS) $(CFLAGS) -iquote . -iquote tool -c -o $@ $<

# make -f vocosc.mk install [PREFIX=/usr] [DESTDIR=build/root] [SHARED=no]: header, libraries, tool, and what CMake and
# pkg-config look for.
PREFIX = /usr/local
SHARED = yes
to = $(DESTDIR)$(PREFIX)
installed = 's|^prefix=.*|prefix=$(PREFIX)|; s|^includedir=.*|includedir=$(PREFIX)/include|; \
  s|^libdir=.*|libdir=$(PREFIX)/lib|; s|^Libs: [^ ]*|Libs: -L$(PREFIX)/lib -lvocosc|'

install: all $(if $(filter yes,$(SHARED)),libvocosc.so)
	install -d "$(to)/bin" "$(to)/include" "$(to)/lib/pkgconfig" "$(to)/lib/cmake/vocosc" "$(to)/share/vocosc"
	install -m 755 vocosc "$(to)/bin"
	install -m 644 ${headers} "$(to)/include"
	install -m 644 libvocosc.a "$(to)/lib"
	$(if $(filter yes,$(SHARED)),install -m 755 libvocosc.so "$(to)/lib")
	sed -e $(installed) vocosc.pc >"$(to)/lib/pkgconfig/vocosc.pc"
	install -m 644 vocoscConfig.cmake vocoscConfigVersion.cmake "$(to)/lib/cmake/vocosc"
	install -m 644 ${shares} "$(to)/share/vocosc"

clean:
	rm -f $(code) $(data) $(tool) network/all.o vocosc.o libvocosc.a libvocosc.so vocosc

.PHONY: all install clean
