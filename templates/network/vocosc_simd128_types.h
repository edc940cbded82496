/* Vectors of 128 bits, as GCC and Clang have them on any machine. */
#ifndef VOCOSC_SIMD128_TYPES_H
#define VOCOSC_SIMD128_TYPES_H

#include <stdint.h>

typedef float vec __attribute__((vector_size(16)));
typedef uint32_t vec_bits __attribute__((vector_size(16)));
typedef int32_t simd_ints __attribute__((vector_size(16)));
typedef int16_t simd_shorts __attribute__((vector_size(16)));
typedef int8_t simd_bytes __attribute__((vector_size(16)));
typedef double simd_doubles __attribute__((vector_size(16)));
typedef int64_t simd_longs __attribute__((vector_size(16)));
typedef uint64_t simd_unsigned_longs __attribute__((vector_size(16)));

#endif /* VOCOSC_SIMD128_TYPES_H */
