/*
 * The API, in any order: the input's bytes are calls on three decoding and two analysis streams. Held after each:
 * - the return value is the count that the header tells, or the status of something that is wrong with the arguments;
 * - on an error the output is silence and the streams are as they were; on a success all output is finite;
 * - audio and mel are, bit for bit, those of a shadow stream that takes the same input a frame, or a sample, at a time
 *   on the portable target;
 * - nothing is read or written beside what was given: every array has just its size, under the address sanitizer.
 */
#include <math.h>
#include <stdbool.h>

#include "input.h"
#include "vocosc.h"

enum { STREAMS = 3, MEL_STREAMS = 2, MOST_CALLS = 64, MOST_JOBS = VOCOSC_MAX_FRAMES + 1 };
enum { MELS = VOCOSC_MELS, HOP = VOCOSC_HOP, MAX_FRAMES = VOCOSC_MAX_FRAMES };

typedef enum { UNKNOWN, READY, DAMAGED } condition; /* unknown: never initialised; damaged: it may still seem ready */

typedef struct {
  vocosc_stream *stream;
  vocosc_stream shadow;
  condition condition;
} decoding;

typedef struct {
  vocosc_mel_stream *stream;
  vocosc_mel_stream shadow;
  condition condition;
} analysis;

static decoding decodings[STREAMS];
static analysis analyses[MEL_STREAMS];
static vocosc_scratch *scratch;
static vocosc_scratch shadow_scratch;

/* What is wrong with the arguments of a call: a set of statuses. */
typedef unsigned faults;
static faults fault(bool wrong, vocosc_status status) { return wrong ? 1u << -(int)status : 0; }
static faults stream_fault(condition is) { return fault(is == UNKNOWN, VOCOSC_BAD_STREAM); }

/* Checks a status: `expected` if nothing is wrong, else one of the faults. A damaged stream may be refused, or not. */
static bool succeeded(int status, int expected, faults wrong, bool damaged) {
  if (damaged && status == VOCOSC_BAD_STREAM) return false;
  if (wrong == 0) {
    CHECK(status == expected);
    return true;
  }
  CHECK(status < 0 && status >= VOCOSC_BAD_TARGET && (wrong >> -status & 1u) != 0);
  CHECK(strlen(vocosc_status_text(status)) > 3);
  return false;
}

static bool all_zero(const void *memory, size_t bytes) {
  const uint8_t *at = memory;
  for (size_t i = 0; i < bytes; i++) {
    if (at[i] != 0) return false;
  }
  return true;
}

static bool all_finite(const float *values, int count) {
  for (int i = 0; i < count; i++) {
    if (!isfinite(values[i])) return false;
  }
  return true;
}

/* Values in the range of speech, or any bits at all. */
static float next_value(input *in) {
  const uint8_t kind = next_byte(in);
  if (kind >= 0xf0) return next_float_bits(in);
  return (float)kind * (1.0f / 16.0f) - 10.0f;
}

static int16_t rounded(float sample) {
  const float scaled = rintf(sample * 32768.0f);
  return (int16_t)(scaled > 32767.0f ? 32767.0f : scaled < -32768.0f ? -32768.0f : scaled);
}

/* Which of four pointers is null (0 .. 3) or misaligned (4 .. 7), if any. */
static int next_missing(uint8_t options) { return options >> 4 < 8 ? options >> 4 : -1; }

static void *broken(void *pointer, int missing, int which) {
  if (missing == which) return NULL;
  return missing == 4 + which ? (uint8_t *)pointer + 1 : pointer;
}

static vocosc_target next_target(input *in) { return (vocosc_target)(next_byte(in) % 8); }

/* ---- decoding ---- */

static void call_init(input *in) {
  decoding *on = &decodings[next_byte(in) % STREAMS];
  const vocosc_target target = next_target(in);
  vocosc_stream other;
  memset(&other, 0xa5, sizeof other);
  const int expected = vocosc_init_target(&other, target);
  CHECK(expected == VOCOSC_OK || expected == VOCOSC_BAD_TARGET);
  CHECK(vocosc_init_target(NULL, target) == VOCOSC_BAD_ARGUMENT);
  CHECK(vocosc_init_target(on->stream, target) == expected);
  CHECK(memcmp(on->stream, &other, sizeof other) == 0);
  CHECK(vocosc_init_target(&on->shadow, VOCOSC_PORTABLE) == VOCOSC_OK);
  on->condition = expected == VOCOSC_OK ? READY : UNKNOWN;
}

static void call_reset(input *in) {
  decoding *on = &decodings[next_byte(in) % STREAMS];
  const int status = vocosc_reset(on->stream);
  if (succeeded(status, VOCOSC_OK, stream_fault(on->condition), on->condition == DAMAGED)) {
    CHECK(vocosc_init_target(&on->shadow, VOCOSC_PORTABLE) == VOCOSC_OK);
  }
}

/* What the shadow gives for the frames, one by one. */
static void decode_shadow(decoding *on, const float *mel, int frames, float *audio) {
  for (int i = 0; i < frames; i++) {
    CHECK(vocosc_decode(&on->shadow, &shadow_scratch, mel + i * MELS, 1, audio + i * HOP) == HOP);
  }
}

static void check_audio(decoding *on, const float *mel, int frames, const float *audio) {
  float expected[MAX_FRAMES * HOP];
  if (on->condition != READY) return;
  CHECK(all_finite(audio, frames * HOP));
  decode_shadow(on, mel, frames, expected);
  CHECK(memcmp(audio, expected, sizeof(float) * (size_t)(frames * HOP)) == 0);
}

static void call_decode(input *in) {
  decoding *on = &decodings[next_byte(in) % STREAMS];
  const int frames = next_byte(in) % (MAX_FRAMES + 3) - 1;
  const uint8_t options = next_byte(in);
  const bool is_int16 = (options & 1) != 0;
  const bool is_team = !is_int16 && (options & 2) != 0;
  const bool is_valid_count = frames >= 1 && frames <= MAX_FRAMES;
  const int floats = is_valid_count ? frames * MELS : 0;
  const int samples = is_valid_count ? frames * HOP : 0;
  const size_t sample_bytes = is_int16 ? sizeof(int16_t) : sizeof(float);
  float *mel = exact(sizeof(float) * (size_t)floats);
  void *audio = exact(sample_bytes * (size_t)samples);
  vocosc_stream before;
  memcpy(&before, on->stream, sizeof before);
  for (int i = 0; i < floats; i++) mel[i] = next_value(in);

  /* Now and then a null pointer, a misaligned one, or a team that cannot be. */
  const int missing = next_missing(options);
  vocosc_stream *stream = broken(on->stream, missing, 0);
  vocosc_scratch *work = broken(scratch, missing, 1);
  const float *from = broken(mel, missing, 2);
  void *to = broken(audio, missing, 3);
  const uint8_t of_team = is_team ? next_byte(in) : 0;
  const vocosc_team team = {of_team % 4 == 1 ? -1 : 0, of_team % 4 == 2 ? 0 : 1 + (of_team % 4 == 3), NULL, NULL};
  const vocosc_team *given = of_team == 0xff ? NULL : &team;

  faults wrong = fault(missing >= 0 || !is_valid_count, VOCOSC_BAD_ARGUMENT) |
                 fault(!all_finite(mel, floats), VOCOSC_BAD_INPUT) | stream_fault(on->condition);
  const bool bad_team = is_team && (of_team == 0xff || of_team % 4 != 0);
  wrong |= fault(bad_team, VOCOSC_BAD_ARGUMENT);
  const int status = is_int16  ? vocosc_decode_int16(stream, work, from, frames, to)
                     : is_team ? vocosc_decode_team(stream, work, from, frames, to, given)
                               : vocosc_decode(stream, work, from, frames, to);
  if (succeeded(status, samples, wrong, on->condition == DAMAGED)) {
    if (is_int16 && on->condition == READY) {
      float expected[MAX_FRAMES * HOP];
      decode_shadow(on, mel, frames, expected);
      for (int i = 0; i < samples; i++) CHECK(((int16_t *)audio)[i] == rounded(expected[i]));
    } else if (!is_int16) {
      check_audio(on, mel, frames, audio);
    }
  } else {
    CHECK(memcmp(on->stream, &before, sizeof before) == 0);
    /* A team that cannot be has no member that could write. */
    if (to == audio && !bad_team) CHECK(all_zero(audio, sample_bytes * (size_t)samples));
  }
  free(mel);
  free(audio);
}

static void call_batch(input *in) {
  const int count = next_byte(in) % (MOST_JOBS + 1);
  const int frames = next_byte(in) % (MAX_FRAMES + 2);
  const uint8_t options = next_byte(in);
  const bool is_valid_count = frames >= 1 && frames <= MAX_FRAMES;
  const int floats = is_valid_count ? frames * MELS : 0;
  const int samples = is_valid_count ? frames * HOP : 0;
  vocosc_job jobs[MOST_JOBS];
  decoding *on[MOST_JOBS];
  float *audio[MOST_JOBS];
  float *mel[MOST_JOBS];
  vocosc_stream before[STREAMS];
  for (int i = 0; i < STREAMS; i++) memcpy(&before[i], decodings[i].stream, sizeof *before);

  bool damaged = false;
  faults wrong = fault(count < 1 || !is_valid_count || frames * count > MAX_FRAMES || options == 1 || options == 2,
                       VOCOSC_BAD_ARGUMENT);
  for (int i = 0; i < count; i++) {
    const uint8_t which = next_byte(in);
    on[i] = &decodings[which % STREAMS];
    mel[i] = exact(sizeof(float) * (size_t)floats);
    audio[i] = exact(sizeof(float) * (size_t)samples);
    for (int j = 0; j < floats; j++) mel[i][j] = next_value(in);
    jobs[i] = (vocosc_job){which == 0xff ? NULL : on[i]->stream, which == 0xfe ? NULL : mel[i],
                           which == 0xfd ? NULL : audio[i]};
    damaged |= on[i]->condition == DAMAGED;
    wrong |= fault(which >= 0xfd, VOCOSC_BAD_ARGUMENT) | stream_fault(on[i]->condition) |
             fault(!all_finite(mel[i], floats), VOCOSC_BAD_INPUT);
    for (int other = 0; other < i; other++) wrong |= fault(on[other] == on[i], VOCOSC_BAD_ARGUMENT);
    wrong |= fault(on[i]->stream->target != on[0]->stream->target, VOCOSC_BAD_ARGUMENT);
  }
  const int status =
      vocosc_decode_batch(options == 1 ? NULL : jobs, count, options == 2 ? NULL : scratch, frames, NULL);
  if (succeeded(status, samples, wrong, damaged)) {
    for (int i = 0; i < count; i++) check_audio(on[i], mel[i], frames, audio[i]);
  } else {
    for (int i = 0; i < STREAMS; i++) CHECK(memcmp(decodings[i].stream, &before[i], sizeof *before) == 0);
    bool all_audio = options != 1 && count <= MAX_FRAMES;
    for (int i = 0; i < count; i++) all_audio &= jobs[i].audio != NULL;
    for (int i = 0; i < count && all_audio; i++) CHECK(all_zero(audio[i], sizeof(float) * (size_t)samples));
  }
  for (int i = 0; i < count; i++) {
    free(mel[i]);
    free(audio[i]);
  }
}

static void call_flush(input *in) {
  decoding *on = &decodings[next_byte(in) % STREAMS];
  const uint8_t options = next_byte(in);
  const bool is_int16 = (options & 1) != 0;
  const size_t bytes = VOCOSC_TAIL * (is_int16 ? sizeof(int16_t) : sizeof(float));
  void *audio = exact(bytes);
  float expected[VOCOSC_TAIL + 1];
  vocosc_stream *stream = options >> 4 == 1 ? NULL : on->stream;
  void *to = options >> 4 == 2 ? NULL : audio;
  const faults wrong = fault(stream == NULL || to == NULL, VOCOSC_BAD_ARGUMENT) | stream_fault(on->condition);
  const int status = is_int16 ? vocosc_flush_int16(stream, to) : vocosc_flush(stream, to);
  if (succeeded(status, VOCOSC_TAIL, wrong, on->condition == DAMAGED)) {
    CHECK(vocosc_flush(&on->shadow, expected) == VOCOSC_TAIL);
    for (int i = 0; i < VOCOSC_TAIL && on->condition == READY; i++) {
      if (is_int16) CHECK(((int16_t *)audio)[i] == rounded(expected[i]));
    }
    if (!is_int16 && on->condition == READY) CHECK(memcmp(audio, expected, bytes) == 0);
  } else if (to != NULL && stream != NULL) {
    CHECK(all_zero(audio, bytes));
  }
  free(audio);
}

static void call_copy(input *in) {
  const decoding *from = &decodings[next_byte(in) % STREAMS];
  decoding *to = &decodings[next_byte(in) % STREAMS];
  if (from == to) return;
  memcpy(to->stream, from->stream, sizeof *to->stream);
  to->shadow = from->shadow;
  to->condition = from->condition;
}

/* Changes a word behind the first `from`: whatever stands there, nothing beside the arrays is touched. */
static void flip(input *in, void *memory, size_t bytes, size_t from) {
  const size_t at = from + next_word(in) % (bytes / sizeof(uint32_t) - from);
  uint32_t word;
  memcpy(&word, (uint32_t *)memory + at, sizeof word);
  word ^= next_word(in);
  memcpy((uint32_t *)memory + at, &word, sizeof word);
}

/* Another state or target. A target of this build that this CPU lacks would be run, and is left out. */
static void call_damage(input *in) {
  decoding *on = &decodings[next_byte(in) % STREAMS];
  const uint32_t ready = next_word(in);
  const vocosc_target target = next_target(in);
  vocosc_stream other;
  if (ready != 0) on->stream->ready ^= ready;
  if (vocosc_init_target(&other, target) == VOCOSC_OK || target == VOCOSC_BEST) on->stream->target = target;
  flip(in, on->stream, sizeof *on->stream, 2);
  if (on->condition == READY) on->condition = DAMAGED;
}

/* ---- analysis ---- */

static void call_mel_init(input *in) {
  analysis *on = &analyses[next_byte(in) % MEL_STREAMS];
  const vocosc_target target = next_target(in);
  vocosc_mel_stream other;
  const int expected = vocosc_mel_init_target(&other, target);
  CHECK(vocosc_mel_init_target(on->stream, target) == expected);
  CHECK(expected == VOCOSC_OK || expected == VOCOSC_BAD_TARGET);
  CHECK(vocosc_mel_init_target(&on->shadow, VOCOSC_PORTABLE) == VOCOSC_OK);
  on->condition = expected == VOCOSC_OK ? READY : UNKNOWN;
}

static void call_mel_reset(input *in) {
  analysis *on = &analyses[next_byte(in) % MEL_STREAMS];
  const int status = vocosc_mel_reset(on->stream);
  if (succeeded(status, VOCOSC_OK, stream_fault(on->condition), on->condition == DAMAGED)) {
    CHECK(vocosc_mel_init_target(&on->shadow, VOCOSC_PORTABLE) == VOCOSC_OK);
  }
}

static void call_mel(input *in) {
  analysis *on = &analyses[next_byte(in) % MEL_STREAMS];
  const int samples = next_byte(in) % (MAX_FRAMES * HOP + 3) - 1;
  const uint8_t options = next_byte(in);
  const bool is_int16 = (options & 1) != 0;
  const bool is_valid_count = samples >= 0 && samples <= MAX_FRAMES * HOP;
  const int given = is_valid_count ? samples : 0;
  float *audio = exact(sizeof(float) * (size_t)given);
  int16_t *pcm = exact(sizeof(int16_t) * (size_t)given);
  for (int i = 0; i < given; i++) {
    pcm[i] = (int16_t)(next_byte(in) * 257 - 32768);
    audio[i] = is_int16 ? (float)pcm[i] / 32768.0f : next_value(in);
  }
  vocosc_mel_stream before;
  memcpy(&before, on->stream, sizeof before);
  /* Just as many frames as the samples complete: more must not be written. */
  const int frames = on->condition == READY && is_valid_count ? ((int)before.pending + samples) / HOP : MAX_FRAMES;
  float *mel = exact(sizeof(float) * (size_t)(frames * MELS));

  const int missing = next_missing(options);
  vocosc_mel_stream *stream = broken(on->stream, missing, 0);
  vocosc_scratch *work = broken(scratch, missing, 1);
  float *to = broken(mel, missing, 3);
  const bool no_audio = missing == 2 || missing == 6;
  const faults wrong =
      fault((missing >= 0 && !no_audio) || !is_valid_count || (no_audio && samples > 0), VOCOSC_BAD_ARGUMENT) |
      fault(!is_int16 && !no_audio && !all_finite(audio, given), VOCOSC_BAD_INPUT) | stream_fault(on->condition);
  const int status = is_int16 ? vocosc_mel_int16(stream, work, broken(pcm, missing, 2), samples, to)
                              : vocosc_mel(stream, work, broken(audio, missing, 2), samples, to);
  if (wrong == 0 && on->condition == DAMAGED && status >= 0) {
    CHECK(status <= MAX_FRAMES);
  } else if (succeeded(status, frames, wrong, on->condition == DAMAGED)) {
    for (int i = 0, done = 0; i < samples; i++) {
      float expected[MELS];
      const int complete = vocosc_mel(&on->shadow, &shadow_scratch, audio + i, 1, expected);
      CHECK(complete == 0 || complete == 1);
      if (complete == 0) continue;
      CHECK(all_finite(mel + done * MELS, MELS));
      CHECK(memcmp(mel + done * MELS, expected, sizeof expected) == 0);
      done++;
    }
  } else {
    CHECK(memcmp(on->stream, &before, sizeof before) == 0);
    if (status == VOCOSC_BAD_INPUT) {
      for (int i = 0; i < frames * MELS && on->condition == READY; i++) CHECK(mel[i] == VOCOSC_SILENT_MEL);
    }
  }
  free(audio);
  free(pcm);
  free(mel);
}

static void call_mel_flush(input *in) {
  analysis *on = &analyses[next_byte(in) % MEL_STREAMS];
  const int missing = next_byte(in) % 8;
  float expected[MELS];
  const int frames = on->condition == READY && on->stream->pending > 0;
  float *mel = exact(on->condition == READY && frames == 0 ? 0 : sizeof expected);
  const faults wrong = fault(missing < 3, VOCOSC_BAD_ARGUMENT) | stream_fault(on->condition);
  const int status =
      vocosc_mel_flush(missing == 0 ? NULL : on->stream, missing == 1 ? NULL : scratch, missing == 2 ? NULL : mel);
  if (on->condition == DAMAGED && (status == 0 || status == 1)) {
    CHECK(wrong == 0);
    on->shadow = *on->stream;
  } else if (succeeded(status, frames, wrong, on->condition == DAMAGED)) {
    CHECK(vocosc_mel_flush(&on->shadow, &shadow_scratch, expected) == frames);
    if (frames == 1) CHECK(memcmp(mel, expected, sizeof expected) == 0);
  }
  free(mel);
}

static void call_mel_damage(input *in) {
  analysis *on = &analyses[next_byte(in) % MEL_STREAMS];
  on->stream->pending = next_word(in);
  flip(in, on->stream, sizeof *on->stream, 3);
  if (on->condition == READY) on->condition = DAMAGED;
}

/* ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static void (*const calls[])(input * in) = {
      call_init,     call_reset,     call_decode, call_decode, call_decode,    call_batch,  call_flush,      call_copy,
      call_mel_init, call_mel_reset, call_mel,    call_mel,    call_mel_flush, call_damage, call_mel_damage,
  };
  input in = {data, size};
  scratch = exact(sizeof *scratch);
  for (int i = 0; i < STREAMS; i++) {
    decodings[i].stream = exact(sizeof(vocosc_stream));
    decodings[i].condition = UNKNOWN;
  }
  for (int i = 0; i < MEL_STREAMS; i++) {
    analyses[i].stream = exact(sizeof(vocosc_mel_stream));
    analyses[i].condition = UNKNOWN;
  }
  for (int call = 0; call < MOST_CALLS && in.left > 0; call++) {
    calls[next_byte(&in) % (sizeof calls / sizeof *calls)](&in);
  }
  for (int i = 0; i < STREAMS; i++) free(decodings[i].stream);
  for (int i = 0; i < MEL_STREAMS; i++) free(analyses[i].stream);
  free(scratch);
  return 0;
}
