/*
 * How deep the calls reach, measured: each runs on a stack that was painted before, and the deepest byte that lost its
 * paint tells. VOCOSC_STACK_BYTES, from the compiler's call graph, must be that and little more.
 */
#include <stdlib.h>
#include <ucontext.h>

#include "check.h"
#include "init.h"

enum {
  FRAMES = VOCOSC_MAX_FRAMES,
  SAMPLES = FRAMES * VOCOSC_HOP,
  STACK = 1 << 18,
  PAINT = 0xa5,
  /* What the call graph does not hold: alignment for wide vectors, and the memcpy of the C library. */
  MARGIN = 128,
};

static vocosc_stream stream;
static vocosc_mel_stream mel_stream;
static _Alignas(64) vocosc_scratch scratch;
static float mel[(FRAMES + 1) * VOCOSC_MELS];
static float audio[SAMPLES];
static int16_t pcm[SAMPLES];
static float tail[VOCOSC_TAIL + 1];
static int16_t pcm_tail[VOCOSC_TAIL + 1];
static vocosc_target target;

static int call_init(void) { return vocosc_init_target(&stream, target); }
static int call_decode(void) { return vocosc_decode(&stream, &scratch, mel, FRAMES, audio); }
static int call_decode_int16(void) { return vocosc_decode_int16(&stream, &scratch, mel, FRAMES, pcm); }
static int call_team(void) {
  static const vocosc_team team = {0, 1, NULL, NULL};
  return vocosc_decode_team(&stream, &scratch, mel, 1, audio, &team);
}
static int call_batch(void) {
  static const vocosc_job job = {&stream, mel, audio};
  return vocosc_decode_batch(&job, 1, &scratch, FRAMES, NULL);
}
static int call_flush(void) { return vocosc_flush(&stream, tail); }
static int call_flush_int16(void) { return vocosc_flush_int16(&stream, pcm_tail); }
static int call_reset(void) { return vocosc_reset(&stream); }
static int call_selftest(void) { return vocosc_selftest(&stream, &scratch); }
static int call_mel_init(void) { return vocosc_mel_init_target(&mel_stream, target); }
static int call_mel(void) { return vocosc_mel(&mel_stream, &scratch, audio, SAMPLES, mel); }
static int call_mel_int16(void) { return vocosc_mel_int16(&mel_stream, &scratch, pcm, SAMPLES - 1, mel); }
static int call_mel_flush(void) { return vocosc_mel_flush(&mel_stream, &scratch, mel); }
static int call_mel_reset(void) { return vocosc_mel_reset(&mel_stream); }

typedef struct {
  const char *name;
  int (*run)(void);
} api_call;

static const api_call calls[] = {
    {"init", call_init},           {"decode", call_decode},           {"decode_int16", call_decode_int16},
    {"decode_team", call_team},    {"decode_batch", call_batch},      {"flush", call_flush},
    {"decode", call_decode},       {"flush_int16", call_flush_int16}, {"reset", call_reset},
    {"selftest", call_selftest},   {"mel_init", call_mel_init},       {"mel", call_mel},
    {"mel_int16", call_mel_int16}, {"mel_flush", call_mel_flush},     {"mel_reset", call_mel_reset},
};

/* ---- a stack of our own ---- */

static ucontext_t outside, inside;
static unsigned char *stack;
static const unsigned char *top; /* where the call begins: the frame of run_inside */
static int (*to_run)(void);
static int result;

static void run_inside(void) {
  unsigned char here;
  top = &here;
  result = to_run();
}

/* The bytes below the frame that makes the call. */
static int depth_of(const api_call *call) {
  memset(stack, PAINT, STACK);
  to_run = call->run;
  assert_int_equal(getcontext(&inside), 0);
  inside.uc_stack.ss_sp = stack;
  inside.uc_stack.ss_size = STACK;
  inside.uc_link = &outside;
  makecontext(&inside, run_inside, 0);
  assert_int_equal(swapcontext(&outside, &inside), 0);
  const unsigned char *deepest = stack;
  while (*deepest == PAINT) deepest++;
  assert_true(deepest > stack && deepest < top);
  return (int)(top - deepest);
}

static void test_the_depth_is_what_the_header_says(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int i = 0; i < FRAMES * VOCOSC_MELS; i++) mel[i] = next_float(&seed, -9.0f, 1.0f);
  stack = aligned_alloc(64, STACK);
  assert_non_null(stack);
  int deepest = 0;
  for (int t = VOCOSC_PORTABLE; t <= VOCOSC_LAST_TARGET; t++) {
    target = (vocosc_target)t;
    if (vocosc_init_target(&stream, target) != VOCOSC_OK) continue;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
      const int depth = depth_of(calls + i);
      check(result >= 0, "%s: status %d", calls[i].name, result);
      check(depth <= VOCOSC_STACK_BYTES + MARGIN, "%s on %s takes %d bytes of stack; the header says %d", calls[i].name,
            vocosc_target_name(t), depth, VOCOSC_STACK_BYTES);
      if (depth > deepest) deepest = depth;
    }
  }
  print_message("stack: measured %d, stated %d\n", deepest, VOCOSC_STACK_BYTES);
  /* Compilers reserve some room that they leave unused. */
  check(deepest + MARGIN >= VOCOSC_STACK_BYTES * 3 / 4, "measured %d bytes, far less than %d", deepest,
        VOCOSC_STACK_BYTES);
  free(stack);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_depth_is_what_the_header_says)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
