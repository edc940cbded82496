/*
 * Streams of a model that looks ahead, in any order: the input's bytes are calls on three of them. Held after each:
 * - the return value is what vocosc_decode_samples promised, or a status, and then the stream is as it was;
 * - audio is, bit for bit, that of a shadow stream that takes the same input a frame at a time on the portable target;
 * - an utterance has VOCOSC_UTTERANCE_SAMPLES samples;
 * - nothing is read or written beside what was given: every array has just its size, under the address sanitizer.
 */
#include <math.h>
#include <stdbool.h>

#include "input.h"
#include "vocosc.h"

enum { STREAMS = 3, MOST_CALLS = 64, MELS = VOCOSC_MELS, HOP = VOCOSC_HOP, MAX_FRAMES = VOCOSC_MAX_FRAMES };

typedef struct {
  vocosc_stream *stream;
  vocosc_stream shadow;
  int frames; /* of the utterance so far, and its samples */
  int samples;
} decoding;

static decoding decodings[STREAMS];
static vocosc_scratch *scratch;

static int16_t rounded(float sample) {
  const float scaled = rintf(sample * 32768.0f);
  return (int16_t)(scaled > 32767.0f ? 32767.0f : scaled < -32768.0f ? -32768.0f : scaled);
}

static void check_same(const void *audio, bool is_int16, const float *expected, int samples) {
  if (!is_int16) {
    CHECK(memcmp(audio, expected, sizeof(float) * (size_t)samples) == 0);
    return;
  }
  for (int i = 0; i < samples; i++) CHECK(((const int16_t *)audio)[i] == rounded(expected[i]));
}

static void begin(decoding *on) {
  CHECK(vocosc_init_target(&on->shadow, VOCOSC_PORTABLE) == VOCOSC_OK);
  on->frames = on->samples = 0;
}

static void call_init(decoding *on, input *in) {
  const vocosc_target target = next_byte(in) % 2 != 0 ? VOCOSC_BEST : VOCOSC_PORTABLE;
  CHECK(vocosc_init_target(on->stream, target) == VOCOSC_OK);
  begin(on);
}

static void call_copy(decoding *on, input *in) {
  const decoding *from = &decodings[next_byte(in) % STREAMS];
  vocosc_stream *stream = on->stream;
  memcpy(stream, from->stream, sizeof *stream);
  *on = *from;
  on->stream = stream;
}

static void call_decode(decoding *on, input *in) {
  const int frames = next_byte(in) % (MAX_FRAMES + 2);
  const uint8_t options = next_byte(in);
  const bool is_int16 = (options & 1) != 0;
  const bool is_valid = frames >= 1 && frames <= MAX_FRAMES;
  const size_t floats = is_valid ? (size_t)(frames * MELS) : 0;
  const size_t samples = is_valid ? (size_t)(frames * HOP) : 0;
  float *mel = exact(sizeof(float) * floats);
  void *audio = exact((is_int16 ? sizeof(int16_t) : sizeof(float)) * samples);
  bool is_finite = true;
  for (size_t i = 0; i < floats; i++) {
    const uint8_t kind = next_byte(in);
    mel[i] = kind == 0xff ? next_float_bits(in) : (float)kind * (1.0f / 16.0f) - 10.0f;
    is_finite = is_finite && isfinite(mel[i]);
  }
  vocosc_stream before;
  memcpy(&before, on->stream, sizeof before);
  const int promised = vocosc_decode_samples(on->stream, frames);
  const int count = is_int16 ? vocosc_decode_int16(on->stream, scratch, mel, frames, audio)
                             : vocosc_decode(on->stream, scratch, mel, frames, audio);
  if (is_valid && is_finite) {
    float expected[MAX_FRAMES * HOP];
    int given = 0;
    for (int i = 0; i < frames; i++) {
      const int one = vocosc_decode(&on->shadow, scratch, mel + i * MELS, 1, expected + given);
      CHECK(one >= 0 && one <= HOP);
      given += one;
    }
    CHECK(count == promised && count == given);
    check_same(audio, is_int16, expected, count);
    on->frames += frames;
    on->samples += count;
  } else {
    CHECK(count == (is_valid ? VOCOSC_BAD_INPUT : VOCOSC_BAD_ARGUMENT));
    CHECK(memcmp(on->stream, &before, sizeof before) == 0);
  }
  free(mel);
  free(audio);
}

static void call_flush(decoding *on, input *in) {
  const bool is_int16 = next_byte(in) % 2 != 0;
  void *audio = exact((is_int16 ? sizeof(int16_t) : sizeof(float)) * VOCOSC_TAIL);
  float expected[VOCOSC_TAIL];
  const int count =
      is_int16 ? vocosc_flush_int16(on->stream, scratch, audio) : vocosc_flush(on->stream, scratch, audio);
  CHECK(count == vocosc_flush(&on->shadow, scratch, expected));
  CHECK(on->samples + count == (on->frames > 0 ? VOCOSC_UTTERANCE_SAMPLES(on->frames) : 0));
  check_same(audio, is_int16, expected, count);
  begin(on);
  free(audio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {data, size};
  scratch = exact(sizeof *scratch);
  for (int i = 0; i < STREAMS; i++) {
    decodings[i].stream = exact(sizeof(vocosc_stream));
    CHECK(vocosc_init(decodings[i].stream) == VOCOSC_OK);
    begin(&decodings[i]);
  }
  for (int calls = 0; in.left > 0 && calls < MOST_CALLS; calls++) {
    const uint8_t order = next_byte(&in);
    decoding *on = &decodings[order % STREAMS];
    switch (order / STREAMS % 8) {
      case 0:
        call_init(on, &in);
        break;
      case 1:
        call_copy(on, &in);
        break;
      case 2:
        call_flush(on, &in);
        break;
      case 3:
        CHECK(vocosc_reset(on->stream) == VOCOSC_OK);
        begin(on);
        break;
      default:
        call_decode(on, &in);
    }
  }
  for (int i = 0; i < STREAMS; i++) free(decodings[i].stream);
  free(scratch);
  return 0;
}
