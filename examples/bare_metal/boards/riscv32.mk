# A RISC-V core with RV32IMAFC, whose FPU has single precision only, in machine mode: QEMU's "virt" machine.
CROSS = riscv64-unknown-elf-
TARGET_CFLAGS = -march=rv32imafc -mabi=ilp32f -fno-pic $(FREESTANDING)
SOURCES = boards/start_riscv.S boards/start.c console_semihosting.c memory.c
LDFLAGS = -Wl,-m,elf32lriscv
EMULATOR = qemu-system-riscv32 -M virt -bios none $(SEMIHOSTING) -kernel
