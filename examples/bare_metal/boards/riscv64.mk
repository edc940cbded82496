# A RISC-V core with RV64GC, in machine mode: QEMU's "virt" machine.
CROSS = riscv64-unknown-elf-
TARGET_CFLAGS = -march=rv64gc -mabi=lp64d -mcmodel=medany -fno-pic $(FREESTANDING)
SOURCES = boards/start_riscv.S boards/start.c console_semihosting.c memory.c
EMULATOR = qemu-system-riscv64 -M virt -bios none $(SEMIHOSTING) -kernel
