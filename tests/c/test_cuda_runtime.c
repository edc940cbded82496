/*
 * The host code of the GPU, over a fake driver (tests/cuda/fake): every call and every failure, without a GPU. The
 * kernels here stand in for the real ones: the last of them decodes with the CPU's code, on a vocosc_stream in the
 * slot's memory, so that the audio tells whether slots, chunks and copies went where they should.
 */
#include <stdlib.h>

#include "check.h"
#include "fake_driver.h"
#include "vocosc.h"
#include "vocosc_cuda.h"
#include "vocosc_cuda_call.h"

enum { STREAMS = 5, FRAMES = 4 * VOCOSC_MAX_FRAMES, SAMPLES = FRAMES * VOCOSC_HOP };
enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_BINARY = 209, INVALID_PTX = 218, UNSUPPORTED_PTX = 222, FAULT = 700 };

_Static_assert(VOCOSC_CUDA_STATE_BYTES >= sizeof(vocosc_stream), "a slot holds a CPU's stream");
_Static_assert(VOCOSC_CUDA_SCRATCH_BYTES >= sizeof(struct vocosc_cuda_call), "scratch holds a call");
_Static_assert(VOCOSC_CUDA_BATCH < STREAMS, "more streams than one call takes");

static vocosc_cuda cuda;
static vocosc_cuda_slot slots[STREAMS];
static vocosc_stream stream;
static vocosc_scratch scratch;
static float mel[STREAMS][FRAMES * VOCOSC_MELS];
static float expected[STREAMS][SAMPLES + VOCOSC_TAIL];
static float audio[STREAMS][SAMPLES + VOCOSC_TAIL];
static fake_launch seen[64]; /* of the last calls */
static int seen_count;

/* ---- stand-ins for the kernels ---- */

static void note(const fake_launch *launch) {
  if (seen_count < 64) seen[seen_count++] = *launch;
}

static void *at(uint64_t address) { return (void *)(uintptr_t)address; }

static vocosc_stream *stream_of(const struct vocosc_cuda_memory *memory, int slot) {
  vocosc_stream *state = at(memory->state + (uint64_t)slot * VOCOSC_CUDA_STATE_BYTES);
  if (state->ready == 0) assert_int_equal(vocosc_init(state), VOCOSC_OK); /* all zeros are silence */
  return state;
}

static void run_first(const fake_launch *launch) {
  const struct vocosc_cuda_call *call = launch->parameter;
  const unsigned char *weights = at(call->memory.weights);
  note(launch);
  assert_int_equal(weights[0], 1);
  assert_int_equal(weights[VOCOSC_CUDA_WEIGHT_BYTES - 1], 4);
  memcpy(at(call->memory.scratch), call, sizeof *call);
}

static void run_middle(const fake_launch *launch) {
  const struct vocosc_cuda_memory *memory = launch->parameter;
  note(launch);
  assert_memory_equal(at(memory->scratch), memory, sizeof *memory);
}

static void run_last(const fake_launch *launch) {
  const struct vocosc_cuda_memory *memory = launch->parameter;
  const struct vocosc_cuda_call *call = at(memory->scratch);
  note(launch);
  for (int i = call->count - 1; i >= 0; i--) { /* in no order that the host code could count on */
    const struct vocosc_cuda_job *job = &call->jobs[i];
    vocosc_stream *state = stream_of(memory, job->slot);
    assert_int_equal(vocosc_decode(state, &scratch, at(job->mel), call->frames, at(job->audio)),
                     call->frames * VOCOSC_HOP);
  }
}

/* The single kernel: the last one's work, on a call that it is given. */
static void run_single(const fake_launch *launch) {
  const struct vocosc_cuda_call *call = launch->parameter;
  fake_launch last = *launch;
  memcpy(at(call->memory.scratch), call, sizeof *call);
  last.parameter = &call->memory;
  run_last(&last);
}

static void run_flush(const fake_launch *launch) {
  const struct vocosc_cuda_call *call = launch->parameter;
  note(launch);
  for (int i = 0; i < call->count; i++) {
    vocosc_stream copy = *stream_of(&call->memory, call->jobs[i].slot);
    assert_int_equal(vocosc_flush(&copy, at(call->jobs[i].audio)), VOCOSC_TAIL);
  }
}

static const fake_kernel kernels[] = {
    {"vocosc_first", sizeof(struct vocosc_cuda_call), run_first},
    {"vocosc_second", sizeof(struct vocosc_cuda_memory), run_middle},
    {"vocosc_third", sizeof(struct vocosc_cuda_memory), run_middle},
    {"vocosc_last", sizeof(struct vocosc_cuda_memory), run_last},
    {"vocosc_single", sizeof(struct vocosc_cuda_call), run_single},
    {"vocosc_flush", sizeof(struct vocosc_cuda_call), run_flush},
    {NULL, 0, NULL},
};

/* ---- what the tests share ---- */

static vocosc_cuda_options options_with(int flags) {
  return (vocosc_cuda_options){
      .flags = flags | VOCOSC_CUDA_ALLOCATE, .slots = STREAMS, .table = slots, .symbol = fake_symbol};
}

static void reset_machine(void) {
  fake_reset();
  fake()->kernels = kernels;
  seen_count = 0;
}

static void start(int flags) {
  const vocosc_cuda_options options = options_with(flags);
  reset_machine();
  memset(&cuda, 0xa5, sizeof cuda);
  memset(slots, 0xa5, sizeof slots);
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_OK);
  seen_count = 0;
}

static void assert_nothing_is_held(const char *when) {
  const fake_machine *m = fake();
  check(m->contexts == 0 && m->modules == 0 && m->streams == 0 && m->graphs == 0 && m->execs == 0 &&
            m->allocations == 0 && m->stack_depth == 0,
        "%s: held: contexts %d modules %d streams %d graphs %d execs %d allocations %d stack %d", when, m->contexts,
        m->modules, m->streams, m->graphs, m->execs, m->allocations, m->stack_depth);
}

static void stop(void) {
  assert_int_equal(vocosc_cuda_close(&cuda), VOCOSC_OK);
  assert_nothing_is_held("after close");
  assert_int_equal(vocosc_cuda_close(&cuda), VOCOSC_CUDA_BAD_OBJECT);
}

/* Each stream's utterance and what the CPU makes of it, tail included. */
static int make_utterances(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int s = 0; s < STREAMS; s++) {
    for (int i = 0; i < FRAMES * VOCOSC_MELS; i++) mel[s][i] = next_float(&seed, -9.0f, 1.0f);
    if (vocosc_init(&stream) != VOCOSC_OK) return 1;
    for (int first = 0; first < FRAMES; first += VOCOSC_MAX_FRAMES) {
      vocosc_decode(&stream, &scratch, mel[s] + first * VOCOSC_MELS, VOCOSC_MAX_FRAMES,
                    expected[s] + first * VOCOSC_HOP);
    }
    vocosc_flush(&stream, expected[s] + SAMPLES);
  }
  return 0;
}

static vocosc_cuda_chunk chunk_of(int s, int first) {
  return (vocosc_cuda_chunk){s, mel[s] + first * VOCOSC_MELS, audio[s] + first * VOCOSC_HOP};
}

static void bind_all(vocosc_cuda_stream on) {
  for (int s = 0; s < STREAMS; s++) assert_int_equal(vocosc_cuda_bind(&cuda, s, on), VOCOSC_OK);
}

typedef int decode_function(vocosc_cuda *, const vocosc_cuda_chunk *, int, int, vocosc_cuda_stream);

/* Decodes frames first .. last - 1 of all streams, `batch` at a time, in chunks of `size`. Nothing waits. */
static void decode_part(decode_function *decode, int first, int last, int size, int batch, vocosc_cuda_stream on) {
  for (int frame = first; frame < last; frame += size) {
    const int frames = last - frame < size ? last - frame : size;
    for (int s = 0; s < STREAMS; s += batch) {
      vocosc_cuda_chunk chunks[VOCOSC_CUDA_BATCH];
      const int count = STREAMS - s < batch ? STREAMS - s : batch;
      for (int i = 0; i < count; i++) chunks[count - 1 - i] = chunk_of(s + i, frame); /* in any order */
      assert_int_equal(decode(&cuda, chunks, count, frames, on), frames * VOCOSC_HOP);
      memset(chunks, 0xa5, sizeof chunks); /* not used after the call */
    }
  }
}

static void flush_all(int on_host, vocosc_cuda_stream on) {
  for (int s = 0; s < STREAMS; s++) {
    const vocosc_cuda_chunk chunk = {s, NULL, audio[s] + SAMPLES};
    const int count = on_host ? vocosc_cuda_flush_host(&cuda, &chunk, 1, on) : vocosc_cuda_flush(&cuda, &chunk, 1, on);
    assert_int_equal(count, VOCOSC_TAIL);
  }
}

static void decode_whole(decode_function *decode, int size, int batch, vocosc_cuda_stream on) {
  memset(audio, 0xa5, sizeof audio);
  decode_part(decode, 0, FRAMES, size, batch, on);
  flush_all(decode == vocosc_cuda_decode_host, on);
  assert_int_equal(vocosc_cuda_wait(&cuda, on), VOCOSC_OK);
}

static void assert_cpu_is_unharmed(void) {
  assert_int_equal(vocosc_init(&stream), VOCOSC_OK);
  for (int first = 0; first < FRAMES; first += VOCOSC_MAX_FRAMES) {
    assert_int_equal(vocosc_decode(&stream, &scratch, mel[0] + first * VOCOSC_MELS, VOCOSC_MAX_FRAMES,
                                   audio[0] + first * VOCOSC_HOP),
                     VOCOSC_MAX_FRAMES * VOCOSC_HOP);
  }
  assert_memory_equal(audio[0], expected[0], sizeof(float) * SAMPLES);
}

/* ---- init ---- */

static void test_the_machine_is_reported(void **state) {
  (void)state;
  start(0);
  assert_int_equal(cuda.architecture, 90);
  assert_int_equal(cuda.image_architecture, 90);
  assert_int_equal(cuda.image_is_ptx, 0);
  assert_int_equal(cuda.multiprocessors, 132);
  assert_int_equal(cuda.driver_version, 13000);
  assert_int_equal(cuda.driver_code, 0);
  assert_true(cuda.uses_graph && cuda.uses_overlap);
  assert_int_equal(fake()->stack_depth, 0);
  stop();
}

static void test_each_gpu_gets_its_kernels(void **state) {
  (void)state;
  static const struct {
    int architecture;
    const char *refused;
    int refusal;
    int status;
    const char *image; /* the last one tried */
    int version;       /* of the driver */
  } cases[] = {
      {90, NULL, 0, VOCOSC_OK, "machine code 90.", 13000},
      {89, NULL, 0, VOCOSC_OK, "machine code 89.", 13000},
      {86, NULL, 0, VOCOSC_OK, "machine code 80.", 13000},
      {80, NULL, 0, VOCOSC_OK, "machine code 80.", 13000},
      {100, NULL, 0, VOCOSC_OK, "PTX 90.", 13000},
      {121, NULL, 0, VOCOSC_OK, "PTX 90.", 13000},
      {75, NULL, 0, VOCOSC_CUDA_BAD_DEVICE, "", 13000},
      {90, NULL, 0, VOCOSC_OK, "machine code 90.", 12000},
      {100, NULL, 0, VOCOSC_CUDA_OLD_DRIVER, "", 12080}, /* PTX wants 12.9 */
      {100, NULL, 0, VOCOSC_OK, "PTX 90.", 12090},
      {90, "machine code", NO_BINARY, VOCOSC_CUDA_OLD_DRIVER, "machine code 90.", 12080},
      {90, "machine code", NO_BINARY, VOCOSC_OK, "PTX 90.", 13000},
      {89, "machine code", NO_BINARY, VOCOSC_OK, "PTX 80.", 13000},
      {90, "", NO_BINARY, VOCOSC_CUDA_BAD_DEVICE, "PTX 80.", 13000},
      {100, "PTX 90", UNSUPPORTED_PTX, VOCOSC_OK, "PTX 80.", 13000},
      {100, "PTX", UNSUPPORTED_PTX, VOCOSC_CUDA_OLD_DRIVER, "PTX 80.", 13000},
      {100, "PTX", INVALID_PTX, VOCOSC_CUDA_BAD_DEVICE, "PTX 80.", 13000},
      {100, "PTX", 221, VOCOSC_CUDA_BAD_DEVICE, "PTX 80.", 13000},
      {100, "PTX", OUT_OF_MEMORY, VOCOSC_CUDA_NO_MEMORY, "PTX 90.", 13000}, /* the next would fare no better */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const vocosc_cuda_options options = options_with(0);
    reset_machine();
    fake()->architecture = cases[i].architecture;
    fake()->refused_image = cases[i].refused;
    fake()->refusal = cases[i].refusal;
    fake()->version = cases[i].version;
    const int status = vocosc_cuda_init(&cuda, &options);
    check(status == cases[i].status, "case %d: %s", (int)i, vocosc_cuda_status_text(status));
    const char *image = cases[i].image;
    check(strncmp(fake()->image, image, strlen(image)) == 0, "case %d: image %s", (int)i, fake()->image);
    assert_int_equal(cuda.architecture, cases[i].architecture);
    assert_int_equal(cuda.driver_code, cases[i].refusal);
    if (status == VOCOSC_OK) {
      assert_int_equal(cuda.image_is_ptx, image[0] == 'P');
      stop();
    }
    assert_nothing_is_held("after init");
  }
}

static void *no_symbol(void *context, const char *name) {
  (void)context;
  (void)name;
  return NULL;
}

static void test_without_a_driver(void **state) {
  (void)state;
  vocosc_cuda_options options = options_with(0);
  options.symbol = no_symbol;
  reset_machine();
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_CUDA_NO_DRIVER);
  const vocosc_cuda_chunk chunk = chunk_of(0, 0);
  assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 1, NULL), VOCOSC_CUDA_BAD_OBJECT);
  assert_int_equal(vocosc_cuda_close(&cuda), VOCOSC_CUDA_BAD_OBJECT);
  assert_int_equal(fake()->calls, 0);
  assert_cpu_is_unharmed();
}

static void test_drivers_that_will_not_do(void **state) {
  (void)state;
  static const struct {
    int version, devices, device, failure;
    const char *name;
    int status;
  } cases[] = {
      {13000, 1, 0, 0, NULL, VOCOSC_OK},
      {12000, 1, 0, 0, NULL, VOCOSC_OK},
      {11080, 1, 0, 0, NULL, VOCOSC_CUDA_OLD_DRIVER},
      {13000, 0, 0, 0, NULL, VOCOSC_CUDA_NO_DEVICE},
      {13000, 2, 1, 0, NULL, VOCOSC_OK},
      {13000, 2, 2, 0, NULL, VOCOSC_CUDA_NO_DEVICE},
      {13000, 1, 0, 999, "cuInit", VOCOSC_CUDA_NO_DRIVER},
      {13000, 1, 0, 34, "cuInit", VOCOSC_CUDA_NO_DRIVER}, /* a stub library */
      {13000, 1, 0, 803, "cuInit", VOCOSC_CUDA_OLD_DRIVER},
      {13000, 1, 0, 804, "cuInit", VOCOSC_CUDA_OLD_DRIVER},
      {13000, 1, 0, INVALID_VALUE, "cuFuncSetAttribute", VOCOSC_CUDA_BAD_DEVICE}, /* too much shared memory */
      {13000, 1, 0, 701, "cuLaunchKernelEx", VOCOSC_CUDA_BAD_DEVICE},             /* too many registers, say */
      {13000, 1, 0, 46, "cuDevicePrimaryCtxRetain", VOCOSC_CUDA_FAILED},          /* somebody's alone */
      {13000, 1, 0, FAULT, "cuStreamSynchronize", VOCOSC_CUDA_LOST},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    vocosc_cuda_options options = options_with(0);
    reset_machine();
    fake()->version = cases[i].version;
    fake()->devices = cases[i].devices;
    fake()->fail_name = cases[i].name;
    fake()->failure = cases[i].failure;
    options.device = cases[i].device;
    const int status = vocosc_cuda_init(&cuda, &options);
    check(status == cases[i].status, "case %d: %s", (int)i, vocosc_cuda_status_text(status));
    if (cases[i].failure != 0) assert_int_equal(cuda.driver_code, cases[i].failure);
    if (status == VOCOSC_OK) stop();
    assert_nothing_is_held("after init");
  }
}

static void test_a_missing_function_is_an_old_driver(void **state) {
  (void)state;
  vocosc_cuda_options options = options_with(0);
  start(0);
  bind_all(NULL);
  decode_whole(vocosc_cuda_decode_host, 1, 1, NULL);
  stop();
  static char used[sizeof fake()->log];
  strcpy(used, fake()->log); /* all functions, most of them many times */
  static const char *known[64];
  int count = 0;
  for (char *name = strtok(used, " "); name != NULL; name = strtok(NULL, " ")) {
    int is_new = 1;
    for (int i = 0; i < count; i++) is_new &= strcmp(known[i], name) != 0;
    if (is_new) known[count++] = name;
  }
  assert_true(count > 25);
  for (int i = 0; i < count; i++) {
    const int is_basic = strcmp(known[i], "cuInit") == 0 || strcmp(known[i], "cuDriverGetVersion") == 0;
    options.symbol_context = (void *)(uintptr_t)known[i];
    reset_machine();
    const int status = vocosc_cuda_init(&cuda, &options);
    check(status == (is_basic ? VOCOSC_CUDA_NO_DRIVER : VOCOSC_CUDA_OLD_DRIVER), "without %s", known[i]);
    assert_nothing_is_held(known[i]);
  }
}

static void test_bad_options(void **state) {
  (void)state;
  static const int slot_counts[] = {0, -1, VOCOSC_CUDA_MAX_SLOTS + 1};
  vocosc_cuda_options options = options_with(0);
  reset_machine();
  assert_int_equal(vocosc_cuda_init(NULL, &options), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_cuda_init(&cuda, NULL), VOCOSC_BAD_ARGUMENT);
  for (int i = 0; i < 3; i++) {
    options.slots = slot_counts[i];
    assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_BAD_ARGUMENT);
    assert_int_equal(vocosc_cuda_memory_bytes(slot_counts[i]), 0);
  }
  options = options_with(0);
  options.table = NULL;
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_BAD_ARGUMENT);
  options = options_with(16);
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_BAD_ARGUMENT);
  options = options_with(0);
  options.device = -1;
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_BAD_ARGUMENT);
  options = options_with(0);
  options.memory = 256; /* and to be allocated, too? */
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_BAD_ARGUMENT);
  options.flags = 0;
  options.memory_bytes = vocosc_cuda_memory_bytes(STREAMS) - 1;
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_BAD_ARGUMENT);
  options.memory_bytes = vocosc_cuda_memory_bytes(STREAMS);
  options.memory = 0;
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_CUDA_BAD_POINTER);
  options.memory = 256 + 128;
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_CUDA_BAD_POINTER);
  assert_int_equal(fake()->calls, 0);
  assert_int_equal(vocosc_cuda_close(NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_cuda_close(&cuda), VOCOSC_CUDA_BAD_OBJECT);
}

/* Whatever call of init's fails, and with whatever: an error, and nothing is kept. */
static void test_every_failure_of_init(void **state) {
  (void)state;
  static const struct {
    int failure, sticky;
  } cases[] = {{OUT_OF_MEMORY, 0}, {OUT_OF_MEMORY, 1}, {INVALID_VALUE, 0}, {FAULT, 1}};
  static const int ways[] = {0, VOCOSC_CUDA_NO_GRAPH, VOCOSC_CUDA_SINGLE_KERNEL, VOCOSC_CUDA_ONE_GRAPH};
  for (int way = 0; way < 4; way++) {
    const int flags = ways[way];
    start(flags);
    const int calls = fake()->calls;
    stop();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
      for (int call = 1; call <= calls; call++) {
        const vocosc_cuda_options options = options_with(flags);
        reset_machine();
        fake()->fail_call = call;
        fake()->failure = cases[i].failure;
        fake()->sticky = cases[i].sticky;
        const int status = vocosc_cuda_init(&cuda, &options);
        if (status == VOCOSC_OK) { /* it was something that was being given back */
          const char *last = strstr(fake()->log, "Destroy") != NULL ? "Destroy" : "Pop";
          assert_non_null(strstr(fake()->log, last));
          fake()->fail_call = 0;
          stop();
        } else if (call > 1) {
          const int wanted = cases[i].failure == FAULT           ? VOCOSC_CUDA_LOST
                             : cases[i].failure == OUT_OF_MEMORY ? VOCOSC_CUDA_NO_MEMORY
                                                                 : status;
          check(status == wanted, "call %d of init, %d: %s", call, cases[i].failure, vocosc_cuda_status_text(status));
          assert_int_equal(cuda.driver_code, cases[i].failure);
        }
        assert_nothing_is_held("after a failed init");
        assert_int_equal(vocosc_cuda_close(&cuda), VOCOSC_CUDA_BAD_OBJECT);
      }
    }
  }
  assert_cpu_is_unharmed();
}

static void test_memory_of_the_callers(void **state) {
  (void)state;
  const size_t bytes = vocosc_cuda_memory_bytes(STREAMS);
  assert_int_equal(bytes, VOCOSC_CUDA_MEMORY_BYTES(STREAMS));
  unsigned char *memory = aligned_alloc(256, bytes + 256);
  memset(memory, 0xa5, bytes + 256);
  vocosc_cuda_options options = options_with(0);
  options.flags = 0;
  options.memory = (uintptr_t)memory;
  options.memory_bytes = bytes;
  reset_machine();
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_OK);
  assert_int_equal(fake()->allocations, 0);
  bind_all(NULL);
  decode_whole(vocosc_cuda_decode_host, 3, 2, NULL);
  assert_memory_equal(audio, expected, sizeof audio);
  for (size_t i = bytes; i < bytes + 256; i++) assert_int_equal(memory[i], 0xa5);
  stop();
  free(memory);
}

static void test_the_callers_context(void **state) {
  (void)state;
  reset_machine();
  fake_push_context();
  const vocosc_cuda_options options = options_with(0);
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_OK);
  assert_int_equal(fake()->contexts, 0); /* the primary one was not touched */
  fake_pop_context();
  bind_all(NULL); /* no context is current: each call brings its own, and takes it away */
  decode_whole(vocosc_cuda_decode_host, 2, 3, NULL);
  assert_int_equal(fake()->stack_depth, 0);
  assert_memory_equal(audio, expected, sizeof audio);
  fake_push_context();
  fake()->log[0] = '\0';
  decode_part(vocosc_cuda_decode_host, 0, 1, 1, 1, NULL);
  assert_true(strstr(fake()->log, "cuCtxPush") == NULL); /* it is current already */
  assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
  assert_int_equal(fake()->stack_depth, 1);
  fake_pop_context();
  stop();
}

static void test_weights_can_be_shared(void **state) {
  (void)state;
  static vocosc_cuda second;
  static vocosc_cuda_slot more[STREAMS];
  vocosc_cuda_options options = options_with(0);
  start(0);
  options.table = more;
  options.weights_of = &cuda;
  fake()->memory_limit = VOCOSC_CUDA_SHARING_BYTES(STREAMS);
  assert_int_equal(vocosc_cuda_init(&second, &options), VOCOSC_OK);
  const vocosc_cuda_chunk chunk = chunk_of(1, 0);
  assert_int_equal(vocosc_cuda_bind(&second, 1, NULL), VOCOSC_OK);
  assert_int_equal(vocosc_cuda_decode_host(&second, &chunk, 1, 2, NULL), 2 * VOCOSC_HOP);
  assert_int_equal(vocosc_cuda_wait(&second, NULL), VOCOSC_OK);
  assert_memory_equal(audio[1], expected[1], sizeof(float) * 2 * VOCOSC_HOP);
  assert_int_equal(vocosc_cuda_close(&second), VOCOSC_OK);
  fake_push_context(); /* another context cannot use them */
  assert_int_equal(vocosc_cuda_init(&second, &options), VOCOSC_BAD_ARGUMENT);
  fake_pop_context();
  static vocosc_cuda damaged;
  damaged = cuda;
  damaged.private_words[0] ^= 1;
  options.weights_of = &damaged;
  assert_int_equal(vocosc_cuda_init(&second, &options), VOCOSC_BAD_ARGUMENT);
  options.weights_of = &cuda;
  stop();
  assert_int_equal(vocosc_cuda_init(&second, &options), VOCOSC_BAD_ARGUMENT); /* closed */
  assert_nothing_is_held("in the end");
}

/* With options.symbol null, by dlopen: the program is linked with a libcuda.so.1, the fake. */
static void test_the_driver_is_found_by_its_name(void **state) {
  (void)state;
  vocosc_cuda_options options = options_with(0);
  options.symbol = NULL;
  reset_machine();
  assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_OK);
  assert_true(fake()->calls > 10);
  stop();
}

/* ---- launches ---- */

static void test_launches_are_as_the_table_says(void **state) {
  (void)state;
  static const struct {
    int flags, architecture, version, graph, overlap;
    const char *refused;
  } cases[] = {
      {0, 90, 13000, 1, 1, NULL},
      {VOCOSC_CUDA_ONE_GRAPH, 90, 13000, 2, 1, NULL},
      {VOCOSC_CUDA_ONE_GRAPH | VOCOSC_CUDA_NO_GRAPH, 90, 13000, 0, 1, NULL},
      {VOCOSC_CUDA_NO_GRAPH, 90, 13000, 0, 1, NULL},
      {VOCOSC_CUDA_NO_OVERLAP, 90, 13000, 1, 0, NULL},
      {VOCOSC_CUDA_NO_GRAPH | VOCOSC_CUDA_NO_OVERLAP, 90, 13000, 0, 0, NULL},
      {0, 89, 13000, 1, 0, NULL},                    /* a chip that cannot */
      {0, 90, 12020, 1, 0, NULL},                    /* a driver whose graphs cannot */
      {VOCOSC_CUDA_NO_GRAPH, 90, 12020, 0, 0, NULL}, /* ... whose caller may capture */
      {0, 90, 12030, 1, 1, NULL},
      {0, 100, 13000, 1, 1, NULL},     /* kernels compiled from PTX for 90, which wait */
      {0, 100, 13000, 1, 0, "PTX 90"}, /* kernels compiled from PTX for 80, which do not */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const vocosc_cuda_options options = options_with(cases[i].flags);
    reset_machine();
    fake()->architecture = cases[i].architecture;
    fake()->version = cases[i].version;
    fake()->refused_image = cases[i].refused;
    fake()->refusal = NO_BINARY;
    assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_OK);
    assert_int_equal(seen_count, VOCOSC_CUDA_LAUNCHES + 1); /* all were tried, on nothing */
    assert_int_equal(cuda.uses_graph, cases[i].graph);
    assert_int_equal(cuda.uses_overlap, cases[i].overlap);
    bind_all(NULL);
    for (int round = 0; round < 2; round++) {
      seen_count = 0;
      const vocosc_cuda_chunk chunk = chunk_of(round, 0);
      assert_int_equal(vocosc_cuda_decode_host(&cuda, &chunk, 1, 1, NULL), VOCOSC_HOP);
      assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
      assert_int_equal(seen_count, VOCOSC_CUDA_LAUNCHES);
      static const char *const names[] = {"vocosc_first", "vocosc_second", "vocosc_third", "vocosc_last"};
      static const unsigned grids[][3] = {{8, 1, 1}, {16, 2, 1}, {132, 1, 1}, {4, 3, 2}};
      static const unsigned blocks[] = {128, 256, 256, 64};
      static const unsigned shared[] = {0, 1024, 200000, 0};
      static const int may_overlap[] = {0, 0, 1, 0};
      for (int k = 0; k < VOCOSC_CUDA_LAUNCHES; k++) {
        assert_string_equal(seen[k].kernel, names[k]);
        assert_memory_equal(seen[k].grid, grids[k], sizeof grids[k]);
        assert_int_equal(seen[k].block[0], blocks[k]);
        assert_true(seen[k].block[1] == 1 && seen[k].block[2] == 1);
        assert_int_equal(seen[k].shared_bytes, shared[k]);
        assert_int_equal(seen[k].overlaps, may_overlap[k] && cases[i].overlap);
        assert_int_equal(seen[k].in_graph, k > 0 ? cases[i].graph > 0 : cases[i].graph > 1);
      }
    }
    stop();
  }
}

static void test_the_single_kernel_is_one_launch(void **state) {
  (void)state;
  static const int processors[] = {132, 100, 7};
  static const unsigned grids[] = {100, 100, 7}; /* the table's, or a block a multiprocessor */
  for (int i = 0; i < 3; i++) {
    const vocosc_cuda_options options = options_with(VOCOSC_CUDA_SINGLE_KERNEL);
    reset_machine();
    fake()->multiprocessors = processors[i];
    assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_OK);
    assert_int_equal(seen_count, 2); /* it and flush were tried, on nothing */
    assert_true(cuda.uses_single_kernel && !cuda.uses_graph && !cuda.uses_overlap);
    bind_all(NULL);
    seen_count = 0;
    const vocosc_cuda_chunk chunk = chunk_of(0, 0);
    assert_int_equal(vocosc_cuda_decode_host(&cuda, &chunk, 1, 1, NULL), VOCOSC_HOP);
    assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen[0].kernel, "vocosc_single");
    assert_true(seen[0].grid[0] == grids[i] && seen[0].grid[1] == 1 && seen[0].grid[2] == 1);
    assert_true(seen[0].block[0] == 512 && seen[0].shared_bytes == 2048);
    assert_true(seen[0].is_cooperative && !seen[0].overlaps && !seen[0].in_graph);
    stop();
  }
}

/* In init; without the flag such a GPU will do. */
static void test_a_gpu_that_cannot_run_the_single_kernel(void **state) {
  (void)state;
  static const int failures[] = {720, 801, 701}; /* blocks that do not fit together; none cooperative; too large */
  for (int i = 0; i < 3; i++) {
    const vocosc_cuda_options options = options_with(VOCOSC_CUDA_SINGLE_KERNEL);
    reset_machine();
    fake()->fail_name = "cuLaunchKernelEx";
    fake()->failure = failures[i];
    assert_int_equal(vocosc_cuda_init(&cuda, &options), VOCOSC_CUDA_BAD_DEVICE);
    assert_int_equal(cuda.driver_code, failures[i]);
    assert_nothing_is_held("after init");
  }
  start(0);
  assert_false(cuda.uses_single_kernel);
  stop();
}

/* ---- decoding ---- */

static void test_audio_is_that_of_each_stream(void **state) {
  (void)state;
  static const int ways[] = {0, VOCOSC_CUDA_NO_GRAPH, VOCOSC_CUDA_SINGLE_KERNEL, VOCOSC_CUDA_ONE_GRAPH};
  for (int way = 0; way < 4; way++) {
    start(ways[way]);
    bind_all(NULL);
    for (int size = 1; size <= VOCOSC_MAX_FRAMES; size++) {
      for (int batch = 1; batch <= VOCOSC_CUDA_BATCH; batch++) {
        decode_whole(vocosc_cuda_decode, size, batch, NULL);
        check(memcmp(audio, expected, sizeof audio) == 0, "chunks of %d, %d streams at a time", size, batch);
        decode_whole(vocosc_cuda_decode_host, size, batch, fake_stream()); /* the flush has reset the slots */
        check(memcmp(audio, expected, sizeof audio) == 0, "on the host: chunks of %d, %d at a time", size, batch);
      }
    }
    stop();
  }
}

static int count_of(const char *name) {
  int count = 0;
  for (const char *at = fake()->log; (at = strstr(at, name)) != NULL; at++) count++;
  return count;
}

/* Streams in their order, whose arrays are equally far apart; one of them out of the row. */
static void test_one_copy_each_way(void **state) {
  (void)state;
  static float apart[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
  start(0);
  bind_all(NULL);
  memset(audio, 0xa5, sizeof audio);
  for (int frame = 0; frame < FRAMES; frame++) {
    vocosc_cuda_chunk chunks[VOCOSC_CUDA_BATCH];
    for (int i = 0; i < VOCOSC_CUDA_BATCH; i++) chunks[i] = chunk_of(i, frame);
    const int is_last = frame == FRAMES - 1;
    if (is_last) chunks[1].audio = apart;
    fake()->log[0] = '\0';
    assert_int_equal(vocosc_cuda_decode_host(&cuda, chunks, VOCOSC_CUDA_BATCH, 1, NULL), VOCOSC_HOP);
    assert_int_equal(count_of("cuMemcpy2DAsync_v2"), is_last ? 1 : 2);
    assert_int_equal(count_of("cuMemcpyDtoHAsync_v2"), is_last ? VOCOSC_CUDA_BATCH : 0);
    assert_int_equal(count_of("cuMemcpyHtoDAsync_v2"), 0);
  }
  assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
  memcpy(audio[1] + (FRAMES - 1) * VOCOSC_HOP, apart, VOCOSC_HOP * sizeof(float));
  for (int i = 0; i < VOCOSC_CUDA_BATCH; i++) assert_memory_equal(audio[i], expected[i], SAMPLES * sizeof(float));
  stop();
}

static void test_nothing_is_allocated_and_nothing_waits(void **state) {
  (void)state;
  static const char *const allowed[] = {
      "cuCtxGetCurrent",     "cuCtxPushCurrent_v2",  "cuCtxPopCurrent_v2",   "cuLaunchKernelEx", "cuGraphLaunch",
      "cuStreamIsCapturing", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemsetD8Async",  "cuMemcpy2DAsync_v2"};
  static unsigned char snapshot[VOCOSC_CUDA_STATE_BYTES];
  start(0);
  fake()->log[0] = '\0';
  bind_all(NULL);
  decode_part(vocosc_cuda_decode, 0, FRAMES, 2, 3, NULL);
  decode_part(vocosc_cuda_decode_host, 0, FRAMES, 1, 1, NULL);
  assert_int_equal(vocosc_cuda_save(&cuda, 0, snapshot, NULL), VOCOSC_OK);
  assert_int_equal(vocosc_cuda_restore(&cuda, 0, snapshot, NULL), VOCOSC_OK);
  assert_int_equal(vocosc_cuda_reset(&cuda, 1, NULL), VOCOSC_OK);
  flush_all(0, NULL);
  flush_all(1, NULL);
  assert_int_equal(vocosc_cuda_release(&cuda, 2), VOCOSC_OK);
  for (char *name = strtok(fake()->log, " "); name != NULL; name = strtok(NULL, " ")) {
    int is_allowed = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) is_allowed |= strcmp(allowed[i], name) == 0;
    check(is_allowed, "%s is called after init", name);
  }
  assert_int_equal(fake()->stack_depth, 0);
  fake()->log[0] = '\0';
  assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
  assert_non_null(strstr(fake()->log, "cuStreamSynchronize"));
  stop();
}

static void capture_a_decode(int flags) {
  start(flags);
  bind_all(NULL);
  memset(audio, 0xa5, sizeof audio);
  struct CUstream_st *on = fake_stream();
  const vocosc_cuda_chunk chunks[] = {chunk_of(4, 0), chunk_of(1, 0)};
  const int launched = fake()->graph_launches;
  fake_begin_capture(on);
  assert_int_equal(vocosc_cuda_decode(&cuda, chunks, 2, 1, on), VOCOSC_HOP);
  void *graph = fake_end_capture(on);
  assert_int_equal(fake()->graph_launches, launched);
  for (int frame = 0; frame < FRAMES; frame++) { /* a window of one frame, through which the utterance passes */
    float kept[2][VOCOSC_MELS];
    for (int i = 0; i < 2; i++) {
      const int s = chunks[i].slot;
      memcpy(kept[i], mel[s], sizeof kept[i]);
      memcpy(mel[s], mel[s] + frame * VOCOSC_MELS, sizeof kept[i]);
    }
    fake_launch_graph(graph, on);
    assert_int_equal(vocosc_cuda_wait(&cuda, on), VOCOSC_OK);
    for (int i = 0; i < 2; i++) {
      const int s = chunks[i].slot;
      assert_memory_equal(audio[s], expected[s] + frame * VOCOSC_HOP, sizeof(float) * VOCOSC_HOP);
      memcpy(mel[s], kept[i], sizeof kept[i]);
    }
  }
  free(graph);
  fake()->graphs--;
  stop();
}

static void test_a_decode_can_be_captured(void **state) {
  (void)state;
  capture_a_decode(0);
  capture_a_decode(VOCOSC_CUDA_SINGLE_KERNEL);
}

static void test_slots_are_bound_and_released(void **state) {
  (void)state;
  static const int bad[] = {-1, STREAMS, 1000000};
  static unsigned char snapshot[VOCOSC_CUDA_STATE_BYTES];
  vocosc_cuda_chunk chunk = chunk_of(2, 0);
  start(0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(vocosc_cuda_bind(&cuda, bad[i], NULL), VOCOSC_CUDA_BAD_SLOT);
    assert_int_equal(vocosc_cuda_reset(&cuda, bad[i], NULL), VOCOSC_CUDA_BAD_SLOT);
    assert_int_equal(vocosc_cuda_release(&cuda, bad[i]), VOCOSC_CUDA_BAD_SLOT);
    assert_int_equal(vocosc_cuda_save(&cuda, bad[i], snapshot, NULL), VOCOSC_CUDA_BAD_SLOT);
    assert_int_equal(vocosc_cuda_restore(&cuda, bad[i], snapshot, NULL), VOCOSC_CUDA_BAD_SLOT);
    chunk.slot = bad[i];
    assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 1, NULL), VOCOSC_CUDA_BAD_SLOT);
  }
  chunk.slot = 2;
  assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 1, NULL), VOCOSC_CUDA_BAD_SLOT);
  assert_int_equal(vocosc_cuda_decode_host(&cuda, &chunk, 1, 1, NULL), VOCOSC_CUDA_BAD_SLOT);
  assert_int_equal(vocosc_cuda_flush(&cuda, &chunk, 1, NULL), VOCOSC_CUDA_BAD_SLOT);
  assert_int_equal(vocosc_cuda_reset(&cuda, 2, NULL), VOCOSC_CUDA_BAD_SLOT);
  assert_int_equal(vocosc_cuda_save(&cuda, 2, snapshot, NULL), VOCOSC_CUDA_BAD_SLOT);
  assert_int_equal(vocosc_cuda_release(&cuda, 2), VOCOSC_CUDA_BAD_SLOT);
  assert_int_equal(vocosc_cuda_bind(&cuda, 2, NULL), VOCOSC_OK);
  assert_int_equal(vocosc_cuda_bind(&cuda, 2, NULL), VOCOSC_CUDA_BAD_SLOT);
  assert_int_equal(vocosc_cuda_save(&cuda, 2, NULL, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_cuda_restore(&cuda, 2, NULL, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 2, NULL), 2 * VOCOSC_HOP);
  assert_int_equal(vocosc_cuda_release(&cuda, 2), VOCOSC_OK);
  assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 1, NULL), VOCOSC_CUDA_BAD_SLOT);
  /* Bound again it is at silence, behind the work that was queued before. */
  assert_int_equal(vocosc_cuda_bind(&cuda, 2, NULL), VOCOSC_OK);
  assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 1, NULL), VOCOSC_HOP);
  assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
  assert_memory_equal(audio[2], expected[2], sizeof(float) * VOCOSC_HOP);
  stop();
}

static void test_snapshots(void **state) {
  (void)state;
  static unsigned char snapshot[VOCOSC_CUDA_STATE_BYTES];
  start(0);
  bind_all(NULL);
  decode_part(vocosc_cuda_decode, 0, VOCOSC_MAX_FRAMES, 3, 3, NULL);
  assert_int_equal(vocosc_cuda_save(&cuda, 3, snapshot, NULL), VOCOSC_OK);
  decode_part(vocosc_cuda_decode, 0, VOCOSC_MAX_FRAMES, 1, 3, NULL); /* other streams of audio, in all slots */
  assert_int_equal(vocosc_cuda_restore(&cuda, 0, snapshot, NULL), VOCOSC_OK);
  vocosc_cuda_chunk chunk = chunk_of(3, VOCOSC_MAX_FRAMES);
  chunk.slot = 0;
  assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 2, NULL), 2 * VOCOSC_HOP);
  assert_int_equal(vocosc_cuda_reset(&cuda, 4, NULL), VOCOSC_OK);
  const vocosc_cuda_chunk again = chunk_of(4, 0);
  assert_int_equal(vocosc_cuda_decode(&cuda, &again, 1, 2, NULL), 2 * VOCOSC_HOP);
  assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
  const int from = VOCOSC_MAX_FRAMES * VOCOSC_HOP;
  assert_memory_equal(audio[3] + from, expected[3] + from, sizeof(float) * 2 * VOCOSC_HOP);
  assert_memory_equal(audio[4], expected[4], sizeof(float) * 2 * VOCOSC_HOP);
  stop();
}

static void test_bad_arguments_queue_nothing(void **state) {
  (void)state;
  static const int bad_frames[] = {0, -1, VOCOSC_MAX_FRAMES + 1, -2147483647 - 1, 2147483647};
  static const int bad_counts[] = {0, -1, VOCOSC_CUDA_BATCH + 1, -2147483647 - 1, 2147483647};
  start(0);
  bind_all(NULL);
  assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
  fake()->log[0] = '\0';
  const vocosc_cuda_chunk good[VOCOSC_CUDA_BATCH] = {chunk_of(0, 0), chunk_of(1, 0), chunk_of(2, 0)};
  vocosc_cuda_chunk bad[VOCOSC_CUDA_BATCH];
  for (int on_host = 0; on_host < 2; on_host++) {
    decode_function *decode = on_host ? vocosc_cuda_decode_host : vocosc_cuda_decode;
    const int null_pointer = on_host ? VOCOSC_BAD_ARGUMENT : VOCOSC_CUDA_BAD_POINTER;
    for (int i = 0; i < 5; i++) {
      assert_int_equal(decode(&cuda, good, 1, bad_frames[i], NULL), VOCOSC_BAD_ARGUMENT);
      assert_int_equal(decode(&cuda, good, bad_counts[i], 1, NULL), VOCOSC_BAD_ARGUMENT);
      assert_int_equal(vocosc_cuda_flush(&cuda, good, bad_counts[i], NULL), VOCOSC_BAD_ARGUMENT);
    }
    assert_int_equal(decode(NULL, good, 1, 1, NULL), VOCOSC_BAD_ARGUMENT);
    assert_int_equal(decode(&cuda, NULL, 1, 1, NULL), VOCOSC_BAD_ARGUMENT);
    memcpy(bad, good, sizeof bad);
    bad[2].slot = bad[0].slot; /* twice */
    assert_int_equal(decode(&cuda, bad, 3, 1, NULL), VOCOSC_BAD_ARGUMENT);
    assert_int_equal(vocosc_cuda_flush(&cuda, bad, 3, NULL), VOCOSC_BAD_ARGUMENT);
    memcpy(bad, good, sizeof bad);
    bad[1].mel = NULL;
    assert_int_equal(decode(&cuda, bad, 3, 1, NULL), null_pointer);
    memcpy(bad, good, sizeof bad);
    bad[2].audio = NULL;
    assert_int_equal(decode(&cuda, bad, 3, 1, NULL), null_pointer);
  }
  assert_int_equal(vocosc_cuda_flush(&cuda, bad, 3, NULL), VOCOSC_CUDA_BAD_POINTER);
  assert_int_equal(vocosc_cuda_flush_host(&cuda, bad, 3, NULL), VOCOSC_BAD_ARGUMENT);
  memcpy(bad, good, sizeof bad);
  bad[0].mel = (const float *)((uintptr_t)mel[0] + 2);
  assert_int_equal(vocosc_cuda_decode(&cuda, bad, 3, 1, NULL), VOCOSC_CUDA_BAD_POINTER);
  memcpy(bad, good, sizeof bad);
  bad[0].audio = (float *)((uintptr_t)audio[0] + 1);
  assert_int_equal(vocosc_cuda_decode(&cuda, bad, 3, 1, NULL), VOCOSC_CUDA_BAD_POINTER);
  assert_int_equal(vocosc_cuda_flush(&cuda, bad, 3, NULL), VOCOSC_CUDA_BAD_POINTER);
  const float kept = mel[1][VOCOSC_MELS - 1];
  mel[1][VOCOSC_MELS - 1] = from_bits(0x7fc00000u); /* NaN, which only the host's memory can be searched for */
  assert_int_equal(vocosc_cuda_decode_host(&cuda, good, 3, 1, NULL), VOCOSC_BAD_INPUT);
  mel[1][VOCOSC_MELS - 1] = kept;
  assert_int_equal(vocosc_cuda_bind(NULL, 0, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_cuda_reset(NULL, 0, NULL), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_cuda_release(NULL, 0), VOCOSC_BAD_ARGUMENT);
  assert_int_equal(vocosc_cuda_wait(NULL, NULL), VOCOSC_BAD_ARGUMENT);
  assert_string_equal(fake()->log, "");
  decode_whole(vocosc_cuda_decode, 1, 3, NULL); /* none of it did harm */
  assert_memory_equal(audio, expected, sizeof audio);
  stop();
}

/* ---- failures while decoding ---- */

static void test_every_failure_of_a_decode(void **state) {
  (void)state;
  static const struct {
    int flags, failure, sticky, status;
  } cases[] = {
      {0, FAULT, 1, VOCOSC_CUDA_LOST},
      {VOCOSC_CUDA_NO_GRAPH, 719, 1, VOCOSC_CUDA_LOST},
      {0, INVALID_VALUE, 0, VOCOSC_CUDA_FAILED},
      {0, 999, 0, VOCOSC_CUDA_FAILED},
      {VOCOSC_CUDA_NO_GRAPH, INVALID_VALUE, 0, VOCOSC_CUDA_FAILED},
      {VOCOSC_CUDA_SINGLE_KERNEL, FAULT, 1, VOCOSC_CUDA_LOST},
      {VOCOSC_CUDA_ONE_GRAPH, FAULT, 1, VOCOSC_CUDA_LOST},
      {VOCOSC_CUDA_ONE_GRAPH, INVALID_VALUE, 0, VOCOSC_CUDA_FAILED},
      {VOCOSC_CUDA_SINGLE_KERNEL, INVALID_VALUE, 0, VOCOSC_CUDA_FAILED},
  };
  const vocosc_cuda_chunk chunks[] = {chunk_of(0, 0), chunk_of(1, 0)};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    for (int call = 1;; call++) {
      start(cases[i].flags);
      bind_all(NULL);
      assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_OK);
      fake()->calls = 0;
      fake()->log[0] = '\0';
      fake()->fail_call = call;
      fake()->failure = cases[i].failure;
      fake()->sticky = cases[i].sticky;
      const int status = vocosc_cuda_decode_host(&cuda, chunks, 2, 1, NULL);
      const int last = status == VOCOSC_HOP; /* no call, or that which puts the caller's context back, failed */
      fake()->fail_call = 0;
      if (!last) {
        check(status == cases[i].status, "call %d: %s", call, vocosc_cuda_status_text(status));
        assert_int_equal(cuda.driver_code, cases[i].failure);
      }
      if (!last && status == VOCOSC_CUDA_LOST) {
        fake()->log[0] = '\0';
        assert_int_equal(vocosc_cuda_decode(&cuda, chunks, 1, 1, NULL), VOCOSC_CUDA_LOST);
        assert_int_equal(vocosc_cuda_decode_host(&cuda, chunks, 1, 1, NULL), VOCOSC_CUDA_LOST);
        assert_int_equal(vocosc_cuda_flush(&cuda, chunks, 1, NULL), VOCOSC_CUDA_LOST);
        assert_int_equal(vocosc_cuda_bind(&cuda, 0, NULL), VOCOSC_CUDA_LOST);
        assert_int_equal(vocosc_cuda_reset(&cuda, 0, NULL), VOCOSC_CUDA_LOST);
        assert_int_equal(vocosc_cuda_release(&cuda, 0), VOCOSC_CUDA_LOST);
        assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_CUDA_LOST);
        assert_string_equal(fake()->log, "");
        assert_cpu_is_unharmed();
        fake()->pending = 0;
      } else {
        assert_int_equal(vocosc_cuda_wait(&cuda, NULL), last && cases[i].sticky ? VOCOSC_CUDA_LOST : VOCOSC_OK);
        fake()->pending = 0;
        for (int s = 0; s < STREAMS && !cases[i].sticky; s++) {
          assert_int_equal(vocosc_cuda_reset(&cuda, s, NULL), VOCOSC_OK);
        }
        if (!cases[i].sticky) {
          decode_whole(vocosc_cuda_decode, 2, 3, NULL); /* and all is well again */
          assert_memory_equal(audio, expected, sizeof audio);
        }
      }
      stop();
      if (last) {
        assert_true(call > 5); /* two copies, and a launch at least, between three calls for the context */
        break;
      }
    }
  }
}

static void test_faults_show_late(void **state) {
  (void)state;
  static const int faults[] = {4, 201, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 810, 911};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
    start(0);
    bind_all(NULL);
    const vocosc_cuda_chunk chunk = chunk_of(0, 0);
    assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 1, NULL), VOCOSC_HOP);
    fake()->fail_name = "cuStreamSynchronize";
    fake()->failure = faults[i];
    fake()->sticky = 1;
    assert_int_equal(vocosc_cuda_wait(&cuda, NULL), VOCOSC_CUDA_LOST);
    assert_int_equal(cuda.driver_code, faults[i]);
    fake()->pending = 0;
    assert_int_equal(vocosc_cuda_decode(&cuda, &chunk, 1, 1, NULL), VOCOSC_CUDA_LOST);
    stop();
  }
}

static void test_texts(void **state) {
  (void)state;
  for (int code = -1000; code < 1000; code++) assert_non_null(vocosc_cuda_status_text(code));
  for (int code = VOCOSC_CUDA_FAILED; code <= VOCOSC_CUDA_NO_DRIVER; code++) {
    assert_string_not_equal(vocosc_cuda_status_text(code), vocosc_status_text(code));
    assert_string_not_equal(vocosc_cuda_status_text(code), vocosc_cuda_status_text(code - 1));
  }
  assert_string_equal(vocosc_cuda_status_text(VOCOSC_BAD_INPUT), vocosc_status_text(VOCOSC_BAD_INPUT));
  assert_string_equal(vocosc_cuda_status_text(VOCOSC_OK), "ok");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_the_machine_is_reported),
      cmocka_unit_test(test_each_gpu_gets_its_kernels),
      cmocka_unit_test(test_without_a_driver),
      cmocka_unit_test(test_drivers_that_will_not_do),
      cmocka_unit_test(test_a_missing_function_is_an_old_driver),
      cmocka_unit_test(test_bad_options),
      cmocka_unit_test(test_every_failure_of_init),
      cmocka_unit_test(test_memory_of_the_callers),
      cmocka_unit_test(test_the_callers_context),
      cmocka_unit_test(test_weights_can_be_shared),
      cmocka_unit_test(test_the_driver_is_found_by_its_name),
      cmocka_unit_test(test_launches_are_as_the_table_says),
      cmocka_unit_test(test_the_single_kernel_is_one_launch),
      cmocka_unit_test(test_a_gpu_that_cannot_run_the_single_kernel),
      cmocka_unit_test(test_audio_is_that_of_each_stream),
      cmocka_unit_test(test_one_copy_each_way),
      cmocka_unit_test(test_nothing_is_allocated_and_nothing_waits),
      cmocka_unit_test(test_a_decode_can_be_captured),
      cmocka_unit_test(test_slots_are_bound_and_released),
      cmocka_unit_test(test_snapshots),
      cmocka_unit_test(test_bad_arguments_queue_nothing),
      cmocka_unit_test(test_every_failure_of_a_decode),
      cmocka_unit_test(test_faults_show_late),
      cmocka_unit_test(test_texts),
  };
  return cmocka_run_group_tests(tests, make_utterances, NULL);
}
