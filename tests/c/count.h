/*
 * Counts the instructions between count_begin() and count_end(). The counts appear elsewhere than the text that says
 * what was counted, but in the same order:
 *
 *   -DCOUNT_BY_CALLGRIND   a file each, written by Valgrind's Callgrind, which the program runs under
 *   -DCOUNT_BY_STEPS       on standard error: the CPU, of the x86-64 kind, traps after every instruction
 *   neither                on standard error, by qemu_count.c, a plugin of QEMU's, which knows both functions by name
 */
#ifndef COUNT_H
#define COUNT_H

#include <stdint.h>

#if __STDC_HOSTED__
#include <stdio.h>
static inline void print_text(const char *text) { fputs(text, stdout); }
static inline void print_number(uint32_t number) { printf("%u", (unsigned)number); }
#else
#include "console.h"
#endif

void count_begin(void);
void count_end(void);

#if defined(COUNT_BY_CALLGRIND)

#include <valgrind/callgrind.h>
void count_begin(void) { CALLGRIND_ZERO_STATS; }
void count_end(void) { CALLGRIND_DUMP_STATS; }

#elif defined(COUNT_BY_STEPS)

#include <signal.h>
static volatile sig_atomic_t steps;
static void take_step(int signal_number) {
  (void)signal_number;
  steps++;
}

/* The trap flag, bit 8 of the flags. What is below the stack pointer is the compiler's: nothing is pushed onto it. */
void count_begin(void) {
  signal(SIGTRAP, take_step);
  steps = 0;
  __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | 1u << 8);
}
void count_end(void) {
  __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~(1ull << 8));
  fprintf(stderr, "%d\n", (int)steps);
}

#else

__attribute__((noinline)) void count_begin(void) { __asm__ volatile(""); }
__attribute__((noinline)) void count_end(void) { __asm__ volatile(""); }

#endif

#endif /* COUNT_H */
