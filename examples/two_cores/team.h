/*
 * A team of two cores: core 0 has the audio to deliver, core 1 helps it. No operating system is needed, only atomic
 * operations (C11) on memory that both cores see alike. With an RTOS, the cores are two tasks pinned to them.
 */
#ifndef TEAM_H
#define TEAM_H

#include <stdatomic.h>

#include "vocos.h"

typedef struct {
  /* Both cores write the first two at every barrier: each has a cache line of its own. */
  _Alignas(64) atomic_uint arrived;
  _Alignas(64) atomic_uint phase;
  _Alignas(64) atomic_uint posted; /* calls so far; a change wakes core 1 */
  /* The call, written by core 0 before it is posted. */
  vocos_stream *stream;
  vocos_scratch *scratch;
  const float *mel;
  int frames;
  float *audio;
} two_core_team;

/* Core 0: vocos_decode by both cores; same arguments, same audio, same return value. `team` begins as zeros. */
int decode_on_two_cores(two_core_team *team, vocos_stream *stream, vocos_scratch *scratch, const float *mel, int frames,
                        float *audio);

/* Core 1: helps, for ever. */
_Noreturn void help(two_core_team *team);

/* ---- what the machine brings ---- */

/* Starts core 1, which calls work(). */
void start_core_1(void (*work)(void));

/* Between two looks at what the other core does: a hint to the core, or, with an RTOS, a chance for other tasks. */
void give_way(void);

#endif /* TEAM_H */
