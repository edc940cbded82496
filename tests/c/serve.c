/*
 * Calls the library for a test that runs on another kind of CPU. Standard input brings calls: the function's name
 * without its prefix, in 32 bytes; the number of arguments; for each its size in bytes, then an array of that size, an
 * int for size -1, nothing for size -2 (a null pointer). Standard output takes the result, then all arrays again.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vocosc.h"

enum { MOST_ARGUMENTS = 5, INT = -1, NO_ARRAY = -2 };

static void *memory[MOST_ARGUMENTS];
static int number[MOST_ARGUMENTS];

static int call(const char *name) {
  void **p = memory;
  const vocosc_target target = (vocosc_target)number[1];
#define IS(function) (strcmp(name, #function) == 0)
  if (IS(max_frames)) return vocosc_max_frames();
  if (IS(stream_bytes)) return (int)vocosc_stream_bytes();
  if (IS(mel_stream_bytes)) return (int)vocosc_mel_stream_bytes();
  if (IS(scratch_bytes)) return (int)vocosc_scratch_bytes();
  if (IS(init_target)) return vocosc_init_target(p[0], target);
  if (IS(reset)) return vocosc_reset(p[0]);
  if (IS(selftest)) return vocosc_selftest(p[0], p[1]);
  if (IS(decode)) return vocosc_decode(p[0], p[1], p[2], number[3], p[4]);
  if (IS(decode_int16)) return vocosc_decode_int16(p[0], p[1], p[2], number[3], p[4]);
#if VOCOSC_COUNTS_FRAMES
  if (IS(decode_samples)) return vocosc_decode_samples(p[0], number[1]);
#endif
#if VOCOSC_LATENCY_LOOKAHEAD_FRAMES > 0
  if (IS(flush)) return vocosc_flush(p[0], p[1], p[2]);
  if (IS(flush_int16)) return vocosc_flush_int16(p[0], p[1], p[2]);
#else
  if (IS(flush)) return vocosc_flush(p[0], p[1]);
  if (IS(flush_int16)) return vocosc_flush_int16(p[0], p[1]);
#endif
  if (IS(mel_init_target)) return vocosc_mel_init_target(p[0], target);
  if (IS(mel_reset)) return vocosc_mel_reset(p[0]);
  if (IS(mel)) return vocosc_mel(p[0], p[1], p[2], number[3], p[4]);
  if (IS(mel_int16)) return vocosc_mel_int16(p[0], p[1], p[2], number[3], p[4]);
  if (IS(mel_flush)) return vocosc_mel_flush(p[0], p[1], p[2]);
  fprintf(stderr, "serve: no function %s\n", name);
  exit(1);
}

static void take(void *to, size_t size) {
  if (size > 0 && fread(to, size, 1, stdin) != 1) exit(feof(stdin) ? 0 : 1);
}

int main(void) {
  for (;;) {
    char name[33] = "";
    int32_t count, sizes[MOST_ARGUMENTS];
    take(name, 32);
    take(&count, sizeof count);
    if (count < 0 || count > MOST_ARGUMENTS) return 1;
    for (int i = 0; i < count; i++) {
      take(&sizes[i], sizeof *sizes);
      memory[i] = sizes[i] >= 0 ? aligned_alloc(64, ((size_t)sizes[i] / 64 + 1) * 64) : NULL;
      if (sizes[i] == INT) take(&number[i], sizeof *number);
      if (memory[i] != NULL) take(memory[i], (size_t)sizes[i]);
    }
    const int32_t result = call(name);
    fwrite(&result, sizeof result, 1, stdout);
    for (int i = 0; i < count; i++) {
      if (sizes[i] > 0) fwrite(memory[i], (size_t)sizes[i], 1, stdout);
      free(memory[i]);
    }
    fflush(stdout);
  }
}
