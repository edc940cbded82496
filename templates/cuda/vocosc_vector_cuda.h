/* A thread of a GPU: one lane. See vocosc_vector.h; only what vocosc_vector_math.h and the FFT need. */
#ifndef VOCOSC_VECTOR_CUDA_H
#define VOCOSC_VECTOR_CUDA_H

#include <stdint.h>

#define VEC_LANES 1
#define VEC_FUNCTION static inline
#define VEC_PREFETCH(p, level) ((void)(p))

typedef float vec;
typedef uint32_t vec_bits;

static inline vec_bits vec_to_bits(vec a) { return __float_as_uint(a); }
static inline vec vec_from_bits(vec_bits a) { return __uint_as_float(a); }

static inline float fma_float(float a, float b, float c) { return fmaf(a, b, c); }

static inline void vec_store(float *p, vec a) { *p = a; }
static inline vec vec_set(float a) { return a; }
static inline vec vec_add(vec a, vec b) { return a + b; }
static inline vec vec_sub(vec a, vec b) { return a - b; }
static inline vec vec_mul(vec a, vec b) { return a * b; }
static inline vec vec_div(vec a, vec b) { return a / b; }
static inline vec vec_sqrt(vec a) { return sqrtf(a); }
static inline vec vec_fma(vec a, vec b, vec c) { return fmaf(a, b, c); }
static inline vec vec_min(vec a, vec b) { return a < b ? a : b; }
static inline vec vec_max(vec a, vec b) { return a > b ? a : b; }

static inline vec_bits vec_bits_set(uint32_t a) { return a; }
static inline vec_bits vec_bits_add(vec_bits a, vec_bits b) { return a + b; }
static inline vec_bits vec_bits_and(vec_bits a, vec_bits b) { return a & b; }
static inline vec_bits vec_bits_xor(vec_bits a, vec_bits b) { return a ^ b; }
static inline vec_bits vec_bits_shift_left(vec_bits a, int count) { return a << count; }
static inline vec_bits vec_bits_shift_right(vec_bits a, int count) { return a >> count; }
static inline vec vec_select(vec_bits chosen, vec a, vec b) { return chosen ? a : b; }

#endif /* VOCOSC_VECTOR_CUDA_H */
