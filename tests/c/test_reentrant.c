/* Threads that each have a stream and a scratch of their own do not meet: same audio, and no race to be found. */
#include <pthread.h>

#include "check.h"
#include "vocosc.h"

enum { THREADS = 3, CALLS = 12, FRAMES = VOCOSC_MAX_FRAMES };

typedef struct {
  vocosc_stream stream;
  vocosc_mel_stream mel_stream;
  vocosc_scratch scratch;
  float mel[FRAMES * VOCOSC_MELS];
  float audio[FRAMES * VOCOSC_HOP];
  uint64_t hash;
} worker;

static worker workers[THREADS + 1];

static void *work(void *argument) {
  worker *w = argument;
  uint64_t seed = 1;
  w->hash = 14695981039346656037u;
  if (vocosc_init(&w->stream) != VOCOSC_OK || vocosc_mel_init(&w->mel_stream) != VOCOSC_OK) return NULL;
  for (int i = 0; i < FRAMES * VOCOSC_MELS; i++) w->mel[i] = next_float(&seed, -9.0f, 1.0f);
  for (int call = 0; call < CALLS; call++) {
    const int samples = vocosc_decode(&w->stream, &w->scratch, w->mel, FRAMES, w->audio);
    if (samples != FRAMES * VOCOSC_HOP) return NULL;
    for (int i = 0; i < samples; i++) w->hash = hash_word(w->hash, bits_of(w->audio[i]));
    if (vocosc_mel(&w->mel_stream, &w->scratch, w->audio, samples, w->mel) != FRAMES) return NULL;
  }
  return w;
}

static void test_threads(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  assert_non_null(work(&workers[THREADS]));
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  for (int i = 0; i < THREADS; i++) {
    void *result = NULL;
    assert_int_equal(pthread_join(threads[i], &result), 0);
    assert_ptr_equal(result, &workers[i]);
    assert_true(workers[i].hash == workers[THREADS].hash);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
