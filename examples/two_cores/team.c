#include "team.h"

enum { CORES = 2 };

/* Returns once both cores have called it; what one wrote before, the other sees behind. */
static void barrier(void *context) {
  two_core_team *team = context;
  /* The phase cannot move on before this core arrives, so reading it first is safe. */
  const unsigned phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == CORES) {
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
    return;
  }
  while (atomic_load_explicit(&team->phase, memory_order_acquire) == phase) give_way();
}

/* One core's part of the call. The barrier behind it keeps core 0 from posting the next while core 1 reads this one. */
static int take_part(two_core_team *team, int core) {
  const vocos_team member = {.worker = core, .workers = CORES, .barrier = barrier, .context = team};
  const int result = vocos_decode_team(team->stream, team->scratch, team->mel, team->frames, team->audio, &member);
  barrier(team);
  return result;
}

int decode_on_two_cores(two_core_team *team, vocos_stream *stream, vocos_scratch *scratch, const float *mel, int frames,
                        float *audio) {
  team->stream = stream;
  team->scratch = scratch;
  team->mel = mel;
  team->frames = frames;
  team->audio = audio;
  atomic_fetch_add_explicit(&team->posted, 1, memory_order_release);
  return take_part(team, 0);
}

void help(two_core_team *team) {
  for (unsigned done = 0;; done++) {
    while (atomic_load_explicit(&team->posted, memory_order_acquire) == done) give_way();
    take_part(team, 1);
  }
}
