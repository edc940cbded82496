/* The mel frames, baked: -DUTTERANCE="file of float32". */
        .section .rodata.utterance, "a", %progbits
        .balign 4
        .globl utterance
        .globl utterance_end
utterance:
        .incbin UTTERANCE
utterance_end:

        .section .note.GNU-stack, "", %progbits
