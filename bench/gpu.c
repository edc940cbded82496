/*
 * Times a GPU build: rounds in which each of some streams decodes one chunk, then a wait. One JSON object on stdout.
 *
 * gpu CHUNK STREAMS WARMUP_MS RUNS MEMORY CACHE FLAGS
 *
 * Rounds are run for WARMUP_MS milliseconds, which clocks need to rise, and then RUNS are timed.
 *
 * MEMORY  device: mel and audio are in the GPU's memory. pinned: in page-locked memory of the host, which the kernels
 * read and write. host: there, too, but copied (vocosc_cuda_decode_host). CACHE   warm: rounds follow each other. cold:
 * before each one the GPU's caches are filled with something else. FLAGS   of vocosc_cuda_options, beside
 * VOCOSC_CUDA_ALLOCATE.
 *
 * Times in microseconds, of a round: wall_us from before the first call to after the wait, by the host's clock;
 * event_us between two events around the calls, by the GPU's, which see nothing of the resident kernel; queue_us what
 * the calls alone take the host. Exit code 77: no GPU.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gpu_driver.h"
#include "vocosc.h"
#include "vocosc_cuda.h"

enum { OTHER_BYTES = 256 << 20 }; /* more than any GPU's cache */

typedef struct {
  int chunk, streams, warmup, runs, flags;
  const char *memory, *cache;
} settings;

static vocosc_cuda cuda;
static gpu_stream queue;

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static void must(int status) {
  if (status >= 0) return;
  fprintf(stderr, "GPU: %s (CUresult %d)\n", vocosc_cuda_status_text(status), cuda.driver_code);
  exit(EXIT_FAILURE);
}

static void *allocate(size_t count, size_t bytes) {
  void *memory = calloc(count, bytes);
  if (memory != NULL) return memory;
  fprintf(stderr, "out of memory\n");
  exit(EXIT_FAILURE);
}

static int compare_doubles(const void *a, const void *b) {
  const double x = *(const double *)a;
  const double y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Prints a member that describes `count` values, which it sorts; percentiles are those of the next value above. */
static void print_values(const char *key, double *values, int count) {
  double sum = 0.0;
  for (int i = 0; i < count; i++) sum += values[i];
  qsort(values, (size_t)count, sizeof *values, compare_doubles);
  printf("  \"%s\": {\"median\": %.3f, \"mean\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f},\n", key,
         values[count / 2], sum / count, values[(int)(0.9 * count)], values[(int)(0.99 * count)], values[count - 1]);
}

/* Signal to noise, in dB, of the GPU's first audio of an utterance against the CPU's. */
static double snr_db(const settings *s, const vocosc_cuda_chunk *chunk, const float *mel, float *audio) {
  static vocosc_stream stream;
  static vocosc_scratch scratch;
  static float expected[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
  int samples = 0;
  const int on_host = strcmp(s->memory, "host") == 0;
  must(vocosc_init(&stream));
  must(vocosc_cuda_reset(&cuda, chunk->slot, queue));
  while (samples == 0) { /* a model that looks ahead gives none at first */
    samples = vocosc_decode(&stream, &scratch, mel, s->chunk, expected);
    must(samples);
    must((on_host ? vocosc_cuda_decode_host : vocosc_cuda_decode)(&cuda, chunk, 1, s->chunk, queue));
  }
  must(vocosc_cuda_wait(&cuda, queue));
  if (strcmp(s->memory, "device") == 0) {
    const gpu_address from = (gpu_address)(uintptr_t)chunk->audio;
    GPU(cuMemcpyDtoHAsync_v2(audio, from, sizeof(float) * (size_t)samples, queue));
  }
  GPU(cuStreamSynchronize(queue));
  double power = 0.0;
  double noise = 0.0;
  for (int i = 0; i < samples; i++) {
    const double difference = (double)audio[i] - (double)expected[i];
    power += (double)expected[i] * (double)expected[i];
    noise += difference * difference;
  }
  return fmin(300.0, 10.0 * log10(power / fmax(noise, 1e-300)));
}

/* Waits, with the caches as the settings want them, so that a round can begin. */
static void prepare_round(const settings *s, gpu_address other, int round) {
  if (strcmp(s->cache, "cold") == 0) GPU(cuMemsetD8Async(other, (unsigned char)round, OTHER_BYTES, queue));
  GPU(cuStreamSynchronize(queue));
}

static void queue_round(const settings *s, const vocosc_cuda_chunk *chunks) {
  const int on_host = strcmp(s->memory, "host") == 0;
  for (int first = 0; first < s->streams; first += VOCOSC_CUDA_BATCH) {
    const int left = s->streams - first;
    const int count = left < VOCOSC_CUDA_BATCH ? left : VOCOSC_CUDA_BATCH;
    must((on_host ? vocosc_cuda_decode_host : vocosc_cuda_decode)(&cuda, chunks + first, count, s->chunk, queue));
  }
}

static void measure(const settings *s, const vocosc_cuda_chunk *chunks, double init_ms, const float *mel,
                    float *audio) {
  const gpu_address other = strcmp(s->cache, "cold") == 0 ? gpu_allocate(OTHER_BYTES) : 0;
  double *wall = allocate((size_t)s->runs, sizeof *wall);
  double *queued = allocate((size_t)s->runs, sizeof *queued);
  double *between = allocate((size_t)s->runs, sizeof *between);
  double first_us = 0.0;
  gpu_event before;
  gpu_event after;
  GPU(cuEventCreate(&before, 0));
  GPU(cuEventCreate(&after, 0));
  const double warm = now_us() + 1e3 * s->warmup;
  for (int i = -1; i < s->runs;) {
    prepare_round(s, other, i);
    const double start = now_us();
    queue_round(s, chunks);
    const double middle = now_us();
    must(vocosc_cuda_wait(&cuda, queue));
    const double end = now_us();
    /* Events take time, too: another round has them. */
    prepare_round(s, other, i);
    GPU(cuEventRecord(before, queue));
    queue_round(s, chunks);
    GPU(cuEventRecord(after, queue));
    must(vocosc_cuda_wait(&cuda, queue));
    GPU(cuStreamSynchronize(queue)); /* the resident kernel is none of its work */
    if (first_us == 0.0) first_us = end - start;
    if (i < 0) {
      if (end >= warm) i = 0;
      continue;
    }
    float milliseconds;
    GPU(cuEventElapsedTime(&milliseconds, before, after));
    wall[i] = end - start;
    queued[i] = middle - start;
    between[i++] = (double)milliseconds * 1e3;
  }
  const int launches = cuda.uses_resident                        ? 0
                       : cuda.uses_single_kernel                 ? 1
                       : cuda.uses_libraries || cuda.uses_tensor ? VOCOSC_CUDA_LIBRARY_STEPS
                                                                 : VOCOSC_CUDA_LAUNCHES;
  char name[128] = "";
  GPU(cuDeviceGetName(name, sizeof name - 1, 0));
  printf("{\n  \"chip\": \"%s\", \"driver_version\": %d, \"multiprocessors\": %d,\n", name, cuda.driver_version,
         cuda.multiprocessors);
  printf("  \"architecture\": %d, \"image_architecture\": %d, \"image_is_ptx\": %d,\n", cuda.architecture,
         cuda.image_architecture, cuda.image_is_ptx);
  printf(
      "  \"graph\": %d, \"overlap\": %d, \"single_kernel\": %d, \"libraries\": %d, \"tensor\": %d,\n  \"resident\": "
      "%d, \"launches\": %d,\n",
      cuda.uses_graph, cuda.uses_overlap, cuda.uses_single_kernel, cuda.uses_libraries, cuda.uses_tensor,
      cuda.uses_resident, launches);
  printf("  \"batch\": %d, \"precision\": \"%s\",\n", VOCOSC_CUDA_BATCH, VOCOSC_PRECISION);
  printf("  \"chunk\": %d, \"streams\": %d, \"memory\": \"%s\", \"cache\": \"%s\", \"warmup_ms\": %d, \"runs\": %d,\n",
         s->chunk, s->streams, s->memory, s->cache, s->warmup, s->runs);
  printf("  \"chunk_ms\": %.3f, \"init_ms\": %.3f, \"first_us\": %.3f,\n",
         (double)s->chunk * VOCOSC_HOP * 1e3 / VOCOSC_SAMPLE_RATE, init_ms, first_us);
  print_values("wall_us", wall, s->runs);
  print_values("event_us", between, s->runs);
  print_values("queue_us", queued, s->runs);
  printf("  \"snr_db\": %.1f\n}\n", snr_db(s, chunks, mel, audio));
}

/* Of the host's, page-locked. */
static float *pinned(size_t floats) {
  void *memory;
  GPU(cuMemHostAlloc(&memory, sizeof(float) * floats, 0));
  return memory;
}

static int run(const settings *s) {
  const size_t mel_floats = (size_t)s->chunk * VOCOSC_MELS;
  const size_t audio_floats = (size_t)s->chunk * VOCOSC_HOP;
  const int on_device = strcmp(s->memory, "device") == 0;
  if (!gpu_open()) return NO_GPU;
  GPU(cuStreamCreate(&queue, 1));
  const vocosc_cuda_options options = {.flags = VOCOSC_CUDA_ALLOCATE | s->flags,
                                       .slots = s->streams,
                                       .table = allocate((size_t)s->streams, sizeof(vocosc_cuda_slot)),
                                       .symbol = gpu_symbol_finder()};
  const double start = now_us();
  must(vocosc_cuda_init(&cuda, &options));
  const double init_ms = (now_us() - start) * 1e-3;

  float *mel = pinned(mel_floats * (size_t)s->streams);
  float *audio = pinned(audio_floats * (size_t)s->streams);
  uint32_t seed = 1;
  for (size_t i = 0; i < mel_floats * (size_t)s->streams; i++) {
    seed = seed * 1664525u + 1013904223u;
    mel[i] = (float)(seed >> 8) * (10.0f / 16777216.0f) - 9.0f;
  }
  const float *from = mel;
  float *to = audio;
  if (on_device) {
    const size_t bytes = sizeof(float) * mel_floats * (size_t)s->streams;
    const gpu_address address = gpu_allocate(bytes);
    GPU(cuMemcpyHtoDAsync_v2(address, mel, bytes, queue));
    from = (const float *)(uintptr_t)address;
    to = (float *)(uintptr_t)gpu_allocate(sizeof(float) * audio_floats * (size_t)s->streams);
  }
  vocosc_cuda_chunk *chunks = allocate((size_t)s->streams, sizeof *chunks);
  for (int i = 0; i < s->streams; i++) {
    chunks[i] = (vocosc_cuda_chunk){i, from + mel_floats * (size_t)i, to + audio_floats * (size_t)i};
    must(vocosc_cuda_bind(&cuda, i, queue));
  }
  measure(s, chunks, init_ms, mel, audio);
  must(vocosc_cuda_close(&cuda));
  return EXIT_SUCCESS;
}

static int is_one_of(const char *word, const char *a, const char *b, const char *c) {
  return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

int main(int count, char **arguments) {
  settings s = {0};
  if (count == 8) {
    s = (settings){.chunk = atoi(arguments[1]),
                   .streams = atoi(arguments[2]),
                   .warmup = atoi(arguments[3]),
                   .runs = atoi(arguments[4]),
                   .flags = atoi(arguments[7]),
                   .memory = arguments[5],
                   .cache = arguments[6]};
  }
  if (s.chunk < 1 || s.chunk > VOCOSC_MAX_FRAMES || s.streams < 1 || s.warmup < 0 || s.runs < 1 ||
      !is_one_of(s.memory, "device", "pinned", "host") || !is_one_of(s.cache, "warm", "cold", "cold")) {
    fprintf(stderr, "usage: gpu CHUNK STREAMS WARMUP_MS RUNS device|pinned|host warm|cold FLAGS\n");
    return 2;
  }
  return run(&s);
}
