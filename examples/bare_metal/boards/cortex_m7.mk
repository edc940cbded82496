# A Cortex-M7 whose FPU has single precision only: Arm MPS2+ with the AN500 image, or QEMU's model of it.
CROSS = arm-none-eabi-
TARGET_CFLAGS = -mthumb -mcpu=cortex-m7 -mfpu=fpv5-sp-d16 -mfloat-abi=hard $(FREESTANDING)
SOURCES = boards/start_cortex_m.c boards/start.c console_semihosting.c memory.c
EMULATOR = qemu-system-arm -M mps2-an500 $(SEMIHOSTING) -kernel
