/* The weights, baked from ${options.name}_weights.bin: one read-only section a table, little-endian. */
//% for table in tables

/* ${table.source}: ${table.layout} */
        .section .rodata.vocosc.${table.name}, "a", %progbits
        .balign 64
        .globl vocosc_${table.name}
        .hidden vocosc_${table.name}
        .type vocosc_${table.name}, %object
        .size vocosc_${table.name}, ${table.data.nbytes}
vocosc_${table.name}:
        .incbin "vocosc_weights.bin", ${offsets[table.name]}, ${table.data.nbytes}
//% endfor

        .section .note.GNU-stack, "", %progbits
