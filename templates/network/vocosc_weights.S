/* The weights, baked from ${options.name}_weights.bin, little-endian: a weights_file of vocosc_model.h. */
#if defined(__ELF__)
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
#elif defined(__APPLE__)
        .const
        .balign 64
        .globl _vocosc_weights
        .private_extern _vocosc_weights
_vocosc_weights:
        .incbin "network/vocosc_weights.bin"
#elif defined(__wasm__)
        .section .rodata.vocosc.weights, "", @
        .balign 64
        .globl vocosc_weights
        .hidden vocosc_weights
        .type vocosc_weights, @object
vocosc_weights:
        .incbin "network/vocosc_weights.bin"
        .size vocosc_weights, ${weights.file | length}
#else /* Windows */
        .section .rdata, "dr"
        .balign 64
        .globl vocosc_weights
vocosc_weights:
        .incbin "network/vocosc_weights.bin"
#endif
