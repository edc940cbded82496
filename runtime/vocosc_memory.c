/* memcpy, memmove and memset for programs without a C library (--no-libc). They are local to the object. */
#include "vocosc_memory.h"

#include <stddef.h>
#include <stdint.h>

/* Else the loops would become calls to the very functions that they are; clang has -fno-builtin for that. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

#ifdef __wasm__ /* objects of WebAssembly have no local symbols: another model, or a C library, may bring them, too */
#pragma weak memcpy
#pragma weak memmove
#pragma weak memset
#endif

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  unsigned char *t = to;
  const unsigned char *f = from;
  for (size_t i = 0; i < bytes; i++) t[i] = f[i];
  return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
  unsigned char *t = to;
  const unsigned char *f = from;
  if ((uintptr_t)t <= (uintptr_t)f) {
    for (size_t i = 0; i < bytes; i++) t[i] = f[i];
  } else {
    for (size_t i = bytes; i > 0; i--) t[i - 1] = f[i - 1];
  }
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  unsigned char *t = to;
  for (size_t i = 0; i < bytes; i++) t[i] = (unsigned char)value;
  return to;
}
