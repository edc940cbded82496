# A Cortex-M4 with its FPU: Arm MPS2 with the AN386 image, or QEMU's model of it.
CROSS = arm-none-eabi-
TARGET_CFLAGS = -mthumb -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard $(FREESTANDING)
SOURCES = boards/start_cortex_m.c boards/start.c console_semihosting.c memory.c
EMULATOR = qemu-system-arm -M mps2-an386 $(SEMIHOSTING) -kernel
