# A Cortex-A53, in EL1: QEMU's "virt" machine.
CROSS = aarch64-linux-gnu-
TARGET_CFLAGS = -mcpu=cortex-a53 -fno-pic -mno-outline-atomics $(FREESTANDING)
LDFLAGS = -no-pie
SOURCES = boards/start_aarch64.S boards/start.c console_semihosting.c memory.c
EMULATOR = qemu-system-aarch64 -M virt -cpu cortex-a53 -nic none $(SEMIHOSTING) -kernel
