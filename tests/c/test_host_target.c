/*
 * vocosc_host_target: Linux is asked for AMX's tiles, and refuses or grants them; where it has granted them, every
 * thread and child decodes with them to the bits of the other targets, and leaves none in use. Prints "amx" where they
 * are.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "random.h"
#include "vocosc_team_pthread.h"

enum { FRAMES = VOCOSC_MAX_FRAMES, SAMPLES = FRAMES * VOCOSC_HOP };

static float mel[FRAMES * VOCOSC_MELS];
static float expected[SAMPLES];
static pthread_barrier_t asked;

/* Which of the registers that XCR0 names are in use: bits 17 and 18 are the tiles. */
static unsigned in_use(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
  return low;
}

static int decodes_by_tiles(int workers) {
  static _Thread_local vocosc_stream stream;
  static _Thread_local vocosc_scratch scratch;
  static _Thread_local float audio[SAMPLES];
  static _Thread_local vocosc_team_pthread team;
  if (vocosc_init_target(&stream, VOCOSC_AMX) != VOCOSC_OK) return 0;
  if (vocosc_team_pthread_start(&team, workers) != 0) return 0;
  const int samples = vocosc_team_pthread_decode(&team, &stream, &scratch, mel, FRAMES, audio);
  vocosc_team_pthread_stop(&team);
  return samples == SAMPLES && memcmp(audio, expected, sizeof audio) == 0 && (in_use() & 0x60000u) == 0;
}

static void *earlier_thread(void *result) {
  pthread_barrier_wait(&asked);
  *(int *)result = decodes_by_tiles(1);
  return NULL;
}

static void test_linux_is_asked(void **state) {
  (void)state;
  static vocosc_stream stream;
  static vocosc_scratch scratch;
  uint64_t seed = 1;
  for (int i = 0; i < FRAMES * VOCOSC_MELS; i++) mel[i] = next_float(&seed, -9.0f, 1.0f);
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  assert_true(stream.target <= VOCOSC_LAST_TARGET);
  assert_int_equal(vocosc_decode(&stream, &scratch, mel, FRAMES, expected), SAMPLES);
  if (vocosc_init_target(&stream, VOCOSC_AMX) != VOCOSC_OK) {
    assert_int_equal(vocosc_host_target(), VOCOSC_BEST);
    return;
  }

  /* No room for the tiles on the stack that signals have: they are refused. */
  pthread_t thread;
  int thread_decodes = 0;
  assert_int_equal(pthread_barrier_init(&asked, NULL, 2), 0);
  assert_int_equal(pthread_create(&thread, NULL, earlier_thread, &thread_decodes), 0);
  static char little[4096];
  const stack_t small = {.ss_sp = little, .ss_size = sizeof little};
  const stack_t none = {.ss_flags = SS_DISABLE};
  if (sigaltstack(&small, NULL) == 0) {
    assert_int_equal(vocosc_host_target(), VOCOSC_BEST);
    assert_int_equal(sigaltstack(&none, NULL), 0);
  }
  const vocosc_target target = vocosc_host_target();
  check(target == VOCOSC_AMX || target == VOCOSC_BEST, "target %d", (int)target);
  assert_int_equal(vocosc_host_target(), target);
  if (target == VOCOSC_BEST) _exit(0); /* this Linux has no tiles; the thread waits in vain */
  pthread_barrier_wait(&asked);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(thread_decodes);
  assert_true(decodes_by_tiles(1));
  assert_true(decodes_by_tiles(2));

  const pid_t child = fork();
  if (child == 0) _exit(decodes_by_tiles(1) ? 0 : 1);
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  print_message("amx\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_linux_is_asked)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
