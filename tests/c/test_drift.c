/*
 * A stream of a million chunks ends in the state, bit for bit, of a new stream that was given the last few of them: the
 * network is causal with a finite memory, and nothing accumulates. Argument: how many chunks of one frame.
 */
#include <stdlib.h>

#include "check.h"
#include "init.h"
#include "vocosc_model.h"

/* Frames that can still be felt: through each convolution's context, and in the overlap. */
enum { MEMORY = (BLOCKS + 2) * LEFT + N_FFT / HOP + 2 };

static vocosc_stream stream, fresh;
static vocosc_scratch scratch;
static float mel[VOCOSC_MELS];
static float audio[VOCOSC_HOP], fresh_audio[VOCOSC_HOP];
static int chunks = 1000000;

/* Noise, and now and then what is far from speech. */
static void make_frame(int index) {
  uint64_t seed = (uint64_t)index * 7919 + 1;
  const float range = index % 1000 == 999 ? 1e30f : index % 100 == 99 ? 30.0f : 5.0f;
  for (int i = 0; i < VOCOSC_MELS; i++) mel[i] = next_float(&seed, -range, range) - 4.0f;
}

static void test_nothing_drifts(void **state) {
  (void)state;
  assert_true(chunks > 2 * MEMORY);
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  assert_int_equal(vocosc_init(&fresh), VOCOSC_OK);
  for (int i = 0; i < chunks; i++) {
    make_frame(i);
    assert_int_equal(vocosc_decode(&stream, &scratch, mel, 1, audio), VOCOSC_HOP);
    if (i >= chunks - MEMORY) assert_int_equal(vocosc_decode(&fresh, &scratch, mel, 1, fresh_audio), VOCOSC_HOP);
  }
  assert_memory_equal(audio, fresh_audio, sizeof audio);
  assert_memory_equal(&stream, &fresh, sizeof stream);
}

int main(int count, char **arguments) {
  if (count > 1) chunks = atoi(arguments[1]);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_drifts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
