/* What the C tests share: cmocka, a source of numbers, and a hash. */
#ifndef CHECK_H
#define CHECK_H

/* cmocka needs these before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <string.h>

#include "random.h"

static inline uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* FNV-1a, over words. */
static inline uint64_t hash_word(uint64_t hash, uint32_t word) { return (hash ^ word) * 1099511628211u; }

/* Fails with a message of one's own. */
#define check(condition, ...)     \
  do {                            \
    if (!(condition)) {           \
      print_error(__VA_ARGS__);   \
      print_error("\n");          \
      fail_msg("%s", #condition); \
    }                             \
  } while (0)

#endif /* CHECK_H */
