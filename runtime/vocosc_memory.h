/* memcpy, memmove and memset: a C library's, or those of vocosc_memory.c (--no-libc). */
#ifndef VOCOSC_MEMORY_H
#define VOCOSC_MEMORY_H

//% if options.no_libc
#include <stddef.h>

#pragma GCC visibility push(hidden)
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
#pragma GCC visibility pop
//% else
#if defined(__has_include)
#if !__has_include(<string.h>)
#error "no string.h: install a C library (such as newlib), or compile the model with --no-libc"
#endif
#endif
#include <string.h>
//% endif

#endif /* VOCOSC_MEMORY_H */
