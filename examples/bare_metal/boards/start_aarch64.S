/* Start-up of an AArch64 core in EL1. */

        .section .start, "ax"
        .globl start
start:
        bl prepare_core
        ldr x0, =stack_top
        mov sp, x0
        b start_program

/* FPU, vectors and caches on, memory mapped one to one: for every core. Uses x0 alone, and no stack. */
        .globl prepare_core
prepare_core:
        mov x0, #3 << 20                /* CPACR_EL1.FPEN: no traps of the FPU and NEON */
        msr cpacr_el1, x0
        isb
        msr fpcr, xzr                   /* round to nearest, denormals kept: the same bits as on the desk need just that */
        ldr x0, =vectors
        msr vbar_el1, x0
        /* Without the MMU all memory counts as a device's: uncached, and unaligned or exclusive accesses may fault. */
        ldr x0, =0xff00                 /* MAIR: attribute 0 is a device's memory, 1 is normal, cached */
        msr mair_el1, x0
        ldr x0, =0x803520               /* TCR: 32-bit addresses, by TTBR0 alone; tables cached, shareable; 4 KB pages */
        msr tcr_el1, x0
        ldr x0, =memory_map
        msr ttbr0_el1, x0
        isb
        mrs x0, sctlr_el1
        orr x0, x0, #1 << 0             /* MMU */
        orr x0, x0, #1 << 2             /* data cache */
        orr x0, x0, #1 << 12            /* instruction cache */
        msr sctlr_el1, x0
        isb
        ret

        .balign 2048
vectors:
        .rept 16
        .balign 128
        b fault
        .endr

        .section .rodata, "a"
        .balign 32
memory_map:                             /* blocks of 1 GB */
        .quad 0x00000000 | 0x401        /* devices: accessed, attribute 0 */
        .quad 0x40000000 | 0x705        /* RAM: accessed, inner shareable, attribute 1 */
        .quad 0, 0

        .section .note.GNU-stack, "", %progbits
