/*
 * A model of which decode gives fewer samples at first: arrays exactly as large as the macros say, each on the heap, so
 * that a sanitizer sees whatever goes beyond; a scratch full of NaN; teams of threads.
 */
#include <stdlib.h>

#include "check.h"
#include "vocosc.h"
#include "vocosc_team_pthread.h"

enum { MOST_FRAMES = 2 * VOCOSC_LATENCY_LOOKAHEAD_FRAMES + 12, WORKERS = 3 };

static float mel[MOST_FRAMES * VOCOSC_MELS];
static vocosc_team_pthread team;
static vocosc_scratch scratch;

static void spoil_scratch(void) {
  for (int i = 0; i < VOCOSC_SCRATCH_FLOATS; i++) scratch.values[i] = from_bits(0x7fc00000u);
}

static int flush(vocosc_stream *stream, float *audio) {
#if VOCOSC_LATENCY_LOOKAHEAD_FRAMES > 0
  spoil_scratch();
  return vocosc_flush(stream, &scratch, audio);
#else
  return vocosc_flush(stream, audio);
#endif
}

/* Decodes and flushes an utterance; the caller frees its audio. */
static float *utterance(int frames, int chunk, int by_team) {
  vocosc_stream *stream = malloc(sizeof *stream);
  const int expected = VOCOSC_UTTERANCE_SAMPLES(frames);
  float *audio = malloc(sizeof(float) * (size_t)(expected + 1));
  float *tail = malloc(sizeof(float) * VOCOSC_TAIL);
  int samples = 0;
  assert_int_equal(vocosc_init(stream), VOCOSC_OK);
  for (int first = 0; first < frames; first += chunk) {
    const int count = frames - first < chunk ? frames - first : chunk;
    float *part = malloc(sizeof(float) * VOCOSC_HOP * (size_t)count);
    float *input = malloc(sizeof(float) * VOCOSC_MELS * (size_t)count);
    memcpy(input, mel + first * VOCOSC_MELS, sizeof(float) * VOCOSC_MELS * (size_t)count);
    const int promised = vocosc_decode_samples(stream, count);
    spoil_scratch();
    const int given = by_team ? vocosc_team_pthread_decode(&team, stream, &scratch, input, count, part)
                              : vocosc_decode(stream, &scratch, input, count, part);
    assert_int_equal(given, promised);
    assert_in_range(samples + given, 0, expected);
    memcpy(audio + samples, part, sizeof(float) * (size_t)given);
    samples += given;
    free(part);
    free(input);
  }
  const int rest = flush(stream, tail);
  assert_in_range(rest, 0, VOCOSC_TAIL);
  assert_int_equal(samples + rest, expected);
  memcpy(audio + samples, tail, sizeof(float) * (size_t)rest);
  free(stream);
  free(tail);
  return audio;
}

static void test_utterances(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int i = 0; i < MOST_FRAMES * VOCOSC_MELS; i++) mel[i] = next_float(&seed, -3.0f, 1.0f);
  assert_int_equal(vocosc_team_pthread_start(&team, WORKERS), 0);
  for (int frames = 1; frames <= MOST_FRAMES; frames += frames < 8 ? 1 : 5) {
    float *expected = utterance(frames, 1, 0);
    for (int chunk = 1; chunk <= VOCOSC_MAX_FRAMES; chunk += 2) {
      for (int by_team = 0; by_team < 2; by_team++) {
        float *audio = utterance(frames, chunk, by_team);
        const size_t bytes = sizeof(float) * (size_t)(VOCOSC_UTTERANCE_SAMPLES(frames));
        check(memcmp(audio, expected, bytes) == 0, "%d frames, chunk %d, team %d", frames, chunk, by_team);
        free(audio);
      }
    }
    free(expected);
  }
  vocosc_team_pthread_stop(&team);
}

static void test_sizes(void **state) {
  (void)state;
  assert_int_equal(vocosc_latency_samples(), VOCOSC_LATENCY_SAMPLES);
  assert_int_equal(VOCOSC_LATENCY_SAMPLES, VOCOSC_LATENCY_LOOKAHEAD_SAMPLES + VOCOSC_LATENCY_OVERLAP_SAMPLES);
  assert_int_equal(VOCOSC_LATENCY_LOOKAHEAD_SAMPLES, VOCOSC_LATENCY_LOOKAHEAD_FRAMES * VOCOSC_HOP);
  assert_int_equal(vocosc_stream_bytes(), VOCOSC_STATE_BYTES);
  assert_int_equal(sizeof(vocosc_stream), VOCOSC_STATE_BYTES);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_utterances)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
