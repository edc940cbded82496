/* The public functions: sizes, arguments, statuses, targets, and teams of workers. */
#include <limits.h>
#include <stdlib.h>

#include "check.h"
#include "vocosc.h"
#include "vocosc_team_pthread.h"

enum { FRAMES = 3 * VOCOSC_MAX_FRAMES + 1, SAMPLES = FRAMES * VOCOSC_HOP };

_Static_assert(sizeof(vocosc_stream) == VOCOSC_STATE_BYTES, "state");
_Static_assert(sizeof(vocosc_mel_stream) == VOCOSC_MEL_STATE_BYTES, "mel state");
_Static_assert(sizeof(vocosc_scratch) == VOCOSC_SCRATCH_BYTES, "scratch");
_Static_assert(VOCOSC_LATENCY_SAMPLES == VOCOSC_N_FFT - VOCOSC_HOP && VOCOSC_TAIL == VOCOSC_LATENCY_SAMPLES, "tail");
_Static_assert(VOCOSC_WEIGHT_BYTES > 0 && VOCOSC_MACS_PER_FRAME > 0, "");
_Static_assert(sizeof(VOCOSC_CHECKPOINT_SHA256) == 65 && sizeof(VOCOSC_NAME) > 1 && VOCOSC_SAMPLE_RATE > 0, "");
_Static_assert(sizeof(VOCOSC_GENERATOR) > 1 && sizeof(VOCOSC_PRECISION) > 1 && sizeof(VOCOSC_CHUNKS_TEXT) > 1, "");

/* Over libraries (--link libs) the bits depend on the chunks, and on the libraries. */
_Static_assert(VOCOSC_FLASH_BYTES == 0 || VOCOSC_FLASH_BYTES > VOCOSC_WEIGHT_BYTES, "0 where nothing was built");

#ifdef BITS_MAY_DIFFER
#define SAME_BITS(a, b, bytes) ((void)(bytes), 1)
#else
#define SAME_BITS(a, b, bytes) (memcmp(a, b, bytes) == 0)
#endif

/* Static allocation is enough. */
static vocosc_stream stream;
static vocosc_mel_stream mel_stream;
static vocosc_scratch scratch;
static float mel[FRAMES * VOCOSC_MELS];
static float expected[SAMPLES];
static float audio[SAMPLES];
static int16_t pcm[SAMPLES];

static void make_mel(void) {
  uint64_t seed = 1;
  for (int i = 0; i < FRAMES * VOCOSC_MELS; i++) mel[i] = next_float(&seed, -9.0f, 1.0f);
}

static int decode_all(float *to, int chunk) {
  for (int first = 0; first < FRAMES; first += chunk) {
    const int frames = FRAMES - first < chunk ? FRAMES - first : chunk;
    const int count = vocosc_decode(&stream, &scratch, mel + first * VOCOSC_MELS, frames, to + first * VOCOSC_HOP);
    if (count != frames * VOCOSC_HOP) return 0;
  }
  return 1;
}

static int is_zero(const void *memory, size_t bytes) {
  const unsigned char *p = memory;
  for (size_t i = 0; i < bytes; i++) {
    if (p[i] != 0) return 0;
  }
  return 1;
}

static void test_sizes(void **state) {
  (void)state;
  assert_int_equal(vocosc_stream_bytes(), sizeof(vocosc_stream));
  assert_int_equal(vocosc_mel_stream_bytes(), sizeof(vocosc_mel_stream));
  assert_int_equal(vocosc_scratch_bytes(), sizeof(vocosc_scratch));
  assert_int_equal(vocosc_max_frames(), VOCOSC_MAX_FRAMES);
  assert_int_equal(vocosc_latency_samples(), VOCOSC_LATENCY_SAMPLES);
}

static void test_texts(void **state) {
  (void)state;
  for (int code = -1000; code < 1000; code++) {
    assert_non_null(vocosc_status_text(code));
    assert_non_null(vocosc_target_name(code));
  }
  assert_string_equal(vocosc_status_text(VOCOSC_OK), "ok");
  assert_string_equal(vocosc_status_text(5 * VOCOSC_HOP), "ok");
  assert_string_equal(vocosc_target_name(VOCOSC_PORTABLE), "portable");
  assert_string_equal(vocosc_target_name(VOCOSC_AVX2), "avx2");
  assert_string_equal(vocosc_target_name(VOCOSC_AVX512), "avx512");
  assert_string_equal(vocosc_target_name(VOCOSC_NEON), "neon");
  for (int code = VOCOSC_BAD_SELFTEST; code < 0; code++) {
    assert_non_null(strstr(vocosc_status_text(code), "bad "));
    assert_string_not_equal(vocosc_status_text(code), vocosc_status_text(code - 1));
  }
}

static void test_targets(void **state) {
  (void)state;
  assert_int_equal(vocosc_init(NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_init_target(NULL, VOCOSC_PORTABLE), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel_init(NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel_init_target(NULL, VOCOSC_PORTABLE), VOCOSC_BAD_ARGUMENT);
  const int unknown[] = {-1, VOCOSC_LAST_TARGET + 1, 1000000};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(vocosc_init_target(&stream, (vocosc_target)unknown[i]), VOCOSC_BAD_TARGET);
    assert_true(is_zero(&stream, sizeof stream));
    assert_int_equal(vocosc_decode(&stream, &scratch, mel, 1, audio), VOCOSC_BAD_STREAM);
    assert_int_equal(vocosc_mel_init_target(&mel_stream, (vocosc_target)unknown[i]), VOCOSC_BAD_TARGET);
    assert_true(is_zero(&mel_stream, sizeof mel_stream));
    assert_int_equal(vocosc_mel(&mel_stream, &scratch, audio, 1, mel), VOCOSC_BAD_STREAM);
  }
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  assert_int_equal(vocosc_mel_init(&mel_stream), VOCOSC_OK);
}

/* The API's targets, and one size of chunk after the other: the same bits. */
static void test_targets_and_chunks_agree(void **state) {
  (void)state;
  make_mel();
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  assert_true(decode_all(expected, VOCOSC_MAX_FRAMES));
  for (int target = VOCOSC_BEST; target <= VOCOSC_LAST_TARGET; target++) {
    if (vocosc_init_target(&stream, (vocosc_target)target) != VOCOSC_OK) continue;
    for (int chunk = 1; chunk <= VOCOSC_MAX_FRAMES; chunk++) {
      memset(&scratch, 0xff, sizeof scratch); /* NaN: a read before a write would show */
      assert_int_equal(vocosc_reset(&stream), VOCOSC_OK);
      assert_true(decode_all(audio, chunk));
      check(SAME_BITS(audio, expected, sizeof audio), "target %s, chunk %d", vocosc_target_name(target), chunk);
    }
  }
}

static void test_bad_arguments(void **state) {
  (void)state;
  static const int counts[] = {0, -1, VOCOSC_MAX_FRAMES + 1, -2147483647 - 1, 2147483647};
  static vocosc_stream before;
  make_mel();
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  assert_int_equal(vocosc_decode(&stream, &scratch, mel, 1, audio), VOCOSC_HOP);
  before = stream;
  const size_t hop_bytes = sizeof(float) * VOCOSC_HOP;
  for (int i = 0; i < 5; i++) {
    audio[0] = 7.0f;
    pcm[0] = 7;
    assert_int_equal(vocosc_decode(&stream, &scratch, mel, counts[i], audio), VOCOSC_BAD_ARGUMENT);
    assert_int_equal(vocosc_decode_int16(&stream, &scratch, mel, counts[i], pcm), VOCOSC_BAD_ARGUMENT);
    assert_true(audio[0] == 7.0f && pcm[0] == 7); /* a count out of range says nothing of the output */
  }
  memset(audio, 7, sizeof audio);
  memset(pcm, 7, sizeof pcm);
  memset(expected, 0, sizeof expected);
  assert_int_equal(vocosc_decode(NULL, &scratch, mel, 1, audio), VOCOSC_BAD_ARGUMENT);
  assert_memory_equal(audio, expected, hop_bytes); /* silence */
  assert_int_equal(((char *)audio)[hop_bytes], 7);
  assert_int_equal(vocosc_decode(&stream, NULL, mel, 1, audio), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_decode(&stream, &scratch, NULL, 1, audio), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_decode(&stream, &scratch, mel, 1, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_decode_int16(NULL, &scratch, mel, 1, pcm), VOCOSC_BAD_ARGUMENT);
  assert_memory_equal(pcm, expected, sizeof(int16_t) * VOCOSC_HOP);
  assert_int_equal(((char *)pcm)[sizeof(int16_t) * VOCOSC_HOP], 7);
  assert_int_equal(vocosc_decode_int16(&stream, NULL, mel, 1, pcm), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_decode_int16(&stream, &scratch, NULL, 1, pcm), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_decode_int16(&stream, &scratch, mel, 1, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_flush(NULL, audio), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_flush(&stream, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_flush_int16(NULL, pcm), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_flush_int16(&stream, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_reset(NULL), VOCOSC_BAD_ARGUMENT);
  assert_memory_equal(&stream, &before, sizeof stream);
}

static void test_bad_mel_arguments(void **state) {
  (void)state;
  static vocosc_mel_stream before;
  memset(audio, 0, sizeof audio);
  assert_int_equal(vocosc_mel_init(&mel_stream), VOCOSC_OK);
  before = mel_stream;
  const int too_many = VOCOSC_MAX_FRAMES * VOCOSC_HOP + 1;
  assert_int_equal(vocosc_mel(NULL, &scratch, audio, 1, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel(&mel_stream, NULL, audio, 1, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel(&mel_stream, &scratch, NULL, 1, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel(&mel_stream, &scratch, audio, 1, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel(&mel_stream, &scratch, audio, -1, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel(&mel_stream, &scratch, audio, too_many, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel_int16(&mel_stream, &scratch, NULL, 1, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel_int16(&mel_stream, &scratch, pcm, too_many, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel_flush(NULL, &scratch, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel_flush(&mel_stream, NULL, mel), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel_flush(&mel_stream, &scratch, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_mel_reset(NULL), VOCOSC_BAD_ARGUMENT);
  assert_memory_equal(&mel_stream, &before, sizeof before);
  assert_int_equal(vocosc_mel(&mel_stream, &scratch, NULL, 0, mel), 0); /* nothing needs no audio */
  assert_int_equal(vocosc_mel(&mel_stream, &scratch, audio, too_many - 1, mel), VOCOSC_MAX_FRAMES);
}

/* A refused call is silent in each frame that it would have completed, whatever it is refused for. */
static void test_a_refused_analysis_is_silent(void **state) {
  (void)state;
  memset(audio, 0, sizeof audio);
  for (int samples = 1; samples <= VOCOSC_MAX_FRAMES * VOCOSC_HOP; samples += samples < 3 ? 1 : VOCOSC_HOP) {
    for (int why = 0; why < 4; why++) {
      assert_int_equal(vocosc_mel_init(&mel_stream), VOCOSC_OK);
      assert_true(vocosc_mel(&mel_stream, &scratch, audio, VOCOSC_HOP - 1, mel) >= 0);
      vocosc_mel_stream copy = mel_stream;
      const int frames = vocosc_mel(&copy, &scratch, audio, samples, mel);
      for (int i = 0; i < (VOCOSC_MAX_FRAMES + 1) * VOCOSC_MELS; i++) mel[i] = 7.0f;
      const float *from = why == 0 ? NULL : why == 1 ? (const float *)((const char *)audio + 2) : audio;
      const int status = why == 2   ? vocosc_mel(&mel_stream, NULL, audio, samples, mel)
                         : why == 3 ? vocosc_mel_int16(&mel_stream, &scratch, NULL, samples, mel)
                                    : vocosc_mel(&mel_stream, &scratch, from, samples, mel);
      assert_int_equal(status, VOCOSC_BAD_ARGUMENT);
      for (int i = 0; i < frames * VOCOSC_MELS; i++) assert_true(mel[i] == VOCOSC_SILENT_MEL);
      assert_true(mel[frames * VOCOSC_MELS] == 7.0f);
    }
  }
}

/* A bit that flips in a word which decides what runs: refused, whichever it is. */
static void test_every_flipped_bit_of_the_first_words_is_found(void **state) {
  (void)state;
  make_mel();
  const size_t decoding = offsetof(vocosc_stream, target) + 4, analysis = offsetof(vocosc_mel_stream, target) + 4;
  for (size_t bit = 0; bit < 8 * decoding; bit++) {
    assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
    ((unsigned char *)&stream)[bit / 8] ^= (unsigned char)(1 << bit % 8);
    assert_int_equal(vocosc_decode(&stream, &scratch, mel, 1, audio), VOCOSC_BAD_STREAM);
  }
  for (size_t bit = 0; bit < 8 * analysis; bit++) {
    assert_int_equal(vocosc_mel_init(&mel_stream), VOCOSC_OK);
    ((unsigned char *)&mel_stream)[bit / 8] ^= (unsigned char)(1 << bit % 8);
    assert_int_equal(vocosc_mel(&mel_stream, &scratch, audio, 1, mel), VOCOSC_BAD_STREAM);
  }
}

/* Zeros, noise, and single broken words: refused, with silence. */
static void test_streams_that_were_never_made(void **state) {
  (void)state;
  make_mel();
  memset(expected, 0, sizeof expected);
  uint64_t seed = 5;
  for (int round = 0; round < 5; round++) {
    assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
    assert_int_equal(vocosc_mel_init(&mel_stream), VOCOSC_OK);
    switch (round) {
      case 0:
        memset(&stream, 0, sizeof stream);
        memset(&mel_stream, 0, sizeof mel_stream);
        break;
      case 1:
        for (size_t i = 0; i < sizeof stream; i++) ((unsigned char *)&stream)[i] = (unsigned char)next_bits(&seed);
        for (size_t i = 0; i < sizeof mel_stream; i++) {
          ((unsigned char *)&mel_stream)[i] = (unsigned char)next_bits(&seed);
        }
        break;
      case 2:
        stream.target = 77;
        mel_stream.target = 77;
        break;
      case 3:
        stream.target = VOCOSC_BEST;
        mel_stream.target = VOCOSC_BEST;
        break;
      default:
        stream.ready ^= 1;
        mel_stream.pending = VOCOSC_HOP;
    }
    memset(audio, 7, sizeof audio);
    assert_int_equal(vocosc_decode(&stream, &scratch, mel, 1, audio), VOCOSC_BAD_STREAM);
    assert_memory_equal(audio, expected, sizeof(float) * VOCOSC_HOP);
    memset(pcm, 7, sizeof pcm);
    assert_int_equal(vocosc_decode_int16(&stream, &scratch, mel, 1, pcm), VOCOSC_BAD_STREAM);
    assert_memory_equal(pcm, expected, sizeof(int16_t) * VOCOSC_HOP);
    memset(audio, 7, sizeof audio);
    assert_int_equal(vocosc_flush(&stream, audio), VOCOSC_BAD_STREAM);
    assert_memory_equal(audio, expected, sizeof(float) * VOCOSC_TAIL);
    assert_int_equal(vocosc_flush_int16(&stream, pcm), VOCOSC_BAD_STREAM);
    assert_int_equal(vocosc_reset(&stream), VOCOSC_BAD_STREAM);
    static float frames[VOCOSC_MAX_FRAMES * VOCOSC_MELS];
    memset(audio, 0, sizeof audio);
    assert_int_equal(vocosc_mel(&mel_stream, &scratch, audio, VOCOSC_HOP, frames), VOCOSC_BAD_STREAM);
    assert_int_equal(vocosc_mel_int16(&mel_stream, &scratch, pcm, VOCOSC_HOP, frames), VOCOSC_BAD_STREAM);
    assert_int_equal(vocosc_mel_flush(&mel_stream, &scratch, frames), VOCOSC_BAD_STREAM);
    assert_int_equal(vocosc_mel_reset(&mel_stream), VOCOSC_BAD_STREAM);
  }
}

/* The header promises silence on any error, as far as the count is valid. */
static void test_errors_of_the_analysis_are_silent(void **state) {
  (void)state;
  static float frames[VOCOSC_MAX_FRAMES * VOCOSC_MELS];
  memset(&mel_stream, 0, sizeof mel_stream);
  memset(audio, 0, sizeof audio);
  memset(frames, 7, sizeof frames);
  assert_int_equal(vocosc_mel(&mel_stream, &scratch, audio, 2 * VOCOSC_HOP, frames), VOCOSC_BAD_STREAM);
  for (int i = 0; i < 2 * VOCOSC_MELS; i++) assert_true(frames[i] == VOCOSC_SILENT_MEL);
}

static void test_the_selftest_checks_its_arguments(void **state) {
  (void)state;
#if VOCOSC_HAS_SELFTEST
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  assert_int_equal(vocosc_selftest(NULL, &scratch), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_selftest(&stream, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_selftest(&stream, &scratch), VOCOSC_OK);
  stream.ready ^= 1;
  assert_int_equal(vocosc_selftest(&stream, &scratch), VOCOSC_BAD_STREAM);
#endif
}

static void test_teams_give_the_same_bits(void **state) {
  (void)state;
  static const int sizes[] = {1, 2, 3, 5};
  static vocosc_team_pthread team;
  make_mel();
  for (int target = VOCOSC_PORTABLE; target <= VOCOSC_LAST_TARGET; target++) {
    if (vocosc_init_target(&stream, (vocosc_target)target) != VOCOSC_OK) continue;
    assert_true(decode_all(expected, VOCOSC_MAX_FRAMES));
    for (int i = 0; i < 4; i++) {
      assert_int_equal(vocosc_team_pthread_start(&team, sizes[i]), 0);
      assert_int_equal(vocosc_reset(&stream), VOCOSC_OK);
      for (int first = 0, chunk = 1; first < FRAMES; first += chunk) {
        chunk = 1 + first * 5 % VOCOSC_MAX_FRAMES;
        if (chunk > FRAMES - first) chunk = FRAMES - first;
        const float *from = mel + first * VOCOSC_MELS;
        float *to = audio + first * VOCOSC_HOP;
        assert_int_equal(vocosc_team_pthread_decode(&team, &stream, &scratch, from, chunk, to), chunk * VOCOSC_HOP);
      }
      check(SAME_BITS(audio, expected, sizeof audio), "%d workers, %s", sizes[i], vocosc_target_name(target));
      /* A batch of two: each stream's audio is that of one alone. */
      static vocosc_stream other;
      const int half = VOCOSC_MAX_FRAMES / 2;
      const vocosc_job jobs[] = {{&stream, mel, audio}, {&other, mel, audio + half * VOCOSC_HOP}};
      assert_int_equal(vocosc_reset(&stream), VOCOSC_OK);
      other = stream;
      assert_int_equal(vocosc_team_pthread_decode_batch(&team, jobs, 2, &scratch, half), half * VOCOSC_HOP);
      for (int job = 0; job < 2; job++) {
        const size_t bytes = (size_t)half * VOCOSC_HOP * sizeof(float);
        check(SAME_BITS(jobs[job].audio, expected, bytes), "stream %d of a batch, %d workers", job, sizes[i]);
      }
      /* All members get the same error, and the team goes on. */
      memset(audio, 7, sizeof audio);
      const int bad = vocosc_team_pthread_decode(&team, &stream, &scratch, mel, 0, audio);
      assert_int_equal(bad, VOCOSC_BAD_ARGUMENT);
      mel[0] = from_bits(0x7fc00000u); /* NaN */
      assert_int_equal(vocosc_team_pthread_decode(&team, &stream, &scratch, mel, 1, audio), VOCOSC_BAD_INPUT);
      assert_true(audio[0] == 0.0f && audio[VOCOSC_HOP - 1] == 0.0f);
      make_mel();
      assert_int_equal(vocosc_team_pthread_decode(&team, &stream, &scratch, mel, 1, audio), VOCOSC_HOP);
      vocosc_team_pthread_stop(&team);
    }
  }
}

static void never(void *context) {
  (void)context;
  fail_msg("a barrier that nobody needs");
}

static void test_bad_teams(void **state) {
  (void)state;
  const vocosc_team bad[] = {{0, 0, never, NULL},
                             {0, -1, never, NULL},
                             {1, 1, never, NULL},
                             {-1, 2, never, NULL},
                             {2, 2, never, NULL},
                             {0, 2, NULL, NULL},
                             {VOCOSC_MAX_WORKERS, VOCOSC_MAX_WORKERS + 1, never, NULL},
                             {INT_MAX - 1, INT_MAX, never, NULL},
                             {INT_MAX / 2, INT_MAX, never, NULL}};
  static vocosc_stream before;
  make_mel();
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  before = stream;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(vocosc_decode_team(&stream, &scratch, mel, 1, audio, bad + i), VOCOSC_BAD_ARGUMENT);
  }
  assert_int_equal(vocosc_decode_team(&stream, &scratch, mel, 1, audio, NULL), VOCOSC_BAD_ARGUMENT);
  assert_memory_equal(&stream, &before, sizeof stream);
  const vocosc_team alone = {0, 1, NULL, NULL};
  assert_int_equal(vocosc_decode_team(&stream, &scratch, mel, 1, audio, &alone), VOCOSC_HOP);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_texts),
      cmocka_unit_test(test_targets),
      cmocka_unit_test(test_targets_and_chunks_agree),
      cmocka_unit_test(test_bad_arguments),
      cmocka_unit_test(test_bad_mel_arguments),
      cmocka_unit_test(test_a_refused_analysis_is_silent),
      cmocka_unit_test(test_every_flipped_bit_of_the_first_words_is_found),
      cmocka_unit_test(test_streams_that_were_never_made),
      cmocka_unit_test(test_errors_of_the_analysis_are_silent),
      cmocka_unit_test(test_the_selftest_checks_its_arguments),
      cmocka_unit_test(test_teams_give_the_same_bits),
      cmocka_unit_test(test_bad_teams),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
