/* The weights as C arrays: the same bytes as .incbin would bake. */
#include "vocosc_model.h"

#if defined(__ELF__)
__attribute__((section(".rodata.vocosc.weights")))
#endif
__attribute__((aligned(64))) const weights_file vocosc_weights = {
    .magic = WEIGHTS_MAGIC,
    .version = WEIGHTS_VERSION,
    .byte_order = BYTE_ORDER_MARK,
    .bytes = sizeof(weights_file),
    .crc32 = ${weights.crc32}u,
    .architecture = {
${architecture | c_numbers}
    },
    .golden_hash = ${weights.golden_hash}u,
//% for table in tables

    /* ${table.source}: ${table.layout} */
    .${table.name} = {
${table.data | c_numbers}
    },
//% endfor
};
