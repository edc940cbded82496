/* What the fuzzers share: bytes of an input one after the other, files made of them, and checks that end the run. */
#ifndef INPUT_H
#define INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      abort();                                                                      \
    }                                                                               \
  } while (0)

typedef struct {
  const uint8_t *bytes;
  size_t left;
} input;

/* The next byte; 0 behind the end. */
static inline uint8_t next_byte(input *in) {
  if (in->left == 0) return 0;
  in->left--;
  return *in->bytes++;
}

static inline uint32_t next_word(input *in) {
  uint32_t word = 0;
  for (int i = 0; i < 4; i++) word = word << 8 | next_byte(in);
  return word;
}

static inline float next_float_bits(input *in) {
  const uint32_t bits = next_word(in);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* Memory of just so many bytes, full of a pattern: the address sanitizer watches its ends. The caller frees it. */
static inline void *exact(size_t bytes) {
  void *memory = malloc(bytes);
  CHECK(memory != NULL);
  memset(memory, 0xa5, bytes);
  return memory;
}

#endif /* INPUT_H */
