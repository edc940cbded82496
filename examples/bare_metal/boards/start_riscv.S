/* Start-up of a RISC-V hart in machine mode. */

        .section .start, "ax"
        .globl start
start:
        li t0, 1 << 13                  /* mstatus.FS: the FPU is on */
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
