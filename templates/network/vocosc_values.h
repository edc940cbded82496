/* Single values, without a branch: the time must not depend on data. */
#ifndef VOCOSC_VALUES_H
#define VOCOSC_VALUES_H

#include <stdint.h>

/* By __builtin_memcpy: a freestanding compiler makes a call of memcpy, whatever the size. */
static inline uint32_t bits_of_float(const float *value) {
  uint32_t bits;
  __builtin_memcpy(&bits, value, sizeof bits);
  return bits;
}

/* condition ? a : b, by masks, so that no compiler makes a branch of it. */
static inline float float_select(int condition, float a, float b) {
  const uint32_t mask = 0u - (uint32_t)condition; /* condition is 0 or 1 */
  const uint32_t chosen = (bits_of_float(&a) & mask) | (bits_of_float(&b) & ~mask);
  float value;
  __builtin_memcpy(&value, &chosen, sizeof value);
  return value;
}

/* The nearest to an index of 0 .. most. */
static inline int index_within(int index, int most) { return index < 0 ? 0 : index > most ? most : index; }

/*
 * Inputs below 1e-20 count as zero. No ear or tolerance can tell, but arithmetic on denormal numbers takes many CPUs
 * a hundred times as long: a chunk of 1e-38 must not take longer than a chunk of speech.
 */
static inline float without_denormals(float value) {
  return float_select((value <= -1e-20f) | (value >= 1e-20f), value, 0.0f);
}

/* True if none of the values is NaN or infinite; by the bits, so that no compiler option can spoil it. */
static inline int all_finite(const float *values, int count) {
  uint32_t bad = 0;
  for (int i = 0; i < count; i++) bad |= (bits_of_float(values + i) & 0x7f800000u) == 0x7f800000u;
  return !bad;
}

#endif /* VOCOSC_VALUES_H */
