/* The public functions: arguments checked, the target's kernels called, errors answered with silence. */
#define VOCOSC_TIED(function) /* this is the library: its functions have their plain names, and at the end the others */
#include "vocosc.h"

#include "vocosc_memory.h"
#include "vocosc_model.h"
//% if plan.counts_frames
#include "vocosc_output.h"
//% endif
#include "vocosc_target.h"
#include "vocosc_values.h"

/*
 * In a stream's `ready` field after init, made of the words behind it: a stream of zeros or of noise is refused, and so is
 * one of which a bit has flipped that decides what runs.
 */
static uint32_t mark_of(uint32_t target) { return 0x564f434fu + target * 0x9e3779b1u; }

static uint32_t mark_of_stream(const vocosc_stream *stream) {
  uint32_t mark = mark_of(stream->target);
#if !VOCOSC_BAKED
  for (int i = 0; i < 2; i++) mark = (mark ^ stream->weights[i]) * 0x85ebca77u;
#endif
  return mark;
}

#if VOCOSC_HAS_CHECK
/* FNV-1a, over all words of a stream behind its checksum. */
static uint32_t checksum_of(const vocosc_stream *stream) {
  const size_t first = offsetof(vocosc_stream, checksum) + sizeof stream->checksum;
  uint32_t hash = 2166136261u;
  for (size_t at = first; at < sizeof *stream; at += sizeof(float)) {
    hash = (hash ^ bits_of_float((const float *)(const void *)((const unsigned char *)stream + at))) * 16777619u;
  }
  return hash;
}
#endif

/* A team of one, made where it is used: as a constant in memory, a flipped bit would make another team of it. */
static vocosc_team *only_worker(vocosc_team *team) {
  *(volatile int *)&team->worker = 0;
  *(volatile int *)&team->workers = 1;
  team->barrier = NULL;
  team->context = NULL;
  return team;
}

/* A decode, by the caller alone, of arguments that were checked. */
static void run_alone(const vocosc_job *job, vocosc_scratch *scratch, int frames) {
  vocosc_team one;
  vocosc_run_network(job, 1, scratch, frames, only_worker(&one));
}

size_t vocosc_stream_bytes(void) { return sizeof(vocosc_stream); }
size_t vocosc_mel_stream_bytes(void) { return sizeof(vocosc_mel_stream); }
size_t vocosc_scratch_bytes(void) { return sizeof(vocosc_scratch); }
int vocosc_max_frames(void) { return VOCOSC_MAX_FRAMES; }
int vocosc_latency_samples(void) { return VOCOSC_LATENCY_SAMPLES; }

const char *vocosc_status_text(int status) {
  switch (status) {
    case VOCOSC_BAD_ARGUMENT:
      return "bad argument: a null or misaligned pointer, or a count out of range";
    case VOCOSC_BAD_INPUT:
      return "bad input: a value is NaN or infinite";
    case VOCOSC_BAD_STREAM:
      return "bad stream: not initialised, or damaged";
    case VOCOSC_BAD_TARGET:
      return "bad target: this CPU or this build lacks these instructions";
    case VOCOSC_BAD_WEIGHTS:
      return "bad weights: not this model's, misaligned, cut off or damaged";
    case VOCOSC_BAD_SELFTEST:
      return "bad self-test: memory, CPU, weights or code are damaged";
    default:
      return status >= 0 ? "ok" : "unknown status";
  }
}

/* Neither null nor misaligned. All structs and floats are aligned to 4 bytes, int16 to 2. */
static int usable(const void *memory, size_t alignment) { return memory != NULL && (uintptr_t)memory % alignment == 0; }

/* Rounds to nearest, ties to even, and clips; NaN is silence. */
static int16_t to_int16(float sample) {
  const float rounder = 0x1.8p23f;
  float scaled = sample * 32768.0f;
  scaled = float_select(scaled == scaled, scaled, 0.0f);
  scaled = float_select(scaled < 32767.0f, scaled, 32767.0f);
  scaled = float_select(scaled > -32768.0f, scaled, -32768.0f);
  return (int16_t)(scaled + rounder - rounder);
}

/* ---- decoding ---- */

/* Called where a call has changed a stream: its checksum follows, if this build has one. */
static void seal(vocosc_stream *stream) {
#if VOCOSC_HAS_CHECK
  stream->checksum = checksum_of(stream);
#else
  (void)stream;
#endif
}

#if VOCOSC_BAKED
int vocosc_init_target(vocosc_stream *stream, vocosc_target target) {
  if (!usable(stream, 4)) return VOCOSC_BAD_ARGUMENT;
  const vocosc_target chosen = vocosc_best_target(target);
  memset(stream, 0, sizeof *stream);
  if (chosen == VOCOSC_BEST) return VOCOSC_BAD_TARGET;
  stream->target = chosen;
  stream->ready = mark_of_stream(stream);
  seal(stream);
  return VOCOSC_OK;
}

int vocosc_init(vocosc_stream *stream) { return vocosc_init_target(stream, VOCOSC_BEST); }
#endif

#if VOCOSC_HAS_CHECK || !VOCOSC_BAKED
/* Little-endian, as the file is. */
static uint32_t bits_of_word(const unsigned char *bytes) {
  uint32_t word;
  __builtin_memcpy(&word, __builtin_assume_aligned(bytes, 4), sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  word = __builtin_bswap32(word);
#endif
  return word;
}

/* Of whole words, as all that is in the file. */
static uint32_t crc32(const unsigned char *bytes, size_t count) {
  uint32_t crc = 0xffffffffu;
#if defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
  for (size_t i = 0; i < count; i += 4) crc = __builtin_aarch64_crc32w(crc, bits_of_word(bytes + i));
#else
  const uint32_t *tables = vocosc_crc32_tables;
  for (size_t i = 0; i < count; i += 4) {
    crc ^= bits_of_word(bytes + i);
    crc = tables[768 + (crc & 0xffu)] ^ tables[512 + (crc >> 8 & 0xffu)] ^ tables[256 + (crc >> 16 & 0xffu)] ^
          tables[crc >> 24];
  }
#endif
  return ~crc;
}

#endif

#if !VOCOSC_BAKED
static int is_ours(const weights_file *weights, size_t bytes) {
  static const char magic[8] = WEIGHTS_MAGIC;
  const size_t checked = offsetof(weights_file, architecture); /* the checksum is of what begins here */
  if ((uintptr_t)weights % 64 != 0 || bytes < sizeof *weights) return 0;
  for (size_t i = 0; i < sizeof magic; i++) {
    if (weights->magic[i] != magic[i]) return 0;
  }
  for (size_t i = 0; i < sizeof weights->architecture; i++) {
    if (weights->architecture[i] != vocosc_architecture[i]) return 0;
  }
  return weights->version == WEIGHTS_VERSION && weights->byte_order == BYTE_ORDER_MARK &&
         weights->bytes == sizeof *weights &&
         weights->crc32 == crc32((const unsigned char *)weights + checked, sizeof *weights - checked);
}

int vocosc_init_weights(vocosc_stream *stream, vocosc_target target, const void *weights, size_t bytes) {
  if (!usable(stream, 4)) return VOCOSC_BAD_ARGUMENT;
  const vocosc_target chosen = vocosc_best_target(target);
  memset(stream, 0, sizeof *stream);
  if (weights == NULL) return VOCOSC_BAD_ARGUMENT;
  if (chosen == VOCOSC_BEST) return VOCOSC_BAD_TARGET;
  if (!is_ours(weights, bytes)) return VOCOSC_BAD_WEIGHTS;
  stream->target = chosen;
  memcpy(stream->weights, &weights, sizeof weights);
  stream->ready = mark_of_stream(stream);
  seal(stream);
  return VOCOSC_OK;
}
#endif

/* A stream from init names a target of this build; a damaged one, or a snapshot from elsewhere, may not. */
static int is_ready(const vocosc_stream *stream) {
  return stream->ready == mark_of_stream(stream) && vocosc_target_is_built(stream->target);
}

//% if plan.counts_frames
/* Nor may one that counts more frames than any does, or was left by half a flush. */
static int can_decode(const vocosc_stream *stream) {
  return is_ready(stream) && stream->frames <= SETTLED && stream->flushed == 0;
}

//% endif
int vocosc_reset(vocosc_stream *stream) {
  if (!usable(stream, 4)) return VOCOSC_BAD_ARGUMENT;
  if (!is_ready(stream)) return VOCOSC_BAD_STREAM;
  const size_t kept = offsetof(vocosc_stream, ${"frames" if plan.counts_frames else "values"}); /* target and weights */
  memset((unsigned char *)stream + kept, 0, sizeof *stream - kept);
  seal(stream);
  return VOCOSC_OK;
}

#if VOCOSC_HAS_CHECK
int vocosc_check(const vocosc_stream *stream) {
  if (!usable(stream, 4)) return VOCOSC_BAD_ARGUMENT;
  if (!is_ready(stream) || stream->checksum != checksum_of(stream)) return VOCOSC_BAD_STREAM;
  const weights_file *weights = weights_of(stream);
  const size_t checked = offsetof(weights_file, architecture);
  const uint32_t crc = crc32((const unsigned char *)weights + checked, sizeof *weights - checked);
  return weights->crc32 == crc ? VOCOSC_OK : VOCOSC_BAD_WEIGHTS;
}
#endif

/* The status of a decode call's arguments, the audio's pointers aside. */
static int check_decode(const vocosc_job *jobs, int count, const vocosc_scratch *scratch, int frames) {
  if (!usable(scratch, 4) || frames < 1 || frames > VOCOSC_MAX_FRAMES) return VOCOSC_BAD_ARGUMENT;
  if (frames > VOCOSC_MAX_ROWS / count) return VOCOSC_BAD_ARGUMENT;
  for (int i = 0; i < count; i++) {
    if (!usable(jobs[i].stream, 4) || !usable(jobs[i].mel, 4)) return VOCOSC_BAD_ARGUMENT;
//% if plan.counts_frames
    if (!can_decode(jobs[i].stream)) return VOCOSC_BAD_STREAM;
//% else
    if (!is_ready(jobs[i].stream)) return VOCOSC_BAD_STREAM;
//% endif
    if (jobs[i].stream->target != jobs->stream->target) return VOCOSC_BAD_ARGUMENT;
    if (weights_of(jobs[i].stream) != weights_of(jobs->stream)) return VOCOSC_BAD_ARGUMENT;
    for (int other = 0; other < i; other++) {
      if (jobs[i].stream == jobs[other].stream) return VOCOSC_BAD_ARGUMENT;
    }
  }
  for (int i = 0; i < count; i++) {
    if (!all_finite(jobs[i].mel, frames * MELS)) return VOCOSC_BAD_INPUT;
  }
  return VOCOSC_OK;
}

//% if plan.counts_frames
/* The samples that so many frames more give a stream. */
static int samples_of(const vocosc_stream *stream, int frames) {
  return samples_out((int)stream->frames + frames) - samples_out((int)stream->frames);
}

int vocosc_decode_samples(const vocosc_stream *stream, int frames) {
  if (!usable(stream, 4) || frames < 1 || frames > VOCOSC_MAX_FRAMES) return VOCOSC_BAD_ARGUMENT;
  return can_decode(stream) ? samples_of(stream, frames) : VOCOSC_BAD_STREAM;
}

//% endif
/* Bytes of audio to silence after an error: none if the count makes no sense. */
static size_t audio_bytes(int frames, size_t sample_bytes) {
  return frames < 1 || frames > VOCOSC_MAX_FRAMES ? 0 : (size_t)frames * HOP * sample_bytes;
}

/* After the last barrier of a decode; the team meets once more, so that nobody goes on with a stream before that. */
static void seal_jobs(const vocosc_job *jobs, int count, const vocosc_team *team) {
#if VOCOSC_HAS_CHECK
  for (int i = 0; i < count && team->worker == 0; i++) seal(jobs[i].stream);
  if (team->workers > 1) team->barrier(team->context);
#else
  (void)jobs, (void)count, (void)team;
#endif
}

static int is_team(const vocosc_team *team) {
  return team->workers >= 1 && team->workers <= VOCOSC_MAX_WORKERS && team->worker >= 0 &&
         team->worker < team->workers && (team->workers == 1 || team->barrier != NULL);
}

int vocosc_decode_batch(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames,
                        const vocosc_team *team) {
  vocosc_team one;
  if (team == NULL) team = only_worker(&one);
  if (!is_team(team)) return VOCOSC_BAD_ARGUMENT;
  if (jobs == NULL || count < 1 || count > VOCOSC_MAX_ROWS) return VOCOSC_BAD_ARGUMENT;
  for (int i = 0; i < count; i++) {
    if (!usable(jobs[i].audio, 4)) return VOCOSC_BAD_ARGUMENT;
  }
  const int status = check_decode(jobs, count, scratch, frames);
  if (status != VOCOSC_OK) {
    for (int i = 0; i < count && team->worker == 0; i++) {
      memset(jobs[i].audio, 0, audio_bytes(frames, sizeof *jobs[i].audio));
    }
    return status;
  }
//% if plan.counts_frames
  int samples = 0;
  for (int i = 0; i < count; i++) {
    const int own = samples_of(jobs[i].stream, frames);
    if (own > samples) samples = own;
  }
  vocosc_run_network(jobs, count, scratch, frames, team);
  seal_jobs(jobs, count, team);
  return samples;
//% else
  vocosc_run_network(jobs, count, scratch, frames, team);
  seal_jobs(jobs, count, team);
  return frames * HOP;
//% endif
}

#if VOCOSC_STREAMS > 1
_Static_assert(sizeof(vocosc_job) == sizeof(vocosc_job_int16) &&
                   offsetof(vocosc_job, mel) == offsetof(vocosc_job_int16, mel),
               "both kinds of job are checked as one");

int vocosc_decode_batch_int16(const vocosc_job_int16 *jobs, int count, vocosc_scratch *scratch, int frames,
                              const vocosc_team *team) {
  vocosc_team one;
  if (team == NULL) team = only_worker(&one);
  if (!is_team(team)) return VOCOSC_BAD_ARGUMENT;
  if (jobs == NULL || count < 1 || count > VOCOSC_MAX_ROWS) return VOCOSC_BAD_ARGUMENT;
  for (int i = 0; i < count; i++) {
    if (!usable(jobs[i].audio, 2)) return VOCOSC_BAD_ARGUMENT;
  }
  const int status = check_decode((const vocosc_job *)(const void *)jobs, count, scratch, frames);
  if (status != VOCOSC_OK) {
    for (int i = 0; i < count && team->worker == 0; i++) {
      memset(jobs[i].audio, 0, audio_bytes(frames, sizeof(int16_t)));
    }
    return status;
  }
  /* Jobs whose audio is in the scratch, and behind them each one's number of samples. */
  char *at = (char *)(scratch->values + SCRATCH_JOBS);
  at += -(uintptr_t)at % _Alignof(vocosc_job);
  vocosc_job *inner = (vocosc_job *)(void *)at;
  int *samples = (int *)(inner + count);
  int most = 0;
  for (int i = 0; i < count; i++) {
//% if plan.counts_frames
    const int own = samples_of(jobs[i].stream, frames);
//% else
    const int own = frames * HOP;
//% endif
    if (own > most) most = own;
    if (team->worker > 0) continue;
    inner[i] = (vocosc_job){jobs[i].stream, jobs[i].mel, scratch->values + SCRATCH_AUDIO + i * frames * HOP};
    samples[i] = own;
  }
  if (team->workers > 1) team->barrier(team->context);
  vocosc_run_network(inner, count, scratch, frames, team);
  seal_jobs(inner, count, team);
  const int last = count * (team->worker + 1) / team->workers;
  for (int i = count * team->worker / team->workers; i < last; i++) {
    for (int j = 0; j < samples[i]; j++) jobs[i].audio[j] = to_int16(inner[i].audio[j]);
  }
  if (team->workers > 1) team->barrier(team->context);
  return most;
}
#endif

/* NOLINTNEXTLINE(readability-non-const-parameter): the audio is written through the job */
int vocosc_decode_team(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, float *audio,
                       const vocosc_team *team) {
  const vocosc_job job = {stream, mel, audio};
  return team == NULL ? VOCOSC_BAD_ARGUMENT : vocosc_decode_batch(&job, 1, scratch, frames, team);
}

int vocosc_decode(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, float *audio) {
  vocosc_team one;
  return vocosc_decode_team(stream, scratch, mel, frames, audio, only_worker(&one));
}

int vocosc_decode_int16(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, int16_t *audio) {
  if (!usable(audio, 2)) return VOCOSC_BAD_ARGUMENT;
  vocosc_job job = {stream, mel, NULL};
  const int status = check_decode(&job, 1, scratch, frames);
  if (status != VOCOSC_OK) {
    memset(audio, 0, audio_bytes(frames, sizeof *audio));
    return status;
  }
  job.audio = scratch->values + SCRATCH_AUDIO;
//% if plan.counts_frames
  const int samples = samples_of(stream, frames);
//% endif
  run_alone(&job, scratch, frames);
  seal(stream);
//% set samples = "samples" if plan.counts_frames else "frames * HOP"
  for (int i = 0; i < ${samples}; i++) audio[i] = to_int16(job.audio[i]);
  return ${samples};
}

//% if config.codebooks
/* The features of codes; which features a code out of range has does not matter. */
static int features_of(const weights_file *weights, const uint16_t *codes, int codebooks, int frames, float *features) {
  int bad = 0;
  for (int frame = 0; frame < frames; frame++) {
    float *sum = features + frame * MELS;
    for (int book = 0; book < codebooks; book++) {
      const int code = codes[frame * codebooks + book];
      const int is_bad = code >= VOCOSC_CODES;
      const float *row = weights->codebooks + ((size_t)book * VOCOSC_CODES + (size_t)(is_bad ? 0 : code)) * MELS;
      for (int i = 0; i < MELS; i++) sum[i] = book == 0 ? row[i] : sum[i] + row[i];
      bad |= is_bad;
    }
  }
  return bad ? VOCOSC_BAD_INPUT : VOCOSC_OK;
}

int vocosc_codes_to_features(const vocosc_stream *stream, const uint16_t *codes, int codebooks, int frames, float *features) {
  if (!usable(features, 4) || frames < 1 || frames > VOCOSC_MAX_FRAMES) return VOCOSC_BAD_ARGUMENT;
  int status = VOCOSC_BAD_ARGUMENT;
  if (usable(stream, 4) && usable(codes, 2) && codebooks >= 1 && codebooks <= VOCOSC_CODEBOOKS) {
    status = VOCOSC_BAD_STREAM;
    if (is_ready(stream)) {
      status = features_of(weights_of(stream), codes, codebooks, frames, features);
    }
  }
  if (status != VOCOSC_OK) memset(features, 0, sizeof(float) * (size_t)(frames * MELS));
  return status;
}

/* The status of turning codes into the scratch's features. */
static int take_codes(const vocosc_stream *stream, vocosc_scratch *scratch, const uint16_t *codes, int codebooks, int frames) {
  if (!usable(scratch, 4)) return VOCOSC_BAD_ARGUMENT;
  return vocosc_codes_to_features(stream, codes, codebooks, frames, scratch->values + SCRATCH_FEATURES);
}

int vocosc_decode_codes(vocosc_stream *stream, vocosc_scratch *scratch, const uint16_t *codes, int codebooks, int frames, float *audio) {
  if (!usable(audio, 4)) return VOCOSC_BAD_ARGUMENT;
  const int status = take_codes(stream, scratch, codes, codebooks, frames);
  if (status == VOCOSC_OK) return vocosc_decode(stream, scratch, scratch->values + SCRATCH_FEATURES, frames, audio);
  memset(audio, 0, audio_bytes(frames, sizeof *audio));
  return status;
}

int vocosc_decode_codes_int16(vocosc_stream *stream, vocosc_scratch *scratch, const uint16_t *codes, int codebooks, int frames, int16_t *audio) {
  if (!usable(audio, 2)) return VOCOSC_BAD_ARGUMENT;
  const int status = take_codes(stream, scratch, codes, codebooks, frames);
  if (status == VOCOSC_OK) return vocosc_decode_int16(stream, scratch, scratch->values + SCRATCH_FEATURES, frames, audio);
  memset(audio, 0, audio_bytes(frames, sizeof *audio));
  return status;
}

//% endif
//% if plan.counts_frames
/* FNV-1a, over the words of the values. */
static uint64_t hash_floats(uint64_t hash, const float *values, int count) {
  for (int i = 0; i < count; i++) hash = (hash ^ bits_of_float(values + i)) * 1099511628211u;
  return hash;
}

/* Where the samples of a flush go: floats, or int16, or, if both are null, into the hash. */
typedef struct {
  float *audio;
  int16_t *audio_int16;
  uint64_t hash;
  int count;
} output;

static void put(output *to, const float *samples, int count) {
  for (int i = 0; i < count; i++) {
    if (to->audio != NULL) {
      to->audio[to->count + i] = samples[i];
    } else if (to->audio_int16 != NULL) {
      to->audio_int16[to->count + i] = to_int16(samples[i]);
    }
  }
  if (to->audio == NULL && to->audio_int16 == NULL) to->hash = hash_floats(to->hash, samples, count);
  to->count += count;
}

/* The overlap as audio: behind the last frame, of which there is one at least. */
static void put_overlap(const vocosc_stream *stream, output *to) {
  const int first = (int)stream->frames * HOP;
  for (int i = first < TRIM ? TRIM - first : 0; i < OVERLAP - TRIM; i++) {
    float sample = stream->values[STATE_OVERLAP + i];
//% if plan.is_divided
    sample /= envelope_at(first + i, (int)stream->frames);
//% endif
    put(to, &sample, 1);
  }
}

/* The rest of an utterance; the stream is ready. */
//% if plan.lookahead
static void finish(vocosc_stream *stream, vocosc_scratch *scratch, output *to) {
  const vocosc_job job = {stream, NULL, scratch->values + SCRATCH_AUDIO};
  while (stream->frames > 0 && stream->flushed < LOOKAHEAD) {
    const int left = LOOKAHEAD - (int)stream->flushed;
    const int frames = left < VOCOSC_MAX_FRAMES ? left : VOCOSC_MAX_FRAMES;
    const int samples = samples_out(frames_seen(stream) + frames) - samples_out(frames_seen(stream));
    run_alone(&job, scratch, frames);
    put(to, job.audio, samples);
  }
  if (stream->frames > 0) put_overlap(stream, to);
  vocosc_reset(stream);
}
//% else
static void finish(vocosc_stream *stream, vocosc_scratch *scratch, output *to) {
  (void)scratch;
  if (stream->frames > 0) put_overlap(stream, to);
  vocosc_reset(stream);
}
//% endif

/* Writes the rest as float, or as int16 if `to` has that, and resets. */
static int flush(vocosc_stream *stream, vocosc_scratch *scratch, output *to) {
//% if plan.lookahead
  if (!usable(scratch, 4)) return VOCOSC_BAD_ARGUMENT;
//% endif
  if (!usable(stream, 4)) return VOCOSC_BAD_ARGUMENT;
  if (!can_decode(stream)) {
    const float silence = 0.0f;
    for (int i = 0; i < VOCOSC_TAIL; i++) put(to, &silence, 1);
    return VOCOSC_BAD_STREAM;
  }
  finish(stream, scratch, to);
  return to->count;
}

//% set scratch, given = ("vocosc_scratch *scratch, ", "scratch") if plan.lookahead else ("", "NULL")
int vocosc_flush(vocosc_stream *stream, ${scratch}float *audio) {
  output to = {.audio = audio};
  return usable(audio, 4) ? flush(stream, ${given}, &to) : VOCOSC_BAD_ARGUMENT;
}

int vocosc_flush_int16(vocosc_stream *stream, ${scratch}int16_t *audio) {
  output to = {.audio_int16 = audio};
  return usable(audio, 2) ? flush(stream, ${given}, &to) : VOCOSC_BAD_ARGUMENT;
}

#if VOCOSC_HAS_SELFTEST
int vocosc_selftest(vocosc_stream *stream, vocosc_scratch *scratch) {
  const int status = usable(scratch, 4) ? vocosc_reset(stream) : VOCOSC_BAD_ARGUMENT;
  if (status != VOCOSC_OK) return status;
  const vocosc_job job = {stream, vocosc_golden_mel, scratch->values + SCRATCH_AUDIO};
  output to = {.hash = 14695981039346656037u};
  for (int frame = 0; frame < GOLDEN_FRAMES; frame++) {
    const int samples = samples_of(stream, 1);
    run_alone(&job, scratch, 1);
    put(&to, job.audio, samples);
  }
  finish(stream, scratch, &to);
  return to.hash == weights_of(stream)->golden_hash ? VOCOSC_OK : VOCOSC_BAD_SELFTEST;
}
#endif

//% else
/* Writes the overlap as float, or as int16 if `audio` is null, and resets. */
static int flush(vocosc_stream *stream, float *audio, int16_t *audio_int16) {
  if (!usable(stream, 4)) return VOCOSC_BAD_ARGUMENT;
  if (audio != NULL ? !usable(audio, 4) : !usable(audio_int16, 2)) return VOCOSC_BAD_ARGUMENT;
  const int status = is_ready(stream) ? VOCOSC_OK : VOCOSC_BAD_STREAM;
  for (int i = 0; i < VOCOSC_TAIL; i++) {
    const float sample = status == VOCOSC_OK ? stream->values[STATE_OVERLAP + i] : 0.0f;
    if (audio != NULL) {
      audio[i] = sample;
    } else {
      audio_int16[i] = to_int16(sample);
    }
  }
  if (status != VOCOSC_OK) return status;
  vocosc_reset(stream);
  return VOCOSC_TAIL;
}

int vocosc_flush(vocosc_stream *stream, float *audio) { return flush(stream, audio, NULL); }
int vocosc_flush_int16(vocosc_stream *stream, int16_t *audio) { return flush(stream, NULL, audio); }

#if VOCOSC_HAS_SELFTEST
/* FNV-1a, over the words of the values. */
static uint64_t hash_floats(uint64_t hash, const float *values, int count) {
  for (int i = 0; i < count; i++) hash = (hash ^ bits_of_float(values + i)) * 1099511628211u;
  return hash;
}

int vocosc_selftest(vocosc_stream *stream, vocosc_scratch *scratch) {
  const int status = usable(scratch, 4) ? vocosc_reset(stream) : VOCOSC_BAD_ARGUMENT;
  if (status != VOCOSC_OK) return status;
  float *audio = scratch->values + SCRATCH_AUDIO;
  const vocosc_job job = {stream, vocosc_golden_mel, audio};
  uint64_t hash = 14695981039346656037u;
  for (int frame = 0; frame < GOLDEN_FRAMES; frame++) {
    run_alone(&job, scratch, 1);
    hash = hash_floats(hash, audio, HOP);
  }
  hash = hash_floats(hash, stream->values + STATE_OVERLAP, OVERLAP);
  vocosc_reset(stream);
  return hash == weights_of(stream)->golden_hash ? VOCOSC_OK : VOCOSC_BAD_SELFTEST;
}
#endif
//% endif

/* ---- analysis ---- */

int vocosc_mel_init_target(vocosc_mel_stream *stream, vocosc_target target) {
  if (!usable(stream, 4)) return VOCOSC_BAD_ARGUMENT;
  const vocosc_target chosen = vocosc_best_target(target);
  memset(stream, 0, sizeof *stream);
  if (chosen == VOCOSC_BEST) return VOCOSC_BAD_TARGET;
  stream->ready = mark_of(chosen);
  stream->target = chosen;
  return VOCOSC_OK;
}

int vocosc_mel_init(vocosc_mel_stream *stream) { return vocosc_mel_init_target(stream, VOCOSC_BEST); }

/* A stream from init, whose samples are fewer than complete a frame. */
static int is_ready_mel(const vocosc_mel_stream *stream) {
  return stream->ready == mark_of(stream->target) && vocosc_target_is_built(stream->target) &&
         stream->pending < MEL_START + HOP;
}

int vocosc_mel_reset(vocosc_mel_stream *stream) {
  if (!usable(stream, 4)) return VOCOSC_BAD_ARGUMENT;
  if (!is_ready_mel(stream)) return VOCOSC_BAD_STREAM;
  const uint32_t target = stream->target;
  memset(stream, 0, sizeof *stream);
  stream->ready = mark_of(target);
  stream->target = target;
  return VOCOSC_OK;
}

//% if config.mel
/* Where the next sample goes. Until the first frame, the audio stands behind the place of its mirror image. */
static int next_sample(const vocosc_mel_stream *stream) {
  const int pending = (int)stream->pending;
  return MEL_HISTORY + (pending < MEL_START ? MEL_PAD + pending : MEL_SPAN - HOP + pending - MEL_START);
}

/* The samples that the next frame waits for. */
static int missing_samples(const vocosc_mel_stream *stream) {
  const int pending = (int)stream->pending;
  return pending < MEL_START ? MEL_START - pending : MEL_START + HOP - pending;
}

/* The frames that so many samples complete. */
static int frames_of(const vocosc_mel_stream *stream, int samples) {
  const int missing = missing_samples(stream);
  return samples < missing ? 0 : 1 + (samples - missing) / HOP;
}

/* One frame, all of whose samples are there; the window moves on by a hop. */
static void finish_frame(vocosc_mel_stream *stream, vocosc_scratch *scratch, float *mel) {
//% if framing.start
  if (stream->pending == MEL_START) { /* the first one */
    float *first = stream->window + MEL_HISTORY + MEL_PAD;
    for (int i = 1; i <= MEL_PAD; i++) first[-i] = first[i];
  }
//% endif
  vocosc_run_analysis(stream->target, stream->window + MEL_HISTORY, scratch, mel);
  memmove(stream->window, stream->window + HOP, sizeof(float) * (MEL_HISTORY + MEL_SPAN - HOP));
  stream->pending = MEL_START;
}

/* The status of an analysis call's arguments, the mel's pointer and the count aside. */
static int check_analysis(const vocosc_mel_stream *stream, const vocosc_scratch *scratch, const float *audio,
                          const int16_t *audio_int16, int samples) {
  if (!usable(stream, 4) || !usable(scratch, 4)) return VOCOSC_BAD_ARGUMENT;
  if (samples > 0 && (audio != NULL ? !usable(audio, 4) : !usable(audio_int16, 2))) return VOCOSC_BAD_ARGUMENT;
  if (!is_ready_mel(stream)) return VOCOSC_BAD_STREAM;
  return audio == NULL || all_finite(audio, samples) ? VOCOSC_OK : VOCOSC_BAD_INPUT;
}

/* Takes audio, as float or, if `audio` is null, as int16. */
static ONE_COPY int analyse(vocosc_mel_stream *stream, vocosc_scratch *scratch, const float *audio,
                            const int16_t *audio_int16, int samples, float *mel) {
  if (!usable(mel, 4) || samples < 0 || samples > VOCOSC_MAX_FRAMES * HOP) return VOCOSC_BAD_ARGUMENT;
  const int status = check_analysis(stream, scratch, audio, audio_int16, samples);
  if (status != VOCOSC_OK) {
    /* Without a stream, as many as it could have been for. */
    const int frames = usable(stream, 4) && is_ready_mel(stream) ? frames_of(stream, samples) : samples / HOP;
    for (int i = 0; i < frames * MELS; i++) mel[i] = VOCOSC_SILENT_MEL;
    return status;
  }
  int frames = 0;
  for (int taken = 0; taken < samples;) {
    const int missing = missing_samples(stream);
    const int count = samples - taken < missing ? samples - taken : missing;
    float *to = stream->window + next_sample(stream);
    for (int i = 0; i < count; i++) {
      to[i] = audio != NULL ? without_denormals(audio[taken + i]) : (float)audio_int16[taken + i] * (1.0f / 32768.0f);
    }
    taken += count;
    stream->pending += (uint32_t)count;
    if (count == missing) {
      finish_frame(stream, scratch, mel + frames * MELS);
      frames++;
    }
  }
  return frames;
}

int vocosc_mel(vocosc_mel_stream *stream, vocosc_scratch *scratch, const float *audio, int samples, float *mel) {
  return analyse(stream, scratch, audio, NULL, samples, mel);
}

int vocosc_mel_int16(vocosc_mel_stream *stream, vocosc_scratch *scratch, const int16_t *audio, int samples,
                     float *mel) {
  return analyse(stream, scratch, NULL, audio, samples, mel);
}

//% if framing.start
/* Where, from first to last, that stands which mirroring puts at i. */
static int mirrored(int i, int first, int last) {
  if (first == last) return first;
  while (i < first || i > last) i = 2 * (i < first ? first : last) - i;
  return i;
}

/* The frames that mirroring the end of the audio completes. */
static int finish_audio(const vocosc_mel_stream *stream, vocosc_scratch *scratch, float *mel) {
  const int first = stream->pending < MEL_START ? MEL_HISTORY + MEL_PAD : 0; /* of what there is of the audio */
  const int end = next_sample(stream);
  const int samples = end + MEL_PAD - MEL_HISTORY; /* from the next frame's first to the mirror image's last */
  if (end == first || samples < N_FFT) return 0;
  const int frames = 1 + (samples - N_FFT) / HOP;
  float *window = scratch->values + SCRATCH_MEL_WINDOW;
  for (int frame = 0; frame < frames; frame++) {
    for (int i = 0; i < N_FFT; i++) {
      window[i] = stream->window[mirrored(MEL_HISTORY + frame * HOP + i, first, end - 1)];
    }
    vocosc_run_analysis(stream->target, window, scratch, mel + frame * MELS);
  }
  return frames;
}
//% else
/* The frame that was begun, if there is one, completed with silence. */
static int finish_audio(vocosc_mel_stream *stream, vocosc_scratch *scratch, float *mel) {
  if (stream->pending == 0) return 0;
  memset(stream->window + next_sample(stream), 0, sizeof(float) * (HOP - stream->pending));
  vocosc_run_analysis(stream->target, stream->window, scratch, mel);
  return 1;
}
//% endif

int vocosc_mel_flush(vocosc_mel_stream *stream, vocosc_scratch *scratch, float *mel) {
  if (!usable(stream, 4) || !usable(scratch, 4) || !usable(mel, 4)) return VOCOSC_BAD_ARGUMENT;
  if (!is_ready_mel(stream)) return VOCOSC_BAD_STREAM;
  const int frames = finish_audio(stream, scratch, mel);
  vocosc_mel_reset(stream);
  return frames;
}
//% else
/* NOLINTBEGIN(readability-non-const-parameter): as of a model that writes there */
int vocosc_mel(vocosc_mel_stream *stream, vocosc_scratch *scratch, const float *audio, int samples, float *mel) {
  (void)stream, (void)scratch, (void)audio, (void)samples, (void)mel;
  return VOCOSC_BAD_ARGUMENT;
}

int vocosc_mel_int16(vocosc_mel_stream *stream, vocosc_scratch *scratch, const int16_t *audio, int samples, float *mel) {
  (void)stream, (void)scratch, (void)audio, (void)samples, (void)mel;
  return VOCOSC_BAD_ARGUMENT;
}

int vocosc_mel_flush(vocosc_mel_stream *stream, vocosc_scratch *scratch, float *mel) {
  (void)stream, (void)scratch, (void)mel;
  return VOCOSC_BAD_ARGUMENT;
}
/* NOLINTEND(readability-non-const-parameter) */
//% endif

/* ---- the names by which programs that were compiled with this build's header know these functions ---- */

#if defined(__GNUC__) && defined(__ELF__)
#define TIE(function) \
  extern __typeof__(function) function##_needs_the_library_of_this_header_${build} __attribute__((alias(#function)))

#if VOCOSC_BAKED
TIE(vocosc_init);
TIE(vocosc_init_target);
#else
TIE(vocosc_init_weights);
#endif
#if VOCOSC_HAS_SELFTEST
TIE(vocosc_selftest);
#endif
#if VOCOSC_HAS_CHECK
TIE(vocosc_check);
#endif
TIE(vocosc_reset);
TIE(vocosc_decode);
//% if plan.counts_frames
TIE(vocosc_decode_samples);
//% endif
TIE(vocosc_decode_int16);
TIE(vocosc_decode_team);
TIE(vocosc_decode_batch);
#if VOCOSC_STREAMS > 1
TIE(vocosc_decode_batch_int16);
#endif
TIE(vocosc_flush);
TIE(vocosc_flush_int16);
//% if config.codebooks
TIE(vocosc_decode_codes);
TIE(vocosc_decode_codes_int16);
TIE(vocosc_codes_to_features);
//% endif
TIE(vocosc_mel_init);
TIE(vocosc_mel_init_target);
TIE(vocosc_mel_reset);
TIE(vocosc_mel);
TIE(vocosc_mel_int16);
TIE(vocosc_mel_flush);
#endif
