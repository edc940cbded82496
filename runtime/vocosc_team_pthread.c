#include "vocosc_team_pthread.h"

#include <errno.h>
#include <sched.h>

/* How often to look before giving way: about 20 to 50 microseconds at a barrier, a few times that between jobs. */
enum { BARRIER_SPINS = 1000, IDLE_SPINS = 4000 };

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

void vocosc_team_pthread_barrier(void *context) {
  vocosc_team_pthread *team = context;
  /* The phase cannot move on before this worker arrives, so reading it first is safe. */
  const unsigned phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
  const unsigned arrived = atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1;
  if (arrived == (unsigned)team->workers) {
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
    return;
  }
  for (int spins = 0; atomic_load_explicit(&team->phase, memory_order_acquire) == phase;) {
    if (spins < BARRIER_SPINS) {
      spins++;
      pause_briefly();
    } else {
      sched_yield();
    }
  }
}

/* Waits for a job after the `seen`-th: awake for a while, since streams decode often, then asleep. */
static void wait_for_job(vocosc_team_pthread *team, unsigned seen) {
  for (int spins = 0; spins < IDLE_SPINS; spins++) {
    if (atomic_load_explicit(&team->jobs, memory_order_acquire) != seen) return;
    pause_briefly();
  }
  pthread_mutex_lock(&team->mutex);
  while (atomic_load_explicit(&team->jobs, memory_order_acquire) == seen) {
    pthread_cond_wait(&team->wake, &team->mutex);
  }
  pthread_mutex_unlock(&team->mutex);
}

static void post_job(vocosc_team_pthread *team, vocosc_team_job job, void *context) {
  team->job = job;
  team->context = context;
  pthread_mutex_lock(&team->mutex);
  atomic_fetch_add_explicit(&team->jobs, 1, memory_order_release);
  pthread_cond_broadcast(&team->wake);
  pthread_mutex_unlock(&team->mutex);
}

static void *member_main(void *argument) {
  const vocosc_team_member *member = argument;
  vocosc_team_pthread *team = member->team;
  for (unsigned seen = 0;; seen++) {
    wait_for_job(team, seen);
    if (team->job == NULL) return NULL;
    team->job(team->context, member->worker);
    vocosc_team_pthread_barrier(team);
  }
}

/* Ends the first `started` workers, of which worker 0 has no thread. */
static void end_members(vocosc_team_pthread *team, int started) {
  post_job(team, NULL, NULL);
  for (int i = 1; i < started; i++) pthread_join(team->members[i].thread, NULL);
  pthread_cond_destroy(&team->wake);
  pthread_mutex_destroy(&team->mutex);
}

int vocosc_team_pthread_start(vocosc_team_pthread *team, int workers) {
  if (team == NULL || workers < 1 || workers > VOCOSC_TEAM_PTHREAD_MAX) return EINVAL;
  atomic_init(&team->arrived, 0);
  atomic_init(&team->phase, 0);
  atomic_init(&team->jobs, 0);
  team->job = NULL;
  team->context = NULL;
  team->workers = workers;
  int error = pthread_mutex_init(&team->mutex, NULL);
  if (error != 0) return error;
  error = pthread_cond_init(&team->wake, NULL);
  if (error != 0) {
    pthread_mutex_destroy(&team->mutex);
    return error;
  }
  for (int i = 1; i < workers; i++) {
    team->members[i].team = team;
    team->members[i].worker = i;
    error = pthread_create(&team->members[i].thread, NULL, member_main, &team->members[i]);
    if (error != 0) {
      end_members(team, i);
      return error;
    }
  }
  return 0;
}

void vocosc_team_pthread_run(vocosc_team_pthread *team, vocosc_team_job job, void *context) {
  post_job(team, job, context);
  job(context, 0);
  vocosc_team_pthread_barrier(team);
}

void vocosc_team_pthread_stop(vocosc_team_pthread *team) { end_members(team, team->workers); }

typedef struct {
  vocosc_team_pthread *team;
  const vocosc_job *jobs;
  int count;
  vocosc_scratch *scratch;
  int frames;
  int result; /* worker 0's; all get the same */
} decode_call;

static void decode_job(void *context, int worker) {
  decode_call *call = context;
  const vocosc_team team = {worker, call->team->workers, vocosc_team_pthread_barrier, call->team};
  const int result = vocosc_decode_batch(call->jobs, call->count, call->scratch, call->frames, &team);
  if (worker == 0) call->result = result;
}

int vocosc_team_pthread_decode_batch(vocosc_team_pthread *team, const vocosc_job *jobs, int count,
                                     vocosc_scratch *scratch, int frames) {
  decode_call call = {team, jobs, count, scratch, frames, VOCOSC_BAD_ARGUMENT};
  vocosc_team_pthread_run(team, decode_job, &call);
  return call.result;
}

int vocosc_team_pthread_decode(vocosc_team_pthread *team, vocosc_stream *stream, vocosc_scratch *scratch,
                               const float *mel, int frames, float *audio) {
  vocosc_job job = {stream, mel, NULL};
  job.audio = audio;
  return vocosc_team_pthread_decode_batch(team, &job, 1, scratch, frames);
}

vocosc_target vocosc_host_target(void) {
//% if isas | selectattr("asks") | list
#if defined(__linux__) && defined(__x86_64__) && defined(__LP64__)
  vocosc_mel_stream stream; /* an analysis has the same targets, and needs no weights */
  if (vocosc_mel_init_target(&stream, VOCOSC_AMX) != VOCOSC_OK) return VOCOSC_BEST;
  /* arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA) */
  enum { ARCH_PRCTL = 158, REQUEST = 0x1023, TILE_DATA = 18 };
  long status = ARCH_PRCTL;
  __asm__ volatile("syscall" : "+a"(status) : "D"(REQUEST), "S"(TILE_DATA) : "rcx", "r11", "memory");
  if (status == 0) return VOCOSC_AMX;
#endif
//% endif
  return VOCOSC_BEST;
}
