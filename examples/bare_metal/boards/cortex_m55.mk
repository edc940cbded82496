# A Cortex-M55: Arm MPS3 with the AN547 image, or QEMU's model of it. Without the vector unit's floats: they flush
# denormals to zero, whatever the control register says, and so would not give the same bits.
CROSS = arm-none-eabi-
TARGET_CFLAGS = -mthumb -mcpu=cortex-m55+nomve.fp -mfloat-abi=hard $(FREESTANDING)
SOURCES = boards/start_cortex_m.c boards/start.c console_semihosting.c memory.c
EMULATOR = qemu-system-arm -M mps3-an547 $(SEMIHOSTING) -kernel
