/* A source of numbers, the same on every machine, that needs no library. */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>

/* A linear congruential generator's upper bits, with Knuth's constants. */
static inline uint32_t next_bits(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*seed >> 32);
}

/* Uniform in low .. high. */
static inline float next_float(uint64_t *seed, float low, float high) {
  return low + (high - low) * ((float)(next_bits(seed) >> 8) * 0x1p-24f);
}

#endif /* RANDOM_H */
