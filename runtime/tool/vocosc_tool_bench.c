/*
 * The command `bench`: decodes an utterance chunk by chunk, as it would arrive, again and again.
 *
 * Keys and meanings are those of the reference's harness. The time of a chunk is that of its call; the first chunk of a
 * run finds the stream just reset; latency is the time to gather a chunk's frames, and those that the model looks
 * ahead, plus the time to decode them; total is the sum over one utterance, and, where it writes audio of its own, over
 * the flush; RTF is the total over the audio's duration. With several streams a call decodes a chunk of each, all of
 * the same utterance: its time is that of all of them, and so is the total (at an RTF of 1 every stream keeps up);
 * p50_per_chunk_per_stream_ms is the median call's over the streams.
 */
#include <stdlib.h>

#include "vocosc_tool.h"
#include "vocosc_tool_decoder.h"
#include "vocosc_tool_files.h"

enum { DEFAULT_FRAMES = 162 };

static tool_decoder decoder;
static float audio[VOCOSC_MAX_ROWS * VOCOSC_HOP]; /* of all streams, one after the other */
static float tail[VOCOSC_TAIL + 1];

typedef struct {
  const float *mel;
  int frames;
  vocosc_stream *streams;
  vocosc_job *jobs; /* one for each stream */
  int chunks;       /* per utterance */
  double *chunk_ms; /* [runs][chunks] */
  double *total_ms; /* [runs] */
  double *flush_ms; /* [runs] */
} benchmark;

/* An utterance of a fixed sequence of values between -11 and 2, like log-mel. The caller frees it. */
static float *noise_mel(int frames) {
  const size_t count = (size_t)frames * VOCOSC_MELS;
  float *mel = malloc(count * sizeof *mel);
  uint32_t state = 1;
  for (size_t i = 0; mel != NULL && i < count; i++) {
    state = state * 1664525u + 1013904223u;
    mel[i] = (float)(state >> 8) * (13.0f / 16777216.0f) - 11.0f;
  }
  return mel;
}

/* Flushes each stream, where that is part of decoding. */
static bool flush_all(const benchmark *bench, const command_options *options) {
  for (int i = 0; VOCOSC_COUNTS_FRAMES && i < options->streams; i++) {
    vocosc_stream *stream = &bench->streams[i];
    const int samples =
        options->streams == 1 ? decoder_flush(&decoder, tail) : decoder_flush_stream(&decoder, stream, tail);
    if (samples < 0) return false;
  }
  return true;
}

/* Decodes one utterance from silence, that of run `run`, and adds up its time. */
static bool run_once(const benchmark *bench, const command_options *options, size_t run) {
  double *chunk_ms = bench->chunk_ms + run * (size_t)bench->chunks;
  double *total_ms = bench->total_ms + run;
  if (!decoder_reset(&decoder)) return false;
  for (int i = 0; i < options->streams; i++) bench->streams[i] = decoder.stream;
  *total_ms = 0.0;
  for (int i = 0; i < bench->chunks; i++) {
    const int first = i * options->chunk;
    const int frames = bench->frames - first < options->chunk ? bench->frames - first : options->chunk;
    for (int j = 0; j < options->streams; j++) {
      bench->jobs[j].stream = &bench->streams[j];
      bench->jobs[j].mel = bench->mel + (size_t)first * VOCOSC_MELS;
      bench->jobs[j].audio = audio + (size_t)j * (size_t)frames * VOCOSC_HOP;
    }
    const double start = now_ms();
    const bool ok = (options->streams == 1 ? decoder_run(&decoder, bench->jobs->mel, frames, audio)
                                           : decoder_run_batch(&decoder, bench->jobs, options->streams, frames)) >= 0;
    if (!ok) return false;
    chunk_ms[i] = now_ms() - start;
    *total_ms += chunk_ms[i];
  }
  const double start = now_ms();
  if (!flush_all(bench, options)) return false;
  bench->flush_ms[run] = VOCOSC_COUNTS_FRAMES * (now_ms() - start); /* a causal model's is a copy */
  *total_ms += bench->flush_ms[run];
  return true;
}

/* Runs until there are enough, or time is up, but one at least. What was done replaces what was asked for. */
static bool run_all(const benchmark *bench, command_options *options) {
  const int64_t all = (int64_t)options->warmup + options->runs;
  const double most_ms = options->seconds == 0 ? 1e18 : 1e3 * options->seconds;
  const double start = now_ms();
  int warm = 0;
  for (; warm < options->warmup && now_ms() - start < most_ms / 10.0; warm++) {
    if (!run_once(bench, options, 0)) return false;
    progress_show(warm + 1, all, "runs");
  }
  int runs = 0;
  for (; runs < options->runs && (runs == 0 || now_ms() - start < most_ms); runs++) {
    if (!run_once(bench, options, (size_t)runs)) return false;
    progress_show((int64_t)options->warmup + runs + 1, all, "runs");
  }
  options->warmup = warm;
  options->runs = runs;
  progress_clear();
  return true;
}

static double mean(const double *values, size_t count, size_t stride) {
  double sum = 0.0;
  for (size_t i = 0; i < count; i++) sum += values[i * stride];
  return sum / (double)count;
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a;
  const double y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Interpolates between the neighbours, as numpy.percentile does. */
static double percentile(const double *sorted, size_t count, double percent) {
  const double rank = percent / 100.0 * (double)(count - 1);
  const size_t below = (size_t)rank;
  const size_t above = below + 1 < count ? below + 1 : below;
  return sorted[below] + (sorted[above] - sorted[below]) * (rank - (double)below);
}

static bool report(const benchmark *bench, const command_options *options) {
  const size_t runs = (size_t)options->runs;
  const size_t calls = runs * (size_t)bench->chunks;
  const double audio_seconds = (double)bench->frames * VOCOSC_HOP / VOCOSC_SAMPLE_RATE;
  const int gathered = options->chunk < bench->frames ? options->chunk : bench->frames;
  const double gathering_ms =
      (double)(gathered + VOCOSC_LATENCY_LOOKAHEAD_FRAMES) * VOCOSC_HOP * 1e3 / VOCOSC_SAMPLE_RATE;
  const double chunk_ms = mean(bench->chunk_ms, calls, 1);
  const double first_ms = mean(bench->chunk_ms, runs, (size_t)bench->chunks);
  const double total_ms = mean(bench->total_ms, runs, 1);
  qsort(bench->chunk_ms, calls, sizeof(double), compare_doubles);
  qsort(bench->total_ms, runs, sizeof(double), compare_doubles);

  report_begin(options->json);
  report_count("chunk_frames", options->chunk);
  report_count("threads", options->threads);
  report_count("streams", options->streams);
  report_text("target", decoder_target(options));
  report_count("frames", bench->frames);
  report_number("audio_seconds", audio_seconds);
  report_count("warmup", options->warmup);
  report_count("runs", options->runs);
  report_number("avg_proc_per_chunk_ms", chunk_ms);
  report_number("avg_first_chunk_proc_ms", first_ms);
  report_number("avg_latency_ms", gathering_ms + chunk_ms);
  report_number("first_chunk_latency_ms", gathering_ms + first_ms);
#if VOCOSC_COUNTS_FRAMES
  report_number("avg_flush_ms", mean(bench->flush_ms, runs, 1));
#endif
  report_number("avg_total_processing_time_ms", total_ms);
  report_number("avg_rtf", total_ms / (audio_seconds * 1e3));
  report_number("p50_total_ms", percentile(bench->total_ms, runs, 50.0));
  report_number("p90_total_ms", percentile(bench->total_ms, runs, 90.0));
  report_number("p99_total_ms", percentile(bench->total_ms, runs, 99.0));
  report_number("p50_per_chunk_ms", percentile(bench->chunk_ms, calls, 50.0));
  report_number("p50_per_chunk_per_stream_ms", percentile(bench->chunk_ms, calls, 50.0) / options->streams);
  report_number("p99_per_chunk_ms", percentile(bench->chunk_ms, calls, 99.0));
  report_number("max_per_chunk_ms", bench->chunk_ms[calls - 1]);
  return report_end();
}

static bool measure(const command_options *options, const float *mel, int frames) {
  benchmark bench = {.mel = mel, .frames = frames, .chunks = (frames + options->chunk - 1) / options->chunk};
  const size_t runs = (size_t)options->runs;
  const size_t streams = (size_t)options->streams;
  /* calloc refuses sizes that overflow. */
  bench.streams = calloc(streams, sizeof *bench.streams);
  bench.jobs = calloc(streams, sizeof *bench.jobs);
  bench.chunk_ms = calloc(runs, (size_t)bench.chunks * sizeof(double));
  bench.total_ms = calloc(runs, sizeof(double));
  bench.flush_ms = calloc(runs, sizeof(double));
  const bool enough = bench.streams != NULL && bench.jobs != NULL && bench.chunk_ms != NULL && bench.total_ms != NULL &&
                      bench.flush_ms != NULL;
  command_options done = *options;
  const bool ok = enough ? run_all(&bench, &done) && report(&bench, &done)
                         : fail("bench", "not enough memory (give fewer --runs, --frames or --streams)");
  free(bench.streams);
  free(bench.jobs);
  free(bench.chunk_ms);
  free(bench.total_ms);
  free(bench.flush_ms);
  return ok;
}

/* Of the file, or of an utterance that is made up. */
static bool measure_frames(const command_options *options) {
  static mel_reader in;
  bool ok = true;
  if (options->mel != NULL) {
    ok = mel_open(&in, options->mel);
  } else {
    in.frames = options->frames == 0 ? DEFAULT_FRAMES : options->frames;
    in.matrix = noise_mel((int)in.frames);
    ok = in.matrix != NULL || fail_errno("bench", "cannot make an utterance");
  }
  if (ok) {
    const int frames = options->frames > 0 ? options->frames : in.frames < MOST_FRAMES ? (int)in.frames : MOST_FRAMES;
    ok = frames <= in.frames
             ? measure(options, in.matrix, frames)
             : fail(options->mel, "has %lld frames, fewer than --frames %d", (long long)in.frames, frames);
  }
  mel_close(&in);
  return ok;
}

int vocosc_tool_bench(const command_options *options) {
  if (!decoder_start(&decoder, options)) return EXIT_FAILURE;
  const bool ok = measure_frames(options);
  decoder_stop(&decoder);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
