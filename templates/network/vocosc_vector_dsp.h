/* Cortex-M with an FPU and the DSP extension: one lane of float, whole panels of products. See vocosc_vector.h. */
#ifndef VOCOSC_VECTOR_DSP_H
#define VOCOSC_VECTOR_DSP_H

#if !defined(__ARM_FEATURE_DSP) || !defined(__ARM_FEATURE_FMA)
#error "this target is for Cortex-M with DSP and FPU: say so, such as by -mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard"
#endif

#include <stdint.h>

//% if "w8a8" in formats | map(attribute="name")
#define W8A8_STEP 4
#define W8A8_INPUT_OFFSET 0
#define W8A8_WIDE_ROWS
typedef int16_t w8a8_element;
//% endif
#include "vocosc_products_fpu.h"
#include "vocosc_vector_fpu.h"
//% if formats | selectattr("is_integer") | list
#include "vocosc_products_dsp.h"

#define W8_SIDE_BY_SIDE 4 /* inputs of a row before those of the next row */
#define W16_SIDE_BY_SIDE W8_SIDE_BY_SIDE
#define W4_SIDE_BY_SIDE W8_SIDE_BY_SIDE
//% endif
//% if "w8a8" in formats | map(attribute="name")

/* w8a8 is w8 with less in a row: bytes as int16. */
#define W8A8_SIDE_BY_SIDE W8_SIDE_BY_SIDE
#define w8a8_products w8_products
//% endif
//% if "w8a8" in formats | map(attribute="name")
typedef vec_bits w8a8_sum;
static inline vec_bits w8a8_total(w8a8_sum sum) { return sum; }
static inline w8a8_sum w8a8_zero(void) { return 0; }
static inline void w8a8_store(w8a8_element *p, vec a) { w8_store(p, a); }
//% endif

#endif /* VOCOSC_VECTOR_DSP_H */
