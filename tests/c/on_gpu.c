/*
 * The GPU's audio against the CPU's of the same object, as `make test-gpu` runs it, and compute-sanitizer:
 * on_gpu BAR_DB REPEATS. And what a real GPU alone can show, a full memory and a fault: on_gpu BAR_DB faults.
 * Of a build with --link libs, cuBLAS and cuFFT alone: on_gpu BAR_DB libraries. The resident kernel alone: on_gpu
 * BAR_DB resident. It prints a line a check. Exit codes: 0, 1 after a failure, 77 without a GPU.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_driver.h"
#include "vocosc.h"
#include "vocosc_cuda.h"

enum { STREAMS = VOCOSC_CUDA_BATCH + 2, FRAMES = 2 * VOCOSC_MAX_FRAMES + 3, SAMPLES = FRAMES * VOCOSC_HOP };
enum { SLOTS = STREAMS + 1, CAPTURE_THREAD_LOCAL = 1 };

typedef float utterance[SAMPLES + VOCOSC_TAIL];

static vocosc_cuda cuda;
static vocosc_cuda_slot slots[SLOTS];
static vocosc_stream stream;
static vocosc_scratch scratch;
static float mel[STREAMS][FRAMES * VOCOSC_MELS];
static utterance expected[STREAMS];
static utterance audio[STREAMS];
static int samples_at[FRAMES + 1];     /* that are out after so many frames */
static int total;                      /* samples of an utterance */
static utterance first_audio[STREAMS]; /* of the first way of decoding: all others must give the same bits */
static gpu_address device_mel;
static gpu_address device_audio;
static gpu_stream queue;
static double bar_db;
static int failures;

static void result(int good, const char *what, const char *measured) {
  printf("%s %s%s%s\n", good ? "ok  " : "FAIL", what, measured[0] != '\0' ? ": " : "", measured);
  fflush(stdout);
  failures += !good;
}

static void must(int status, const char *what) {
  if (status >= 0) return;
  printf("FAIL %s: %s (CUresult %d)\n", what, vocosc_cuda_status_text(status), cuda.driver_code);
  exit(EXIT_FAILURE);
}

/* Signal to noise in dB; 300 if there is no noise, -300 if a sample is NaN. */
static double snr_db(const float *wanted, const float *got, int samples) {
  double power = 0.0;
  double noise = 0.0;
  for (int i = 0; i < samples; i++) {
    const double difference = (double)wanted[i] - (double)got[i];
    power += (double)wanted[i] * (double)wanted[i];
    noise += difference * difference;
  }
  if (!(noise >= 0.0) || isinf(noise)) return -300.0;
  return noise == 0.0 ? 300.0 : 10.0 * log10(power / noise);
}

/* The least distance of all streams' audio from what is wanted, in dB. */
static double worst_db(const utterance *wanted) {
  double worst = 300.0;
  for (int s = 0; s < STREAMS; s++) worst = fmin(worst, snr_db(wanted[s], audio[s], total));
  return worst;
}

/* Compares all streams with the CPU's audio, and with the bits of the first comparison. */
static void compare(const char *what) {
  static int is_first = 1;
  const double worst = worst_db(expected);
  char text[64];
  if (is_first) memcpy(first_audio, audio, sizeof audio);
  const int same = memcmp(first_audio, audio, sizeof audio) == 0;
  snprintf(text, sizeof text, "%.1f dB%s", worst, same ? "" : ", other bits than the first");
  result(worst >= bar_db && same, what, text);
  is_first = 0;
}

static void make_utterances(void) {
  uint32_t seed = 1;
  for (int s = 0; s < STREAMS; s++) {
    for (int i = 0; i < FRAMES * VOCOSC_MELS; i++) {
      seed = seed * 1664525u + 1013904223u;
      mel[s][i] = (float)(seed >> 8) * (10.0f / 16777216.0f) - 9.0f;
    }
    must(vocosc_init(&stream), "init");
    for (int first = 0; first < FRAMES; first += VOCOSC_MAX_FRAMES) {
      const int frames = FRAMES - first < VOCOSC_MAX_FRAMES ? FRAMES - first : VOCOSC_MAX_FRAMES;
      for (int i = 1; i <= frames; i++) {
#if VOCOSC_COUNTS_FRAMES
        samples_at[first + i] = samples_at[first] + vocosc_decode_samples(&stream, i);
#else
        samples_at[first + i] = (first + i) * VOCOSC_HOP;
#endif
      }
      must(vocosc_decode(&stream, &scratch, mel[s] + first * VOCOSC_MELS, frames, expected[s] + samples_at[first]),
           "decode on the CPU");
    }
#if VOCOSC_LATENCY_LOOKAHEAD_FRAMES > 0
    const int rest = vocosc_flush(&stream, &scratch, expected[s] + samples_at[FRAMES]);
#else
    const int rest = vocosc_flush(&stream, expected[s] + samples_at[FRAMES]);
#endif
    must(rest, "flush on the CPU");
    total = samples_at[FRAMES] + rest;
  }
}

/* ---- ways of decoding ---- */

static const float *mel_at(int on_host, int s, int frame) {
  if (on_host) return mel[s] + frame * VOCOSC_MELS;
  return (const float *)(uintptr_t)(device_mel + sizeof(float) * (size_t)(s * FRAMES + frame) * VOCOSC_MELS);
}

static float *audio_at(int on_host, int s, int sample) {
  if (on_host) return audio[s] + sample;
  return (float *)(uintptr_t)(device_audio + sizeof(utterance) * (size_t)s + sizeof(float) * (size_t)sample);
}

static void start(int flags) {
  const vocosc_cuda_options options = {
      .flags = VOCOSC_CUDA_ALLOCATE | flags, .slots = SLOTS, .table = slots, .symbol = gpu_symbol_finder()};
  const int status = vocosc_cuda_init(&cuda, &options);
  must(status, "init");
  for (int s = 0; s < STREAMS; s++) must(vocosc_cuda_bind(&cuda, SLOTS - 1 - s, queue), "bind");
}

static void stop(void) { must(vocosc_cuda_close(&cuda), "close"); }

/* Queues frames first .. last - 1 of all streams, `batch` at a time, in chunks of `size`; slots run against streams. */
static void queue_part(int on_host, int first, int last, int size, int batch) {
  for (int frame = first; frame < last; frame += size) {
    const int frames = last - frame < size ? last - frame : size;
    for (int s = 0; s < STREAMS; s += batch) {
      vocosc_cuda_chunk chunks[VOCOSC_CUDA_BATCH];
      const int count = STREAMS - s < batch ? STREAMS - s : batch;
      for (int i = 0; i < count; i++) {
        chunks[i].slot = SLOTS - 1 - (s + i);
        chunks[i].mel = mel_at(on_host, s + i, frame);
        chunks[i].audio = audio_at(on_host, s + i, samples_at[frame]);
      }
      const int samples = (on_host ? vocosc_cuda_decode_host : vocosc_cuda_decode)(&cuda, chunks, count, frames, queue);
      must(samples, "decode");
      if (samples != samples_at[frame + frames] - samples_at[frame]) result(0, "the number of samples", "");
    }
  }
}

static void queue_tails(int on_host, int batch) {
  for (int s = 0; s < STREAMS; s += batch) {
    vocosc_cuda_chunk chunks[VOCOSC_CUDA_BATCH];
    const int count = STREAMS - s < batch ? STREAMS - s : batch;
    for (int i = 0; i < count; i++) {
      chunks[i] = (vocosc_cuda_chunk){SLOTS - 1 - (s + i), NULL, audio_at(on_host, s + i, samples_at[FRAMES])};
    }
    const int samples = (on_host ? vocosc_cuda_flush_host : vocosc_cuda_flush)(&cuda, chunks, count, queue);
    must(samples, "flush");
    if (samples != total - samples_at[FRAMES]) result(0, "the number of samples of a flush", "");
  }
}

static void finish(int on_host) {
  if (cuda.uses_resident) must(vocosc_cuda_wait(&cuda, queue), "wait"); /* decodes are not in the stream's order */
  if (!on_host) GPU(cuMemcpyDtoHAsync_v2(audio, device_audio, sizeof audio, queue));
  must(vocosc_cuda_wait(&cuda, queue), "wait");
}

static void clear(int on_host) {
  memset(audio, 0xff, sizeof audio); /* NaN */
  if (!on_host) GPU(cuMemsetD8Async(device_audio, 0xff, sizeof audio, queue));
  if (!on_host && cuda.uses_resident) GPU(cuStreamSynchronize(queue));
}

static void decode_all(int on_host, int size, int batch) {
  clear(on_host);
  queue_part(on_host, 0, FRAMES, size, batch);
  queue_tails(on_host, batch);
  finish(on_host);
}

/* ---- checks ---- */

static void check_chunks_and_batches(int flags) {
  const char *way = flags == VOCOSC_CUDA_RESIDENT        ? ", the resident kernel"
                    : flags == VOCOSC_CUDA_SINGLE_KERNEL ? ", the single kernel"
                                                         : "";
  char what[96];
  start(flags);
  for (int size = 1; size <= VOCOSC_MAX_FRAMES; size++) {
    for (int batch = 1; batch <= VOCOSC_CUDA_BATCH;
         batch = batch * 2 > VOCOSC_CUDA_BATCH && batch < VOCOSC_CUDA_BATCH ? VOCOSC_CUDA_BATCH : batch * 2) {
      decode_all(0, size, batch);
      snprintf(what, sizeof what, "chunks of %d, %d streams at a time%s", size, batch, way);
      compare(what);
    }
    for (int all = 0; all <= (VOCOSC_CUDA_BATCH > 1); all++) { /* copies of each stream, or one of all */
      decode_all(1, size, all ? VOCOSC_CUDA_BATCH : 1);
      snprintf(what, sizeof what, "chunks of %d, host memory%s", size, way);
      compare(what);
    }
  }
  stop();
}

/* The resident kernel, where it is built in: streams in turns, resets and snapshots between, and an end at any time. */
static void check_resident(void) {
#if VOCOSC_CUDA_HAS_RESIDENT
  unsigned char *state = malloc(VOCOSC_CUDA_STATE_BYTES);
  check_chunks_and_batches(VOCOSC_CUDA_RESIDENT);
  start(VOCOSC_CUDA_RESIDENT);
  for (int on_host = 0; on_host <= 1; on_host++) {
    clear(on_host);
    queue_part(on_host, 0, VOCOSC_MAX_FRAMES, 1, 1);
    must(vocosc_cuda_save(&cuda, SLOTS - 1, state, queue), "save");
    queue_part(on_host, VOCOSC_MAX_FRAMES, FRAMES, VOCOSC_MAX_FRAMES, 1);
    queue_tails(on_host, 1);
    finish(on_host);
    compare("streams in turns, the resident kernel");
  }
  must(vocosc_cuda_restore(&cuda, SLOTS - 1, state, queue), "restore");
  queue_part(1, VOCOSC_MAX_FRAMES, VOCOSC_MAX_FRAMES + 1, 1, 1); /* that runs when it is closed */
  stop();
  start(VOCOSC_CUDA_RESIDENT);
  GPU(cuStreamBeginCapture_v2(queue, CAPTURE_THREAD_LOCAL));
  struct CUgraph_st *graph;
  const vocosc_cuda_chunk chunk = {SLOTS - 1, mel_at(0, 0, 0), audio_at(0, 0, 0)};
  const int status = vocosc_cuda_decode(&cuda, &chunk, 1, 1, queue);
  GPU(cuStreamEndCapture(queue, &graph));
  result(status == VOCOSC_BAD_ARGUMENT, "the resident kernel cannot be captured", vocosc_cuda_status_text(status));
  stop();
  free(state);
#endif
}

static void check_modes(void) {
  for (int flags = VOCOSC_CUDA_NO_GRAPH; flags <= (VOCOSC_CUDA_NO_GRAPH | VOCOSC_CUDA_NO_OVERLAP); flags += 2) {
    char what[64];
    start(flags);
    decode_all(0, VOCOSC_MAX_FRAMES, VOCOSC_CUDA_BATCH);
    snprintf(what, sizeof what, "%s, %s", cuda.uses_graph ? "graph" : "single launches",
             cuda.uses_overlap ? "overlap" : "no overlap");
    compare(what);
    stop();
  }
}

/* The first kernel's parameter is replaced at each call, while calls before may still run. */
static void check_one_graph(void) {
  start(VOCOSC_CUDA_ONE_GRAPH);
  for (int size = 1; size <= VOCOSC_MAX_FRAMES; size += VOCOSC_MAX_FRAMES - 1 > 0 ? VOCOSC_MAX_FRAMES - 1 : 1) {
    decode_all(0, size, VOCOSC_CUDA_BATCH);
    compare(cuda.uses_graph == 2 ? "one graph" : "NO one graph");
  }
  stop();
}

/* By tensor cores, where they are built in: near the CPU's audio, and the same bits for every chunk and batch. */
static void check_tensor(void) {
#if VOCOSC_CUDA_LIBRARY_STEPS > 0 && !VOCOSC_CUDA_HAS_LIBRARIES
  static utterance first[STREAMS];
  for (int flags = 0; flags <= VOCOSC_CUDA_NO_GRAPH; flags += VOCOSC_CUDA_NO_GRAPH) {
    start(VOCOSC_CUDA_TENSOR | flags);
    for (int size = 1; size <= VOCOSC_MAX_FRAMES; size++) {
      char text[96];
      decode_all(size % 2, size, 1 + size % VOCOSC_CUDA_BATCH);
      if (flags == 0 && size == 1) memcpy(first, audio, sizeof audio);
      const int same = memcmp(first, audio, sizeof audio) == 0;
      const double cpu = worst_db(expected);
      snprintf(text, sizeof text, "%.1f dB from the CPU%s", cpu, same ? "" : ", other bits than the first");
      result(cuda.uses_tensor && same && cpu >= bar_db, "tensor cores", text);
    }
    stop();
  }
#endif
}

/* By cuBLAS and cuFFT, where they are built in: near the CPU's audio, and near that of our kernels. */
static void check_libraries(void) {
#if VOCOSC_CUDA_HAS_LIBRARIES
  start(0);
  decode_all(0, VOCOSC_MAX_FRAMES, VOCOSC_CUDA_BATCH);
  compare("our kernels");
  stop();
  start(VOCOSC_CUDA_LIBRARIES);
  for (int size = 1; size <= VOCOSC_MAX_FRAMES; size++) {
    char text[96];
    decode_all(size % 2, size, 1 + size % VOCOSC_CUDA_BATCH);
    const double cpu = worst_db(expected);
    const double kernels = worst_db(first_audio);
    snprintf(text, sizeof text, "%.1f dB from the CPU, %.1f from our kernels", cpu, kernels);
    result(cuda.uses_libraries && cpu >= bar_db && kernels >= bar_db, "cuBLAS and cuFFT", text);
  }
  stop();
#endif
}

/* A race would show now and then. */
static void check_again_and_again(int flags, int repeats) {
  int same = 1;
  start(flags);
  for (int i = 0; i < repeats; i++) {
    decode_all(0, 1 + i % VOCOSC_MAX_FRAMES, VOCOSC_CUDA_BATCH);
    same &= memcmp(first_audio, audio, sizeof audio) == 0;
  }
  result(same, "the same bits again and again", "");
  stop();
}

static void check_snapshot(void) {
  const size_t samples = (size_t)samples_at[2 * VOCOSC_MAX_FRAMES];
  unsigned char *state = malloc(VOCOSC_CUDA_STATE_BYTES);
  start(0);
  clear(1);
  queue_part(1, 0, VOCOSC_MAX_FRAMES, VOCOSC_MAX_FRAMES, 1);
  must(vocosc_cuda_save(&cuda, SLOTS - 1, state, queue), "save");
  finish(1);
  must(vocosc_cuda_bind(&cuda, 0, queue), "bind");
  must(vocosc_cuda_restore(&cuda, 0, state, queue), "restore");
  const vocosc_cuda_chunk chunk = {0, mel[0] + VOCOSC_MAX_FRAMES * VOCOSC_MELS,
                                   audio[0] + samples_at[VOCOSC_MAX_FRAMES]};
  must(vocosc_cuda_decode_host(&cuda, &chunk, 1, VOCOSC_MAX_FRAMES, queue), "decode");
  finish(1);
  result(memcmp(audio[0], first_audio[0], samples * sizeof(float)) == 0, "a snapshot in another slot", "");
  stop();
  free(state);
}

/* What one stream is fed concerns no other, nor itself after a reset. */
static void check_not_a_number(void) {
  static float bad[VOCOSC_MELS];
  static float silence[VOCOSC_HOP];
  gpu_address bad_mel = gpu_allocate(sizeof bad);
  start(0);
  memset(bad, 0xff, sizeof bad);
  GPU(cuMemcpyHtoDAsync_v2(bad_mel, bad, sizeof bad, queue));
  const vocosc_cuda_chunk chunk = {SLOTS - 1, (const float *)(uintptr_t)bad_mel, audio_at(0, 0, 0)};
  const int samples = vocosc_cuda_decode(&cuda, &chunk, 1, 1, queue);
  must(samples, "decode");
  GPU(cuMemcpyDtoHAsync_v2(silence, device_audio, sizeof silence, queue));
  must(vocosc_cuda_wait(&cuda, queue), "wait");
  int finite = 1;
  for (int i = 0; i < samples; i++) finite &= isfinite(silence[i]) != 0;
  result(finite, "mel that is NaN gives finite audio", "");
  must(vocosc_cuda_reset(&cuda, SLOTS - 1, queue), "reset");
  decode_all(0, VOCOSC_MAX_FRAMES, VOCOSC_CUDA_BATCH);
  compare("after mel that was NaN, and a reset");
  stop();
  GPU(cuMemFree_v2(bad_mel));
}

static void check_capture(int flags) {
  struct CUgraph_st *graph = NULL;
  struct CUgraphExec_st *exec = NULL;
  start(flags);
  clear(0);
  GPU(cuStreamSynchronize(queue));
  GPU(cuStreamBeginCapture_v2(queue, CAPTURE_THREAD_LOCAL));
  queue_part(0, 0, FRAMES, VOCOSC_MAX_FRAMES, VOCOSC_CUDA_BATCH);
  queue_tails(0, VOCOSC_CUDA_BATCH);
  GPU(cuStreamEndCapture(queue, &graph));
  GPU(cuGraphInstantiateWithFlags(&exec, graph, 0));
  GPU(cuGraphLaunch(exec, queue));
  GPU(cuGraphLaunch(exec, queue)); /* the tails have reset the slots */
  finish(0);
  compare("captured in a graph of the caller's");
  stop();
}

/* ---- what only a real GPU does ---- */

static void check_no_memory(void) {
  static gpu_address taken[64];
  const vocosc_cuda_options options = {.flags = VOCOSC_CUDA_ALLOCATE, .slots = SLOTS, .table = slots};
  int blocks = 0;
  for (size_t bytes = (size_t)1 << 40; bytes >= VOCOSC_CUDA_MEMORY_BYTES(SLOTS) / 4; bytes /= 2) {
    while (blocks < 64 && gpu.cuMemAlloc_v2(&taken[blocks], bytes) == 0) blocks++;
  }
  const int status = vocosc_cuda_init(&cuda, &options);
  result(status == VOCOSC_CUDA_NO_MEMORY, "a full memory", vocosc_cuda_status_text(status));
  while (blocks > 0) GPU(cuMemFree_v2(taken[--blocks]));
}

static void check_fault(void) {
  start(VOCOSC_CUDA_HAS_RESIDENT ? VOCOSC_CUDA_RESIDENT : 0);
  const vocosc_cuda_chunk chunk = {SLOTS - 1, (const float *)(uintptr_t)4096, audio_at(0, 0, 0)}; /* nobody's address */
  const int queued = vocosc_cuda_decode(&cuda, &chunk, 1, 1, queue);
  result(queued >= 0, "a bad address is queued", "");
  const int status = vocosc_cuda_wait(&cuda, queue);
  result(status == VOCOSC_CUDA_LOST, "and loses the context", vocosc_cuda_status_text(status));
  result(vocosc_cuda_decode(&cuda, &chunk, 1, 1, queue) == VOCOSC_CUDA_LOST, "for good", "");
  result(vocosc_cuda_close(&cuda) == VOCOSC_OK, "it can be closed", "");
  memcpy(first_audio, expected, sizeof expected);
  make_utterances();
  result(memcmp(first_audio, expected, sizeof expected) == 0, "the CPU goes on, bit for bit", "");
}

int main(int count, char **arguments) {
  if (count != 3) {
    fprintf(stderr, "usage: on_gpu BAR_DB REPEATS|faults|libraries|resident\n");
    return 2;
  }
  bar_db = strtod(arguments[1], NULL);
  if (!gpu_open()) return NO_GPU;
  GPU(cuStreamCreate(&queue, 1));
  make_utterances();
  device_mel = gpu_allocate(sizeof mel);
  device_audio = gpu_allocate(sizeof audio);
  GPU(cuMemcpyHtoDAsync_v2(device_mel, mel, sizeof mel, queue));
  GPU(cuStreamSynchronize(queue));
  if (strcmp(arguments[2], "faults") == 0) {
    check_no_memory();
    check_fault();
  } else if (strcmp(arguments[2], "libraries") == 0) {
    check_libraries();
  } else if (strcmp(arguments[2], "resident") == 0) {
    start(0);
    decode_all(0, VOCOSC_MAX_FRAMES, VOCOSC_CUDA_BATCH);
    compare("the graph");
    stop();
    check_resident();
  } else {
    for (int flags = 0; flags <= VOCOSC_CUDA_SINGLE_KERNEL; flags += VOCOSC_CUDA_SINGLE_KERNEL) {
      check_chunks_and_batches(flags);
      check_again_and_again(flags, atoi(arguments[2]));
      check_capture(flags);
    }
    check_resident();
    check_modes();
    check_one_graph();
    check_tensor();
    check_snapshot();
    check_not_a_number();
  }
  printf("%d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
