/*
 * Cortex-M with the vector extension of Armv8.1-M, floats included: its vectors multiply integers, and halves where no
 * number can be denormal, since they take denormal numbers for zero. All else the FPU does, one lane at a time; compile
 * with +nomve.fp, or GCC does more by vectors. See vocosc_vector.h.
 */
#ifndef VOCOSC_VECTOR_MVE_H
#define VOCOSC_VECTOR_MVE_H

#if !defined(__ARM_FEATURE_MVE) || !defined(__ARM_FEATURE_FMA)
#error "this target is for Cortex-M with MVE and FPU: say so, such as by -mcpu=cortex-m55+nomve.fp -mfloat-abi=hard"
#endif

//% if "w8a8" in formats | map(attribute="name")
/* w8a8: bytes less 128, as int8. */
#define W8A8_STEP 4
#define W8A8_INPUT_OFFSET 128
#define W8A8_SIDE_BY_SIDE 16 /* inputs of a row before those of the next row */
//% endif
#include "vocosc_vector_fpu.h"
//% if "w8a8" in formats | map(attribute="name")
typedef vec_bits w8a8_sum;
static inline vec_bits w8a8_total(w8a8_sum sum) { return sum; }
static inline w8a8_sum w8a8_zero(void) { return 0; }
static inline void w8a8_store(uint8_t *p, vec a) {
  *p = (uint8_t)(vec_to_bits(a + 0x1.8p23f) - W8A8_INPUT_OFFSET);
}
//% endif
#define W8_SIDE_BY_SIDE 8 /* inputs of a row of int16 before those of the next row */
#define W16_SIDE_BY_SIDE W8_SIDE_BY_SIDE
#define W4_SIDE_BY_SIDE W8_SIDE_BY_SIDE
#include "vocosc_products_fpu.h"
//% if by_vectors or formats | selectattr("is_integer") | list
#include "vocosc_products_mve.h"
//% endif
//% if gelu_by_vectors
#include "vocosc_rows_mve.h"
//% endif

#endif /* VOCOSC_VECTOR_MVE_H */
