/* The weights as C arrays: one read-only section a table, the same bytes as .incbin would bake. */
#include "vocosc_model.h"

#define TABLE(name) __attribute__((aligned(64), section(".rodata.vocosc." #name))) const float vocosc_##name
//% for table in tables

/* ${table.source}: ${table.layout} */
TABLE(${table.name})[${table.data.size}] = {
${table.data | c_floats}
};
//% endfor
