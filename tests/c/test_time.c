/*
 * How many instructions a call executes does not depend on what it is given, nor on how long the stream is: calls to be
 * counted, on every instruction set that there is. Prints a line for each, without the count, which is elsewhere: see
 * count.h. Calls of the same line must have the same count. Needs no operating system.
 */
#include <stddef.h>

#include "count.h"
#include "init.h"
#include "random.h"

enum { FRAMES = VOCOSC_MAX_FRAMES, SAMPLES = FRAMES * VOCOSC_HOP };
#ifdef COUNT_BY_STEPS /* which take some microseconds each: only what Valgrind does not know */
enum { FIRST_TARGET = VOCOSC_AVX512, LAST_TARGET = VOCOSC_AVX512, CHUNKS = 2 };
#else
enum { FIRST_TARGET = VOCOSC_PORTABLE, LAST_TARGET = VOCOSC_LAST_TARGET, CHUNKS = 3 };
#endif
#ifdef FEW_INPUTS /* speech-like and denormals */
enum { NEXT_KIND = 7 };
#else
enum { NEXT_KIND = 1 };
#endif

static vocosc_stream stream;
static vocosc_mel_stream mel_stream;
static _Alignas(64) vocosc_scratch scratch;
static float mel[FRAMES * VOCOSC_MELS];
static float mel_out[(FRAMES + 1) * VOCOSC_MELS];
static float audio[SAMPLES];
static float audio_in[SAMPLES];
static int16_t pcm[SAMPLES];
static float tail[VOCOSC_TAIL + 1];
static int16_t pcm_tail[VOCOSC_TAIL + 1];

static void print_call(vocosc_target target, const char *call, int frames, const char *input) {
  print_text(vocosc_target_name(target));
  print_text(": ");
  print_text(call);
  print_text(", ");
  print_number((uint32_t)frames);
  print_text(" frames: ");
  print_text(input);
  print_text("\n");
}

#define COUNTED(target, frames, input, expression)    \
  do {                                                \
    count_begin();                                    \
    const int status = (expression);                  \
    count_end();                                      \
    print_call((target), #expression, frames, input); \
    if (status < 0) return status;                    \
  } while (0)

/* Inputs by kind: what speech is like, and what it is not. Returns the kind's name, or null behind the last. */
static const char *fill(int kind, float *values, int count, uint64_t seed) {
  static const char *const names[] = {"speech-like", "silence", "zeros",     "loud",         "all 1e30",
                                      "all -1e30",   "+-3e38",  "denormals", "tiny and huge"};
  if (kind >= (int)(sizeof names / sizeof *names)) return NULL;
  for (int i = 0; i < count; i++) {
    const float sign = next_bits(&seed) & 1 ? 1.0f : -1.0f;
    const float choices[] = {next_float(&seed, -9.0f, 1.0f),
                             VOCOSC_SILENT_MEL,
                             0.0f,
                             next_float(&seed, 0.0f, 9.0f),
                             1e30f,
                             -1e30f,
                             sign * 3e38f,
                             sign * 1e-42f,
                             i % 2 ? sign * 1e-30f : 1e30f};
    values[i] = choices[kind];
  }
  return names[kind];
}

static int decode_all(vocosc_target target, int frames) {
  const char *name;
  for (int kind = 0; (name = fill(kind, mel, FRAMES * VOCOSC_MELS, 1)) != NULL; kind += NEXT_KIND) {
    if (vocosc_init_target(&stream, target) != VOCOSC_OK) return 0; /* not on this CPU */
    for (int chunk = 0; chunk < CHUNKS; chunk++) {                  /* the first one, too */
      (void)fill(kind, mel, FRAMES * VOCOSC_MELS, 1 + (uint64_t)chunk);
      COUNTED(target, frames, name, vocosc_decode(&stream, &scratch, mel, frames, audio));
    }
    vocosc_stream twin = stream;
    COUNTED(target, 0, name, vocosc_flush(&stream, tail));
    stream = twin;
    COUNTED(target, frames, name, vocosc_decode_int16(&stream, &scratch, mel, frames, pcm));
    COUNTED(target, 0, name, vocosc_flush_int16(&stream, pcm_tail));
  }
  return 0;
}

static int analyse_all(vocosc_target target, int frames) {
  const char *name;
  for (int kind = 0; (name = fill(kind, audio_in, SAMPLES, 1)) != NULL; kind += NEXT_KIND) {
    if (vocosc_mel_init_target(&mel_stream, target) != VOCOSC_OK) return 0; /* not on this CPU */
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
      (void)fill(kind, audio_in, SAMPLES, 1 + (uint64_t)chunk);
      const int samples = frames * VOCOSC_HOP;
      COUNTED(target, frames, name, vocosc_mel(&mel_stream, &scratch, audio_in, samples, mel_out));
      for (int i = 0; i < samples; i++) pcm[i] = (int16_t)(kind == 2 ? 0 : kind * 4000 * (i % 2 ? 1 : -1) - kind);
      COUNTED(target, frames, name, vocosc_mel_int16(&mel_stream, &scratch, pcm, samples, mel_out));
    }
  }
  return 0;
}

int main(void) {
  for (int target = FIRST_TARGET; target <= LAST_TARGET; target++) {
    for (int frames = 1; frames <= FRAMES; frames += FRAMES > 1 ? FRAMES - 1 : 1) {
      if (decode_all((vocosc_target)target, frames) < 0 || analyse_all((vocosc_target)target, frames) < 0) return 1;
    }
  }
  return 0;
}
