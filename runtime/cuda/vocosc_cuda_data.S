/* The kernels' images and the GPU's weights, baked from ${options.name}_cuda_images.bin and ${options.name}_cuda_weights.bin. */
//% for table, bytes in [("images", images_bytes), ("weights", device.weight_bytes)]

        .section .rodata.vocosc.cuda_${table}, "a", %progbits
        .balign 64
        .globl vocosc_cuda_${table}
        .hidden vocosc_cuda_${table}
        .type vocosc_cuda_${table}, %object
        .size vocosc_cuda_${table}, ${bytes}
vocosc_cuda_${table}:
        .incbin "network/vocosc_cuda_${table}.bin"
//% endfor

#include "vocosc_branches.h"

        .section .note.GNU-stack, "", %progbits
