# Builds vocosc.o, libvocosc.a and the host tool from these sources: make -f vocosc.mk
//% if options.target.startswith("aarch64")
ifeq ($(shell uname -m),aarch64)
CC = cc
AR = ar
OBJCOPY = objcopy
else
CC = aarch64-linux-gnu-gcc
AR = aarch64-linux-gnu-ar
OBJCOPY = aarch64-linux-gnu-objcopy
TOOL_LDFLAGS = -static # qemu-aarch64 runs the tool as it is: no libraries of AArch64 are needed
endif
//% else
# Another compiler: make -f vocosc.mk CC=arm-none-eabi-gcc OBJCOPY=arm-none-eabi-objcopy AR=arm-none-eabi-ar
CC = cc
AR = ar
OBJCOPY = objcopy
//% endif

# Flags that name the machine, in every step, such as -mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard.
TARGET_CFLAGS =

# No contraction: which products are fused with which sums is written out, so that all targets give the same bits.
CFLAGS = -std=c11 -O3 -Wall -Wextra -Wconversion -Wvla -Walloca -Werror -fPIC -ffp-contract=off -fno-math-errno \
         -fno-trapping-math -fno-strict-aliasing -fno-stack-protector -fno-asynchronous-unwind-tables $(TARGET_CFLAGS) \
         $(EXTRA_CFLAGS)
TOOL_CFLAGS = -std=c11 -D_POSIX_C_SOURCE=200809L -O2 -Wall -Wextra -Wconversion -Werror $(TARGET_CFLAGS)

objects = vocosc_api.o vocosc_target.o vocosc_tables.o ${"vocosc_weights.o " if options.baked else ""}${"vocosc_memory.o " if options.no_libc else ""}\
          ${objects | join(" ")}
//% if device
objects += vocosc_cuda_api.o vocosc_cuda_tables.o vocosc_cuda_data.o${" vocosc_cuda_libs.o" if device.library_steps else ""}
//% endif
tool_objects = ${tool_objects | join(" ")}

all: vocosc.o libvocosc.a vocosc

# One object: everything but the public functions becomes local to it.
vocosc.o: $(objects)
	$(CC) $(TARGET_CFLAGS) -r -nostdlib -Wl,-z,noexecstack -o vocosc_all.o $(objects)
	$(OBJCOPY) --localize-hidden vocosc_all.o $@

libvocosc.a: vocosc.o
	rm -f $@
	$(AR) rcsD $@ vocosc.o

vocosc_api.o: vocosc.c
	$(CC) $(CFLAGS) -c -o $@ vocosc.c
//% if device
vocosc_cuda_api.o: vocosc_cuda.c
	$(CC) $(CFLAGS) -c -o $@ vocosc_cuda.c
vocosc_cuda_data.o: vocosc_cuda_data.S vocosc_cuda_images.bin vocosc_cuda_weights.bin
	$(CC) -c -o $@ vocosc_cuda_data.S
//% endif
//% if options.baked
vocosc_weights.o: ${weights_source} ${weights_data}
	$(CC) $(TARGET_CFLAGS) -c -o $@ ${weights_source}
//% endif
//% if options.no_libc
vocosc_memory.o: vocosc_memory.c
	$(CC) $(CFLAGS) -fno-builtin -c -o $@ vocosc_memory.c
//% endif
//% if "portable" in isa_names
# Vectorised, plain C would be no faster, but with int8 weights four times as large.
vocosc_network_portable.o: vocosc_network.c
	$(CC) $(CFLAGS) -fno-tree-vectorize -c -o $@ vocosc_network.c
//% endif
//% if "avx2" in isa_names
vocosc_network_avx2.o: vocosc_network.c
	$(CC) $(CFLAGS) -mavx2 -mfma -mf16c -DVOCOSC_ISA_AVX2 -c -o $@ vocosc_network.c
//% endif
//% if "avx512" in isa_names
vocosc_network_avx512.o: vocosc_network.c
	$(CC) $(CFLAGS) -mavx512f -mavx512vl -mavx512bw -mavx512dq ${"-mavx512vnni " if is_int8 else ""}-mfma -DVOCOSC_ISA_AVX512 -c -o $@ vocosc_network.c
//% endif
//% if "neon" in isa_names
# GCC would move all loads of a tile to the front, and spill accumulators; clang does not, nor knows the option.
vocosc_network_neon.o: vocosc_network.c
	$(CC) $(CFLAGS) $(if $(findstring clang,$(CC)),,-fno-schedule-insns) -DVOCOSC_ISA_NEON ${"-march=armv8.2-a+dotprod -DVOCOSC_DOT_PRODUCT " if options.target == "aarch64-dotprod" else ""}-c -o $@ vocosc_network.c
//% endif
//% if "libs" in isa_names
vocosc_network_libs.o: vocosc_network_libs.c
	$(CC) $(CFLAGS) -c -o $@ vocosc_network_libs.c
//% endif
%.o: %.c
	$(CC) $(CFLAGS) -c -o $@ $<

$(tool_objects): %.o: %.c
	$(CC) $(TOOL_CFLAGS) -c -o $@ $<
vocosc: $(tool_objects) libvocosc.a
	$(CC) $(TARGET_CFLAGS) $(TOOL_LDFLAGS) -o $@ $(tool_objects) libvocosc.a ${libraries}

clean:
	rm -f *.o *.su libvocosc.a vocosc

.PHONY: all clean
