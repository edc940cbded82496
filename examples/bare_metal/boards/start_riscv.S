/* Start-up of a RISC-V hart in machine mode. */

        .section .start, "ax"
        .globl start
start:
        li t0, 1 << 13 | 1 << 9         /* mstatus.FS and VS: the FPU and the vector unit, if there is one, are on */
        csrs mstatus, t0
        csrw fcsr, zero                 /* round to nearest; RISC-V keeps denormals always */
        la t0, trap
        csrw mtvec, t0
        la sp, stack_top
        call start_program

        .balign 4
trap:
        call fault

        .section .note.GNU-stack, "", %progbits
