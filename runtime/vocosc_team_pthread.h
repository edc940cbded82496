/*
 * A team of POSIX threads for vocosc_decode_team and vocosc_decode_batch, for hosts that have them. The library itself
 * starts no threads and does not need this file: an RTOS brings its own tasks and barrier.
 *
 *   static vocosc_team_pthread team;
 *   vocosc_team_pthread_start(&team, 2);
 *   samples = vocosc_team_pthread_decode(&team, &stream, &scratch, mel, frames, audio);   (any number of times)
 *   vocosc_team_pthread_stop(&team);
 *
 * The calling thread is worker 0, so a team of n starts n - 1 threads. Within a job, workers wait for each other
 * by spinning for some microseconds, then by giving way to other threads, so that a machine with fewer cores than
 * workers is slow but never stuck. Between jobs they sleep. No thread is pinned to a core. One thread at a time may use
 * a team.
 */
#ifndef VOCOSC_TEAM_PTHREAD_H
#define VOCOSC_TEAM_PTHREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "vocosc.h"

#define VOCOSC_TEAM_PTHREAD_MAX 64

typedef void (*vocosc_team_job)(void *context, int worker);

struct vocosc_team_pthread;

typedef struct {
  struct vocosc_team_pthread *team;
  int worker;
  pthread_t thread;
} vocosc_team_member;

/* Its fields are not for use. It must not move between start and stop. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
typedef struct vocosc_team_pthread {
  /* Written at every barrier; on cache lines of their own. */
  _Alignas(64) atomic_uint arrived;
  _Alignas(64) atomic_uint phase;
  /* Counts the jobs. A change, made under the mutex, is what wakes the members. */
  _Alignas(64) atomic_uint jobs;
  vocosc_team_job job; /* null: the members leave */
  void *context;
  int workers;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  vocosc_team_member members[VOCOSC_TEAM_PTHREAD_MAX];
} vocosc_team_pthread;

/* Starts a team of workers = 1 .. VOCOSC_TEAM_PTHREAD_MAX. Returns 0 or an errno code, and then there is no team. */
int vocosc_team_pthread_start(vocosc_team_pthread *team, int workers);

/* Runs job(context, worker) on every worker, and returns when all have finished it. */
void vocosc_team_pthread_run(vocosc_team_pthread *team, vocosc_team_job job, void *context);

/* Waits, inside a job, until all workers have come here. `context` is the team, as vocosc_team has it. */
void vocosc_team_pthread_barrier(void *context);

/* vocosc_decode and vocosc_decode_batch by the whole team: same arguments, same audio, same return value. */
int vocosc_team_pthread_decode(vocosc_team_pthread *team, vocosc_stream *stream, vocosc_scratch *scratch,
                               const float *mel, int frames, float *audio);
int vocosc_team_pthread_decode_batch(vocosc_team_pthread *team, const vocosc_job *jobs, int count,
                                     vocosc_scratch *scratch, int frames);

/* Ends the team's threads. */
void vocosc_team_pthread_stop(vocosc_team_pthread *team);

/*
 * The best target of a process that may ask its operating system for registers: VOCOSC_AMX if this build and this CPU
 * have it and Linux grants it, else VOCOSC_BEST. For init, of one thread's streams or a team's. See API.md.
 */
vocosc_target vocosc_host_target(void);

#endif /* VOCOSC_TEAM_PTHREAD_H */
