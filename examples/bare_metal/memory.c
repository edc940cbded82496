/*
 * memcpy, memmove and memset for a toolchain without a C library. Compile with -ffreestanding
 * -fno-tree-loop-distribute-patterns, or the compiler may turn each of these into a call of itself.
 *
 * The object copies rows of floats, so words go first where both ends are aligned.
 */
#include <stdint.h>

#include "string.h"

typedef uint32_t __attribute__((may_alias)) word;

static int is_aligned(const void *a, const void *b) {
  return (((uintptr_t)a | (uintptr_t)b) & (sizeof(word) - 1)) == 0;
}

/* Also right where they overlap, if `to` is the lower one. */
static void copy_forwards(unsigned char *to, const unsigned char *from, size_t count) {
  if (is_aligned(to, from)) {
    for (; count >= 4 * sizeof(word); count -= 4 * sizeof(word), to += 4 * sizeof(word), from += 4 * sizeof(word)) {
      const word *words = (const word *)from;
      const word a = words[0];
      const word b = words[1];
      const word c = words[2];
      const word d = words[3];
      ((word *)to)[0] = a;
      ((word *)to)[1] = b;
      ((word *)to)[2] = c;
      ((word *)to)[3] = d;
    }
    for (; count >= sizeof(word); count -= sizeof(word), to += sizeof(word), from += sizeof(word)) {
      *(word *)to = *(const word *)from;
    }
  }
  while (count-- > 0) *to++ = *from++;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
  copy_forwards(to, from, count);
  return to;
}

void *memmove(void *to, const void *from, size_t count) {
  if ((uintptr_t)to - (uintptr_t)from >= count) { /* `to` is lower, or behind the end */
    copy_forwards(to, from, count);
  } else {
    unsigned char *at = (unsigned char *)to + count;
    const unsigned char *source = (const unsigned char *)from + count;
    while (count-- > 0) *--at = *--source;
  }
  return to;
}

void *memset(void *to, int value, size_t count) {
  unsigned char *at = to;
  while (count-- > 0) *at++ = (unsigned char)value;
  return to;
}
