/*
 * A day of streams in compressed time: a thousand streams that begin, decode, are flushed, reset and copied at random.
 * In the end each of them is, bit for bit, a new stream that was given its last few frames; no memory has grown.
 * Arguments: how many chunks, a seed.
 */
#include <stdlib.h>
#include <sys/resource.h>

#include "check.h"
#include "init.h"
#include "vocosc_model.h"

/* Frames that can still be felt: through each convolution's context, and in the overlap. */
enum { STREAMS = 1000, MEMORY = (BLOCKS + 2) * LEFT + N_FFT / HOP + 2 };

typedef struct {
  vocosc_stream stream;
  uint64_t frames[MEMORY]; /* the seeds of its last frames, by their number modulo MEMORY */
  uint64_t count;          /* since it began */
} life;

static life lives[STREAMS];
static vocosc_stream fresh;
static vocosc_scratch scratch;
static float mel[VOCOSC_MAX_FRAMES * VOCOSC_MELS];
static float audio[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
static float tail[VOCOSC_TAIL + 1];
static long chunks = 100000;
static uint64_t seed = 1;
static long begun;

static void make_frame(uint64_t frame, float *to) {
  const float range = frame % 1000 == 999 ? 1e30f : frame % 100 == 99 ? 30.0f : 5.0f;
  for (int i = 0; i < VOCOSC_MELS; i++) to[i] = next_float(&frame, -range, range) - 4.0f;
}

static void begin(life *one) {
  one->count = 0;
  begun++;
}

static void decode(life *one) {
  const int frames = 1 + (int)(next_bits(&seed) % VOCOSC_MAX_FRAMES);
  for (int i = 0; i < frames; i++) {
    const uint64_t frame = next_bits(&seed);
    one->frames[one->count++ % MEMORY] = frame;
    make_frame(frame, mel + i * VOCOSC_MELS);
  }
  assert_int_equal(vocosc_decode(&one->stream, &scratch, mel, frames, audio), frames * VOCOSC_HOP);
}

/* Whether it is what its last frames make of a new stream. */
static void check_life(const life *one) {
  const uint64_t count = one->count < MEMORY ? one->count : MEMORY;
  assert_int_equal(vocosc_init(&fresh), VOCOSC_OK);
  for (uint64_t i = one->count - count; i < one->count; i++) {
    make_frame(one->frames[i % MEMORY], mel);
    assert_int_equal(vocosc_decode(&fresh, &scratch, mel, 1, audio), VOCOSC_HOP);
  }
  assert_memory_equal(&one->stream, &fresh, sizeof fresh);
}

static long resident(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

static void test_a_day(void **state) {
  (void)state;
  for (int i = 0; i < STREAMS; i++) {
    assert_int_equal(vocosc_init(&lives[i].stream), VOCOSC_OK);
    begin(&lives[i]);
  }
  long before = 0;
  for (long done = 0; done < chunks; done++) {
    life *one = &lives[next_bits(&seed) % STREAMS];
    decode(one);
    if (done == chunks / 10) before = resident();
    switch (next_bits(&seed) % 1000) { /* the first stream lives on */
      case 0:
        if (one == lives) break;
        assert_int_equal(vocosc_flush(&one->stream, tail), VOCOSC_TAIL);
        begin(one);
        break;
      case 1:
        if (one == lives) break;
        assert_int_equal(vocosc_reset(&one->stream), VOCOSC_OK);
        begin(one);
        break;
      case 2:
        if (one == lives) break;
        assert_int_equal(vocosc_init(&one->stream), VOCOSC_OK);
        begin(one);
        break;
      case 3:
        if (one != lives) *one = lives[next_bits(&seed) % STREAMS];
        begun++;
        break;
      case 4:
        check_life(one);
        break;
      default:
        break;
    }
  }
  for (int i = 0; i < STREAMS; i++) check_life(&lives[i]);
  assert_true(resident() <= before + 256);
  printf("%ld streams\n", begun);
}

int main(int count, char **arguments) {
  if (count > 1) chunks = atol(arguments[1]);
  if (count > 2) seed = (uint64_t)atol(arguments[2]);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_day)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
