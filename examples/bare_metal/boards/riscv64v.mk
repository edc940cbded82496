# A RISC-V core with RV64GC and V 1.0, whose registers have VLEN bits, in machine mode: QEMU's "virt" machine.
CROSS = riscv64-unknown-elf-
CC = clang-19 --target=riscv64-unknown-elf
TARGET_CFLAGS = -march=rv64gcv -mabi=lp64d -mcmodel=medany -fno-pic $(FREESTANDING)
LDFLAGS = -fuse-ld=lld
VLEN = 128
SOURCES = boards/start_riscv.S boards/start.c console_semihosting.c memory.c
EMULATOR = qemu-system-riscv64 -M virt -cpu rv64,v=true,vext_spec=v1.0,vlen=$(VLEN) -bios none $(SEMIHOSTING) -kernel
