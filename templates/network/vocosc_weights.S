/* The weights, baked from ${options.name}_weights.bin, little-endian: a weights_file of vocosc_model.h. */
        .section .rodata.vocosc.weights, "a", %progbits
        .balign 64
        .globl vocosc_weights
        .hidden vocosc_weights
        .type vocosc_weights, %object
        .size vocosc_weights, ${weights.file | length}
vocosc_weights:
        .incbin "network/vocosc_weights.bin"

#include "vocosc_branches.h"

        .section .note.GNU-stack, "", %progbits
