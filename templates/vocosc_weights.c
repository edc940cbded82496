/* The weights as C arrays: one read-only section a table, the same bytes as .incbin would bake. */
#include "vocosc_model.h"

#define TABLE(type, name) __attribute__((aligned(64), section(".rodata.vocosc." #name))) const type vocosc_##name
//% for table in tables

/* ${table.source}: ${table.layout} */
TABLE(${table.c_type}, ${table.name})[${table.data.size}] = {
${table.data | c_numbers}
};
//% endfor
