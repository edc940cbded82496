/*
 * A decode by a team of two workers, which are coroutines of one thread, so that it can be interrupted at any barrier:
 * there a bit is flipped, in whatever memory.
 */
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "vocosc.h"

enum { STACK = 1 << 17 };

typedef struct {
  vocosc_stream *stream;
  vocosc_scratch *scratch;
  const float *mel;
  int frames;
  float *audio;
  ucontext_t caller, workers[2];
  int current, arrived, barriers;
  int at; /* the barrier to flip at */
  unsigned char *byte;
  unsigned char bit;
  int done[2], results[2];
} flight;

static flight f;
static unsigned char stacks[2][STACK] __attribute__((aligned(64)));

int vocosc_flip(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, float *audio, int at,
                unsigned char *byte, int bit);
int vocosc_flip_barriers(void);

static void switch_over(void) {
  const int from = f.current;
  f.current = 1 - from;
  swapcontext(&f.workers[from], &f.workers[f.current]);
}

/* The first to come lets the other one run; the second goes on, and the first does at the next barrier. */
static void barrier(void *context) {
  (void)context;
  if (++f.arrived < 2) {
    switch_over();
    return;
  }
  f.arrived = 0;
  if (f.barriers++ == f.at) *f.byte ^= f.bit;
}

static void work(int worker) {
  const vocosc_team team = {worker, 2, barrier, NULL};
  f.results[worker] = vocosc_decode_team(f.stream, f.scratch, f.mel, f.frames, f.audio, &team);
  f.done[worker] = 1;
  if (!f.done[1 - worker]) switch_over();
  swapcontext(&f.workers[worker], &f.caller);
}

/* The status of the decode, during which the bit was flipped at barrier `at`, or never if that is negative. */
int vocosc_flip(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, float *audio, int at,
                unsigned char *byte, int bit) {
  f = (flight){.stream = stream, .scratch = scratch, .mel = mel, .frames = frames, .audio = audio, .at = at};
  f.byte = byte;
  f.bit = (unsigned char)bit;
  for (int worker = 0; worker < 2; worker++) {
    getcontext(&f.workers[worker]);
    f.workers[worker].uc_stack.ss_sp = stacks[worker];
    f.workers[worker].uc_stack.ss_size = STACK;
    makecontext(&f.workers[worker], (void (*)(void))(uintptr_t)work, 1, worker);
  }
  swapcontext(&f.caller, &f.workers[0]);
  return f.results[0] == f.results[1] ? f.results[0] : 1 << 30;
}

/* Barriers of the last decode. */
int vocosc_flip_barriers(void) { return f.barriers; }
