/* Core 1 is a thread. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "team.h"

static void (*core_1_work)(void);

static void *run(void *nothing) {
  core_1_work();
  return nothing;
}

void start_core_1(void (*work)(void)) {
  pthread_t thread;
  core_1_work = work;
  if (pthread_create(&thread, NULL, run, NULL) != 0) abort();
}

void give_way(void) { sched_yield(); }
