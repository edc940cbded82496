/*
 * The public functions of the GPU: the driver opened, memory laid out, work queued.
 *
 * A decode is a list of steps. The first gets all that a call varies, by value, as its parameter, and leaves a copy in
 * the scratch memory; the others get three addresses that never change. As nothing is copied from host memory, any
 * number of decodes may be queued. A build for more streams than a parameter holds begins with a kernel that does
 * nothing else, and is launched as often as it takes. There are four ways to decode, each with its own list:
 *
 *   vocosc_cuda_launches        a chain of kernels; all but the first are one CUDA graph, instantiated once in init,
 *                               whose parameters need no update; or all, and the first's parameter is replaced
 *   vocosc_cuda_single_launch   one cooperative kernel, of at most one block per multiprocessor: the driver refuses it,
 *                               already in init, where blocks would have to wait for each other's end. Its flags are in
 *                               the scratch memory, which init clears
 *   vocosc_cuda_resident_launch the same, on a CUstream of its own, for as many calls as come through the mailbox: all
 *                               else that a call does comes after its end
 *   vocosc_cuda_library_steps   kernels, and cuBLAS and cuFFT between them, or kernels for tensor cores: then a chain
 */
#include "vocosc_cuda.h"

#include <dlfcn.h>
#include <string.h>

#include "vocosc_cuda_call.h"
#include "vocosc_cuda_driver.h"
#include "vocosc_cuda_model.h"
#include "vocosc_model.h"
#if VOCOSC_COUNTS_FRAMES
#include "vocosc_output.h"
#endif
#include "vocosc_values.h"
#if VOCOSC_CUDA_HAS_LIBRARIES
#include "vocosc_cuda_libs.h"
#endif

/* A job's end while its utterance has none. */
#define NO_END 0xffffu

/* In an object's `ready` field after init. */
#define READY 0x43554441u

/*
 * Graphs, ours and those that callers capture, keep programmatic dependences from CUDA 12.3 on. Compute capability 9.0
 * brought them: kernels compiled for less do not wait for the one before, and must not overlap it, whatever the GPU.
 */
#define LEAST_DRIVER_TO_OVERLAP 12030
#define LEAST_ARCHITECTURE_TO_OVERLAP 90

#define SLOT_MEL_BYTES (sizeof(float) * VOCOSC_MAX_FRAMES * VOCOSC_MELS)
#define SLOT_AUDIO_BYTES (VOCOSC_CUDA_STAGING_FLOATS * sizeof(float) - SLOT_MEL_BYTES)

/* What private_words hold. */
typedef struct {
  uint32_t ready;
  uint32_t lost;
  vocosc_cuda_driver driver;
  struct CUctx_st *context;
  int device;
  int holds_primary; /* whether the context is the device's primary one, retained by init */
  struct CUmod_st *module;
  const struct vocosc_cuda_step *steps; /* of a decode */
  int step_count;
  struct CUfunc_st *kernels[VOCOSC_CUDA_MOST_STEPS]; /* of the steps; null where a library does it */
  struct CUfunc_st *flush;
#if VOCOSC_CUDA_HAS_LIBRARIES
  vocosc_cuda_libs libs;
#endif
  struct CUgraphExec_st *graph; /* the steps but the first, or all; null without */
  struct CUgraph_st *captured;  /* what it was made of, and in that the first step; null but for all */
  struct CUgraphNode_st *first_node;
  uint64_t allocated; /* device memory to free; 0: the caller's */
  struct vocosc_cuda_memory memory;
  uint64_t staging; /* [VOCOSC_CUDA_BATCH] mel, then [VOCOSC_CUDA_BATCH] audio */
#if VOCOSC_CUDA_HAS_RESIDENT
  struct vocosc_cuda_mailbox *mailbox;
  struct CUstream_st *own_stream; /* of the resident kernel */
  int is_running;
  uint32_t number; /* of the last call */
  float *audio;    /* of a decode_host: where its audio goes that is in the mailbox, and how much of it, or 0 */
  size_t audio_bytes;
#endif
  int slots;
  vocosc_cuda_slot *table;
  uint64_t calls; /* numbers the calls, so that one can tell whether a slot is in it twice */
} core;

#if VOCOSC_COUNTS_FRAMES
_Static_assert(SETTLED + VOCOSC_MAX_FRAMES + LOOKAHEAD < NO_END, "a job's counters hold all frames");
#endif
_Static_assert(sizeof(core) <= sizeof(((vocosc_cuda *)0)->private_words), "private_words are too few");
#if VOCOSC_CUDA_HAS_RESIDENT
_Static_assert(sizeof(struct vocosc_cuda_parameter) == sizeof(struct vocosc_cuda_call), "a call of one stream");
#endif
_Static_assert(sizeof(struct vocosc_cuda_parameter) <= 4096, "the most that every driver takes as parameters");
_Static_assert(VOCOSC_CUDA_WEIGHT_BYTES % VOCOSC_CUDA_ALIGNMENT == 0, "alignment of what follows");
_Static_assert(VOCOSC_CUDA_STATE_BYTES % VOCOSC_CUDA_ALIGNMENT == 0, "alignment of slots");
_Static_assert(VOCOSC_CUDA_SCRATCH_BYTES % VOCOSC_CUDA_ALIGNMENT == 0, "alignment of what follows");

#define NAME_OF(symbol, member, parameters) #symbol,
static const char symbols[][40] = {VOCOSC_CUDA_FUNCTIONS(NAME_OF)}; /* in the order of vocosc_cuda_driver's members */
_Static_assert(sizeof symbols / sizeof *symbols == sizeof(vocosc_cuda_driver) / sizeof(void *), "a symbol is missing");

size_t vocosc_cuda_memory_bytes(int slots) {
  return slots < 1 || slots > VOCOSC_CUDA_MAX_SLOTS ? 0 : VOCOSC_CUDA_MEMORY_BYTES(slots);
}

const char *vocosc_cuda_status_text(int status) {
  static const struct {
    int status;
    char text[80];
  } texts[] = {
      {VOCOSC_CUDA_NO_DRIVER, "no CUDA driver: libcuda.so.1 is missing, or does not start"},
      {VOCOSC_CUDA_OLD_DRIVER, "old driver: it is older than what these kernels need"},
      {VOCOSC_CUDA_NO_DEVICE, "no device: there is no GPU of this number"},
      {VOCOSC_CUDA_BAD_DEVICE, "bad device: this build has no kernels that run on this GPU"},
      {VOCOSC_CUDA_NO_MEMORY, "no memory: the GPU has not enough of it left"},
      {VOCOSC_CUDA_BAD_POINTER, "bad pointer: a device address is null or misaligned"},
      {VOCOSC_CUDA_BAD_SLOT, "bad slot: out of range, not bound, or bound already"},
      {VOCOSC_CUDA_BAD_OBJECT, "bad object: never initialised, or closed"},
      {VOCOSC_CUDA_LOST, "lost: the GPU's context has failed and cannot be used any more"},
      {VOCOSC_CUDA_FAILED, "failed: the CUDA driver reports an error"},
      {VOCOSC_CUDA_NO_LIBRARY, "no library: cuBLAS or cuFFT is missing, or does not start"},
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    if (texts[i].status == status) return texts[i].text;
  }
  return vocosc_status_text(status);
}

static core *core_of(const vocosc_cuda *cuda) { return (core *)cuda->private_words; }

/* The status of an error of the driver's. LOST: the context can do nothing any more, whatever the call. */
static int status_of_error(int error) {
  if (error >= CUDA_ERROR_HARDWARE_STACK_ERROR && error <= CUDA_ERROR_LAUNCH_FAILED) return VOCOSC_CUDA_LOST;
  switch (error) {
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_INVALID_CONTEXT:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_EXTERNAL_DEVICE:
      return VOCOSC_CUDA_LOST;
    case CUDA_ERROR_OUT_OF_MEMORY:
      return VOCOSC_CUDA_NO_MEMORY;
    case CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    case CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE:
      return VOCOSC_CUDA_OLD_DRIVER;
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_INVALID_DEVICE:
      return VOCOSC_CUDA_NO_DEVICE;
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_PTX:
    case CUDA_ERROR_JIT_COMPILER_NOT_FOUND:
    case CUDA_ERROR_JIT_COMPILATION_DISABLED:
    case CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES:
    case CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE:
    case CUDA_ERROR_NOT_SUPPORTED:
      return VOCOSC_CUDA_BAD_DEVICE;
    default:
      return VOCOSC_CUDA_FAILED;
  }
}

/* The status of a driver's result, which is kept if it is an error. */
static int status_of(vocosc_cuda *cuda, int result) {
  if (result == CUDA_SUCCESS) return VOCOSC_OK;
  const int status = status_of_error(result);
  cuda->driver_code = result;
  if (status == VOCOSC_CUDA_LOST) core_of(cuda)->lost = 1;
  return status;
}

/* ---- work ---- */

/* Queues one kernel, which has one parameter, with a CU_LAUNCH_ATTRIBUTE_..., or 0. */
static int launch(vocosc_cuda *cuda, const struct vocosc_cuda_step *step, struct CUfunc_st *function, void *parameter,
                  int attribute_id, vocosc_cuda_stream stream) {
  const unsigned processors = (unsigned)cuda->multiprocessors;
  const int one_each =
      attribute_id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && cuda->uses_single_kernel && step->grid[0] > processors;
  vocosc_cuda_launch_attribute attribute = {.id = attribute_id, .value = 1};
  const vocosc_cuda_launch_config config = {
      .grid = {one_each ? processors : step->grid[0], step->grid[1], step->grid[2]},
      .block = {step->block, 1, 1},
      .shared_bytes = step->shared_bytes,
      .stream = stream,
      .attributes = &attribute,
      .attribute_count = attribute_id != 0 ? 1 : 0,
  };
  void *parameters[] = {parameter};
  return status_of(cuda, core_of(cuda)->driver.launch(&config, function, parameters, NULL));
}

/*
 * Queues the steps of a decode from one on. The second never overlaps the first: so whatever comes later finds the
 * first one's copy of the call.
 */
static int queue_steps(vocosc_cuda *cuda, int from, struct vocosc_cuda_parameter *call, vocosc_cuda_stream stream) {
  core *core = core_of(cuda);
  int status = VOCOSC_OK;
  for (int i = from; i < core->step_count && status == VOCOSC_OK; i++) {
    const struct vocosc_cuda_step *step = &core->steps[i];
    const int overlaps = cuda->uses_overlap && i > 1 && step->overlaps_previous;
    int attribute = overlaps ? CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION : 0;
    if (cuda->uses_single_kernel && i == core->step_count - 1) attribute = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
#if VOCOSC_CUDA_HAS_LIBRARIES
    if (step->block == 0) {
      const int failed = vocosc_cuda_libs_queue(&core->libs, step, &core->memory, call->count * call->frames, stream);
      status = failed ? VOCOSC_CUDA_FAILED : VOCOSC_OK;
      continue;
    }
#endif
    void *parameter = i == 0 ? (void *)call : (void *)&core->memory;
    status = launch(cuda, step, core->kernels[i], parameter, attribute, stream);
  }
  return status;
}

/* Gives the graph's first kernel this call. */
static int replace_call(vocosc_cuda *cuda, struct vocosc_cuda_parameter *call) {
  const core *core = core_of(cuda);
  const struct vocosc_cuda_step *first = core->steps;
  void *parameters[] = {call};
  const vocosc_cuda_node_parameters node = {
      .function = core->kernels[0],
      .grid = {first->grid[0], first->grid[1], first->grid[2]},
      .block = {first->block, 1, 1},
      .shared_bytes = first->shared_bytes,
      .parameters = parameters,
  };
  return status_of(cuda, core->driver.set_node(core->graph, core->first_node, &node));
}

#if VOCOSC_CUDA_HAS_RESIDENT
/* Hands a call to the resident kernel, which has answered the one before. */
static void ring(core *core, const struct vocosc_cuda_parameter *call) {
  const size_t first = offsetof(struct vocosc_cuda_parameter, number);
  const size_t rest = first + sizeof call->number;
  memcpy(core->mailbox, call, first);
  memcpy((unsigned char *)core->mailbox + rest, (const unsigned char *)call + rest, sizeof *call - rest);
  __atomic_store_n(&core->mailbox->call.number, ++core->number, __ATOMIC_RELEASE);
}

/* Waits until the resident kernel has answered, or is no more: then it is lost. */
static int await_answer(vocosc_cuda *cuda) {
  enum { LOOKS = 1024 }; /* between questions to the driver */
  core *core = core_of(cuda);
  for (int looks = 1; core->is_running; looks = looks % LOOKS + 1) {
    if (__atomic_load_n(&core->mailbox->answered, __ATOMIC_ACQUIRE) == core->number) break;
    const int result = looks < LOOKS ? CUDA_ERROR_NOT_READY : core->driver.query(core->own_stream);
    if (result == CUDA_ERROR_NOT_READY) continue;
    core->is_running = 0;
    return result == CUDA_SUCCESS ? VOCOSC_CUDA_FAILED : status_of(cuda, result);
  }
  if (core->audio_bytes > 0) memcpy(core->audio, core->mailbox->audio, core->audio_bytes);
  core->audio_bytes = 0;
  return VOCOSC_OK;
}

/* Ends the resident kernel, if it runs, so that other work can be queued. */
static int stop_resident(vocosc_cuda *cuda) {
  core *core = core_of(cuda);
  const struct vocosc_cuda_parameter end = {.count = -1};
  const int status = cuda->uses_resident ? await_answer(cuda) : VOCOSC_OK;
  if (status != VOCOSC_OK || !core->is_running) return status;
  ring(core, &end);
  core->is_running = 0;
  return status_of(cuda, core->driver.synchronize(core->own_stream));
}

/* Hands a decode to the resident kernel, which is started behind what the stream has to do if it does not run. */
static int queue_resident(vocosc_cuda *cuda, const struct vocosc_cuda_parameter *call, vocosc_cuda_stream stream) {
  core *core = core_of(cuda);
  int status = await_answer(cuda);
  if (status == VOCOSC_OK && !core->is_running) {
    struct vocosc_cuda_parameter first = {.memory = core->memory, .number = ++core->number};
    first.jobs[0].mel = (uint64_t)(uintptr_t)core->mailbox;
    status = status_of(cuda, core->driver.synchronize(stream));
    if (status == VOCOSC_OK) {
      status = launch(cuda, core->steps, core->kernels[0], &first, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, core->own_stream);
    }
    core->is_running = status == VOCOSC_OK;
  }
  if (status == VOCOSC_OK) ring(core, call);
  return status;
}
#else
static int stop_resident(vocosc_cuda *cuda) {
  (void)cuda;
  return VOCOSC_OK;
}
#endif

/* Queues a decode. Into a stream that is being captured no graph can be launched; the steps themselves can. */
static int queue_decode(vocosc_cuda *cuda, struct vocosc_cuda_parameter *call, vocosc_cuda_stream stream) {
  core *core = core_of(cuda);
  int capturing = CU_STREAM_CAPTURE_STATUS_NONE;
  int status = VOCOSC_OK;
  if (core->graph != NULL || cuda->uses_resident) {
    status = status_of(cuda, core->driver.is_capturing(stream, &capturing));
  }
  if (status != VOCOSC_OK) return status;
  const int is_captured = capturing != CU_STREAM_CAPTURE_STATUS_NONE;
#if VOCOSC_CUDA_HAS_RESIDENT
  if (cuda->uses_resident) return is_captured ? VOCOSC_BAD_ARGUMENT : queue_resident(cuda, call, stream);
#endif
  if (core->graph == NULL || is_captured) return queue_steps(cuda, 0, call, stream);
  status = core->first_node != NULL ? replace_call(cuda, call)
                                    : launch(cuda, core->steps, core->kernels[0], call, 0, stream);
  return status == VOCOSC_OK ? status_of(cuda, core->driver.launch_graph(core->graph, stream)) : status;
}

static int queue_flush(vocosc_cuda *cuda, struct vocosc_cuda_parameter *call, vocosc_cuda_stream stream) {
  return launch(cuda, vocosc_cuda_flush_launch, core_of(cuda)->flush, call, 0, stream);
}

static uint64_t slot_address(const core *core, int slot) {
  return core->memory.state + (uint64_t)slot * VOCOSC_CUDA_STATE_BYTES;
}

static int queue_silence(vocosc_cuda *cuda, int slot, vocosc_cuda_stream stream) {
  const core *core = core_of(cuda);
  return status_of(cuda, core->driver.fill(slot_address(core, slot), 0, VOCOSC_CUDA_STATE_BYTES, stream));
}

/* ---- init and close ---- */

/* The device memory that an object takes. */
static size_t bytes_needed(const vocosc_cuda_options *options) {
  return options->weights_of == NULL ? VOCOSC_CUDA_MEMORY_BYTES(options->slots)
                                     : VOCOSC_CUDA_SHARING_BYTES(options->slots);
}

static int check_options(const vocosc_cuda_options *options) {
  const int known = VOCOSC_CUDA_ALLOCATE | VOCOSC_CUDA_NO_GRAPH | VOCOSC_CUDA_NO_OVERLAP | VOCOSC_CUDA_SINGLE_KERNEL |
                    VOCOSC_CUDA_ONE_GRAPH | VOCOSC_CUDA_SECOND_WAY | VOCOSC_CUDA_HAS_RESIDENT * VOCOSC_CUDA_RESIDENT;
  if (options == NULL || (options->flags & ~known) != 0 || options->device < 0) return VOCOSC_BAD_ARGUMENT;
  if (options->slots < 1 || options->slots > VOCOSC_CUDA_MAX_SLOTS || options->table == NULL) {
    return VOCOSC_BAD_ARGUMENT;
  }
  if ((options->flags & VOCOSC_CUDA_ALLOCATE) != 0) return options->memory == 0 ? VOCOSC_OK : VOCOSC_BAD_ARGUMENT;
  if (options->memory == 0 || options->memory % VOCOSC_CUDA_ALIGNMENT != 0) return VOCOSC_CUDA_BAD_POINTER;
  return options->memory_bytes < bytes_needed(options) ? VOCOSC_BAD_ARGUMENT : VOCOSC_OK;
}

/* dlsym as options.symbol: its context is what dlopen gave. */
static void *library_symbol(void *library, const char *name) { return dlsym(library, name); }

/* Finds the driver's functions, and starts it. */
static int open_driver(vocosc_cuda *cuda, const vocosc_cuda_options *options) {
  core *core = core_of(cuda);
  void *context = options->symbol_context;
  void *(*symbol)(void *, const char *) = options->symbol;
  if (symbol == NULL) {
    context = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (context == NULL) return VOCOSC_CUDA_NO_DRIVER;
    symbol = library_symbol;
  }
  size_t found = 0;
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *function = symbol(context, symbols[i]);
    memcpy((void **)&core->driver + i, &function, sizeof function);
    found += function != NULL;
  }
  /* Every driver has these two: what lacks them is none. */
  if (core->driver.init == NULL || core->driver.driver_version == NULL) return VOCOSC_CUDA_NO_DRIVER;
  const int started = core->driver.init(0);
  if (started == CUDA_SUCCESS) {
    const int status = status_of(cuda, core->driver.driver_version(&cuda->driver_version));
    if (status != VOCOSC_OK) return status;
    const int is_old = cuda->driver_version < VOCOSC_CUDA_LEAST_DRIVER || found < sizeof symbols / sizeof *symbols;
    return is_old ? VOCOSC_CUDA_OLD_DRIVER : VOCOSC_OK;
  }
  const int status = status_of(cuda, started);
  return status == VOCOSC_CUDA_NO_DEVICE || status == VOCOSC_CUDA_OLD_DRIVER ? status : VOCOSC_CUDA_NO_DRIVER;
}

/* Makes the object's context current where it is not. Says through *pushed whether `leave` has to put another back. */
static int enter(vocosc_cuda *cuda, int *pushed) {
  const core *core = core_of(cuda);
  struct CUctx_st *current = NULL;
  *pushed = 0;
  int status = status_of(cuda, core->driver.current(&current));
  if (status != VOCOSC_OK || current == core->context) return status;
  status = status_of(cuda, core->driver.push(core->context));
  *pushed = status == VOCOSC_OK;
  return status;
}

static void leave(const core *core, int pushed) {
  struct CUctx_st *popped;
  if (pushed) core->driver.pop(&popped);
}

/* Takes the current context, or, if there is none, the primary one of options.device. */
static int choose_context(vocosc_cuda *cuda, const vocosc_cuda_options *options) {
  core *core = core_of(cuda);
  int status = status_of(cuda, core->driver.current(&core->context));
  if (status != VOCOSC_OK) return status;
  if (core->context != NULL) return status_of(cuda, core->driver.current_device(&core->device));
  status = status_of(cuda, core->driver.device(&core->device, options->device));
  if (status == VOCOSC_OK) status = status_of(cuda, core->driver.retain_primary(&core->context, core->device));
  core->holds_primary = status == VOCOSC_OK;
  return status;
}

static int ask_device(vocosc_cuda *cuda) {
  const core *core = core_of(cuda);
  const int asked[] = {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                       CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT};
  int values[3] = {0};
  int result = CUDA_SUCCESS;
  for (int i = 0; i < 3 && result == CUDA_SUCCESS; i++) {
    result = core->driver.device_attribute(&values[i], asked[i], core->device);
  }
  cuda->architecture = 10 * values[0] + values[1];
  cuda->multiprocessors = values[2];
  return status_of(cuda, result);
}

/*
 * How well an image suits an architecture: 0, not at all. Machine code runs on chips of the same major number and the
 * same or a higher minor one; PTX can be compiled for all that come after. Machine code is better, and so is the
 * latest.
 */
static unsigned suitability(const struct vocosc_cuda_image *image, unsigned architecture) {
  if (image->architecture > architecture) return 0;
  if (image->is_ptx) return image->architecture;
  return image->architecture / 10 == architecture / 10 ? 1000 + image->architecture : 0;
}

/* Loads the most suitable image that the driver is new enough for, and accepts. */
static int load_kernels(vocosc_cuda *cuda) {
  core *core = core_of(cuda);
  int status = VOCOSC_CUDA_BAD_DEVICE;
  for (unsigned last = 10000;;) {
    const struct vocosc_cuda_image *best = NULL;
    unsigned most = 0;
    for (int i = 0; i < VOCOSC_CUDA_IMAGES; i++) {
      const unsigned suits = suitability(&vocosc_cuda_image_table[i], (unsigned)cuda->architecture);
      if (suits <= most || suits >= last) continue;
      most = suits;
      best = &vocosc_cuda_image_table[i];
    }
    if (best == NULL) return status;
    last = most;
    if (best->least_driver > cuda->driver_version) {
      status = VOCOSC_CUDA_OLD_DRIVER;
      continue;
    }
    status = status_of(cuda, core->driver.load_module(&core->module, vocosc_cuda_images + best->offset));
    if (status == VOCOSC_OK) {
      cuda->image_architecture = (int)best->architecture;
      cuda->image_is_ptx = (int)best->is_ptx;
      return VOCOSC_OK;
    }
    if (status != VOCOSC_CUDA_BAD_DEVICE && status != VOCOSC_CUDA_OLD_DRIVER) return status;
  }
}

/*
 * Finds a kernel in the module, and lets it have its shared memory; that also makes the driver load it now. All prefer
 * as much of a multiprocessor's memory as can be: it would be divided anew between kernels that differ in that.
 */
static int find_kernel(vocosc_cuda *cuda, const struct vocosc_cuda_step *step, struct CUfunc_st **function) {
  const core *core = core_of(cuda);
  const int status = status_of(cuda, core->driver.function(function, core->module, step->kernel));
  if (status != VOCOSC_OK) return status;
  const int result =
      core->driver.set_function(*function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)step->shared_bytes);
  const int allowed = status_of(cuda, result);
  if (allowed != VOCOSC_OK) return allowed == VOCOSC_CUDA_FAILED ? VOCOSC_CUDA_BAD_DEVICE : allowed; /* not that much */
  return status_of(cuda, core->driver.set_function(*function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                                                   CU_SHAREDMEM_CARVEOUT_MAX_SHARED));
}

/* Chooses the steps, and finds their kernels. */
static int find_kernels(vocosc_cuda *cuda) {
  core *core = core_of(cuda);
  core->steps = cuda->uses_single_kernel ? vocosc_cuda_single_launch : vocosc_cuda_launches;
  core->step_count = cuda->uses_single_kernel ? VOCOSC_CUDA_SINGLE_LAUNCHES : VOCOSC_CUDA_LAUNCHES;
#if VOCOSC_CUDA_HAS_RESIDENT
  if (cuda->uses_resident) {
    core->steps = vocosc_cuda_resident_launch;
    core->step_count = 1;
    const size_t bytes = sizeof *core->mailbox;
    void *memory = NULL;
    int status = status_of(cuda, core->driver.allocate_host(&memory, bytes, 0));
    if (status != VOCOSC_OK) return status;
    core->mailbox = memset(memory, 0, bytes);
    status = status_of(cuda, core->driver.create_stream(&core->own_stream, CU_STREAM_NON_BLOCKING));
    if (status != VOCOSC_OK) return status;
  }
#endif
#if VOCOSC_CUDA_LIBRARY_STEPS > 0
  if (cuda->uses_libraries || cuda->uses_tensor) {
    core->steps = vocosc_cuda_library_steps;
    core->step_count = VOCOSC_CUDA_LIBRARY_STEPS;
  }
#endif
#if VOCOSC_CUDA_HAS_LIBRARIES
  if (cuda->uses_libraries && vocosc_cuda_libs_open(&core->libs, VOCOSC_CUDA_BATCH * VOCOSC_MAX_FRAMES) != 0) {
    return VOCOSC_CUDA_NO_LIBRARY;
  }
#endif
  int status = find_kernel(cuda, vocosc_cuda_flush_launch, &core->flush);
  for (int i = 0; i < core->step_count && status == VOCOSC_OK; i++) {
    if (core->steps[i].block > 0) status = find_kernel(cuda, &core->steps[i], &core->kernels[i]);
  }
  return status;
}

/* Lays out the memory: the weights, unless another object has them, the scratch, the staging, the slots. */
static int lay_out_memory(vocosc_cuda *cuda, const vocosc_cuda_options *options) {
  core *core = core_of(cuda);
  uint64_t next = options->memory;
  if ((options->flags & VOCOSC_CUDA_ALLOCATE) != 0) {
    const int status = status_of(cuda, core->driver.allocate(&core->allocated, bytes_needed(options)));
    if (status != VOCOSC_OK) return status;
    next = core->allocated;
  }
  if (options->weights_of != NULL) {
    core->memory.weights = core_of(options->weights_of)->memory.weights;
  } else {
    core->memory.weights = next;
    next += VOCOSC_CUDA_WEIGHT_BYTES;
  }
  core->memory.scratch = next;
  core->staging = core->memory.scratch + VOCOSC_CUDA_SCRATCH_BYTES;
  core->memory.state = core->staging + VOCOSC_CUDA_STAGING_BYTES;
  core->slots = options->slots;
  core->table = options->table;
  memset(core->table, 0, sizeof *core->table * (size_t)core->slots);
  return VOCOSC_OK;
}

/* Captures the steps but the first, or all, as a graph. */
static int make_graph(vocosc_cuda *cuda, struct vocosc_cuda_parameter *call, vocosc_cuda_stream stream) {
  core *core = core_of(cuda);
  const int has_first = cuda->uses_graph > 1;
  struct CUgraph_st *graph = NULL;
  size_t one = 1;
  int status = status_of(cuda, core->driver.begin_capture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  if (status != VOCOSC_OK) return status;
  status = queue_steps(cuda, has_first ? 0 : 1, call, stream);
  const int captured = status_of(cuda, core->driver.end_capture(stream, &graph));
  if (status == VOCOSC_OK) status = captured;
  if (status == VOCOSC_OK) status = status_of(cuda, core->driver.instantiate_graph(&core->graph, graph, 0));
  if (status == VOCOSC_OK && has_first)
    status = status_of(cuda, core->driver.root_nodes(graph, &core->first_node, &one));
  if (has_first) core->captured = graph;
  if (graph != NULL && !has_first) core->driver.destroy_graph(graph);
  return status == VOCOSC_OK ? status_of(cuda, core->driver.upload_graph(core->graph, stream)) : status;
}

/* Fills the memory, and runs every kernel once, on nothing: what cannot run says so here, and no chunk is the first. */
static int prepare(vocosc_cuda *cuda, const vocosc_cuda_options *options, vocosc_cuda_stream stream) {
  core *core = core_of(cuda);
  struct vocosc_cuda_parameter nothing;
  memset(&nothing, 0, sizeof nothing);
  nothing.memory = core->memory;
  int status = status_of(cuda, core->driver.fill(core->memory.scratch, 0, VOCOSC_CUDA_SCRATCH_BYTES, stream));
  if (status == VOCOSC_OK && options->weights_of == NULL) {
    status = status_of(
        cuda, core->driver.copy_in(core->memory.weights, vocosc_cuda_weights, VOCOSC_CUDA_WEIGHT_BYTES, stream));
  }
  if (status == VOCOSC_OK && cuda->uses_graph) status = make_graph(cuda, &nothing, stream);
  if (status == VOCOSC_OK) status = queue_decode(cuda, &nothing, stream);
  if (status == VOCOSC_OK) status = stop_resident(cuda);
  if (status == VOCOSC_OK) status = queue_flush(cuda, &nothing, stream);
  return status == VOCOSC_OK ? status_of(cuda, core->driver.synchronize(stream)) : status;
}

/* Does all that needs the context to be current. */
static int start(vocosc_cuda *cuda, const vocosc_cuda_options *options) {
  core *core = core_of(cuda);
  struct CUstream_st *stream = NULL;
  int status = ask_device(cuda);
  if (status == VOCOSC_OK) status = load_kernels(cuda);
  cuda->uses_libraries = (options->flags & VOCOSC_CUDA_LIBRARIES) != 0;
  cuda->uses_tensor = (options->flags & VOCOSC_CUDA_TENSOR) != 0;
  cuda->uses_resident = (options->flags & VOCOSC_CUDA_RESIDENT) != 0;
  const int is_other = cuda->uses_libraries || cuda->uses_tensor || cuda->uses_resident;
  cuda->uses_single_kernel = !is_other && (options->flags & VOCOSC_CUDA_SINGLE_KERNEL) != 0;
  const int is_chain = !cuda->uses_libraries && !cuda->uses_single_kernel && !cuda->uses_resident;
  cuda->uses_graph = is_chain && (options->flags & VOCOSC_CUDA_NO_GRAPH) == 0;
  cuda->uses_graph += cuda->uses_graph && (options->flags & VOCOSC_CUDA_ONE_GRAPH) != 0;
  cuda->uses_overlap = is_chain && (options->flags & VOCOSC_CUDA_NO_OVERLAP) == 0 &&
                       cuda->image_architecture >= LEAST_ARCHITECTURE_TO_OVERLAP &&
                       cuda->driver_version >= LEAST_DRIVER_TO_OVERLAP;
  if (status == VOCOSC_OK) status = find_kernels(cuda);
  if (status == VOCOSC_OK) status = lay_out_memory(cuda, options);
  if (status == VOCOSC_OK) status = status_of(cuda, core->driver.create_stream(&stream, CU_STREAM_NON_BLOCKING));
  if (status != VOCOSC_OK) return status;
  status = prepare(cuda, options, stream);
  core->driver.destroy_stream(stream);
  return status;
}

/* Gives back what init took. What the driver says to that helps nobody. */
static void give_back(vocosc_cuda *cuda) {
  core *core = core_of(cuda);
  const int code = cuda->driver_code;
  int pushed;
  enter(cuda, &pushed);
#if VOCOSC_CUDA_HAS_LIBRARIES
  vocosc_cuda_libs_close(&core->libs);
#endif
#if VOCOSC_CUDA_HAS_RESIDENT
  stop_resident(cuda);
  if (core->own_stream != NULL) core->driver.destroy_stream(core->own_stream);
  if (core->mailbox != NULL) core->driver.free_host(core->mailbox);
#endif
  if (core->graph != NULL) core->driver.destroy_graph_exec(core->graph);
  if (core->captured != NULL) core->driver.destroy_graph(core->captured);
  if (core->allocated != 0) core->driver.free(core->allocated);
  if (core->module != NULL) core->driver.unload_module(core->module);
  leave(core, pushed);
  if (core->holds_primary) core->driver.release_primary(core->device);
  cuda->driver_code = code;
}

/* Whether the weights of another object can be used: it is alive and in the same context. */
static int can_share(const core *core, const vocosc_cuda *owner) {
  return core_of(owner)->ready == READY && !core_of(owner)->lost && core_of(owner)->context == core->context;
}

int vocosc_cuda_init(vocosc_cuda *cuda, const vocosc_cuda_options *options) {
  if (cuda == NULL) return VOCOSC_BAD_ARGUMENT;
  memset(cuda, 0, sizeof *cuda);
  core *core = core_of(cuda);
  int status = check_options(options);
  if (status == VOCOSC_OK) status = open_driver(cuda, options);
  if (status == VOCOSC_OK) status = choose_context(cuda, options);
  if (status == VOCOSC_OK) {
    int pushed = 0;
    if (options->weights_of != NULL && !can_share(core, options->weights_of)) status = VOCOSC_BAD_ARGUMENT;
    if (status == VOCOSC_OK) status = enter(cuda, &pushed);
    if (status == VOCOSC_OK) status = start(cuda, options);
    leave(core, pushed);
    if (status != VOCOSC_OK) give_back(cuda);
  }
  core->ready = status == VOCOSC_OK ? READY : 0;
  return status;
}

int vocosc_cuda_close(vocosc_cuda *cuda) {
  if (cuda == NULL) return VOCOSC_BAD_ARGUMENT;
  if (core_of(cuda)->ready != READY) return VOCOSC_CUDA_BAD_OBJECT;
  give_back(cuda);
  memset(cuda, 0, sizeof *cuda);
  return VOCOSC_OK;
}

/* ---- slots ---- */

static int check_object(const vocosc_cuda *cuda) {
  if (cuda == NULL) return VOCOSC_BAD_ARGUMENT;
  if (core_of(cuda)->ready != READY) return VOCOSC_CUDA_BAD_OBJECT;
  return core_of(cuda)->lost ? VOCOSC_CUDA_LOST : VOCOSC_OK;
}

/* The status of a call for one slot, which must be bound, or must not. */
static int check_slot(const vocosc_cuda *cuda, int slot, int bound) {
  const int status = check_object(cuda);
  if (status != VOCOSC_OK) return status;
  const core *core = core_of(cuda);
  if (slot < 0 || slot >= core->slots) return VOCOSC_CUDA_BAD_SLOT;
  return (core->table[slot].last_call != 0) == bound ? VOCOSC_OK : VOCOSC_CUDA_BAD_SLOT;
}

static int silence_slot(vocosc_cuda *cuda, int slot, int was_bound, vocosc_cuda_stream stream) {
  int pushed;
  int status = check_slot(cuda, slot, was_bound);
  if (status != VOCOSC_OK) return status;
  core *core = core_of(cuda);
  status = enter(cuda, &pushed);
  if (status == VOCOSC_OK) status = stop_resident(cuda);
  if (status == VOCOSC_OK) status = queue_silence(cuda, slot, stream);
  leave(core, pushed);
  if (status == VOCOSC_OK) core->table[slot].frames = 0;
  if (status == VOCOSC_OK && !was_bound) core->table[slot].last_call = ++core->calls;
  return status;
}

int vocosc_cuda_bind(vocosc_cuda *cuda, int slot, vocosc_cuda_stream stream) {
  return silence_slot(cuda, slot, 0, stream);
}

int vocosc_cuda_reset(vocosc_cuda *cuda, int slot, vocosc_cuda_stream stream) {
  return silence_slot(cuda, slot, 1, stream);
}

int vocosc_cuda_release(vocosc_cuda *cuda, int slot) {
  const int status = check_slot(cuda, slot, 1);
  if (status == VOCOSC_OK) core_of(cuda)->table[slot].last_call = 0;
  return status;
}

/*
 * Queues the copy of a slot's state to host memory or, where `to` is null, from there. The count of frames, last in a
 * snapshot, is the host's own and copied at once.
 */
static int copy_state(vocosc_cuda *cuda, int slot, void *to, const void *from, vocosc_cuda_stream stream) {
  int pushed;
  int status = check_slot(cuda, slot, 1);
  if (status == VOCOSC_OK && to == NULL && from == NULL) status = VOCOSC_BAD_ARGUMENT;
  if (status != VOCOSC_OK) return status;
  const core *core = core_of(cuda);
  const uint64_t at = slot_address(core, slot);
  status = enter(cuda, &pushed);
  if (status == VOCOSC_OK) status = stop_resident(cuda);
  if (status == VOCOSC_OK) {
    status = status_of(cuda, to != NULL ? core->driver.copy_out(to, at, VOCOSC_CUDA_VALUE_BYTES, stream)
                                        : core->driver.copy_in(at, from, VOCOSC_CUDA_VALUE_BYTES, stream));
  }
  leave(core, pushed);
#if VOCOSC_COUNTS_FRAMES
  uint32_t *frames = &core->table[slot].frames;
  if (status == VOCOSC_OK && to != NULL) {
    memcpy((unsigned char *)to + VOCOSC_CUDA_VALUE_BYTES, frames, sizeof *frames);
  } else if (status == VOCOSC_OK) {
    memcpy(frames, (const unsigned char *)from + VOCOSC_CUDA_VALUE_BYTES, sizeof *frames);
    if (*frames > SETTLED) *frames = SETTLED;
  }
#endif
  return status;
}

int vocosc_cuda_save(vocosc_cuda *cuda, int slot, void *state, vocosc_cuda_stream stream) {
  return copy_state(cuda, slot, state, NULL, stream);
}

int vocosc_cuda_restore(vocosc_cuda *cuda, int slot, const void *state, vocosc_cuda_stream stream) {
  return copy_state(cuda, slot, NULL, state, stream);
}

int vocosc_cuda_wait(vocosc_cuda *cuda, vocosc_cuda_stream stream) {
  int pushed;
  int status = check_object(cuda);
  if (status != VOCOSC_OK) return status;
  status = enter(cuda, &pushed);
#if VOCOSC_CUDA_HAS_RESIDENT
  if (status == VOCOSC_OK && core_of(cuda)->is_running) {
    status = await_answer(cuda);
    leave(core_of(cuda), pushed);
    return status;
  }
#endif
  if (status == VOCOSC_OK) status = status_of(cuda, core_of(cuda)->driver.synchronize(stream));
  leave(core_of(cuda), pushed);
  return status;
}

/* ---- decoding ---- */

/* What a call does for all of its chunks. */
typedef struct {
  const vocosc_cuda_chunk *chunks;
  int count;
  int frames;  /* 0: a flush */
  int on_host; /* whether mel and audio are in host memory */
  vocosc_cuda_stream stream;
} request;

/* The samples that so many frames more, or, if there are none, a flush gives a slot. */
static int samples_of(const core *core, int slot, int frames) {
#if VOCOSC_COUNTS_FRAMES
  const int seen = (int)core->table[slot].frames;
  if (frames > 0) return samples_out(seen + frames) - samples_out(seen);
  const int trimmed = seen * HOP < TRIM ? TRIM - seen * HOP : 0;
  const int left = trimmed < OVERLAP - TRIM ? OVERLAP - TRIM - trimmed : 0;
  return seen == 0 ? 0 : samples_out(seen + LOOKAHEAD) - samples_out(seen) + left;
#else
  (void)core, (void)slot;
  return frames > 0 ? frames * VOCOSC_HOP : VOCOSC_TAIL;
#endif
}

static int check_device_pointer(const float *pointer) {
  return pointer == NULL || (uintptr_t)pointer % sizeof(float) != 0 ? VOCOSC_CUDA_BAD_POINTER : VOCOSC_OK;
}

/* The status of a chunk's arrays. */
static int check_arrays(const request *request, const vocosc_cuda_chunk *chunk) {
  if (!request->on_host) {
    const int status = request->frames > 0 ? check_device_pointer(chunk->mel) : VOCOSC_OK;
    return status == VOCOSC_OK ? check_device_pointer(chunk->audio) : status;
  }
  if (chunk->audio == NULL || (request->frames > 0 && chunk->mel == NULL)) return VOCOSC_BAD_ARGUMENT;
  return request->frames == 0 || all_finite(chunk->mel, request->frames * VOCOSC_MELS) ? VOCOSC_OK : VOCOSC_BAD_INPUT;
}

static int check_request(const vocosc_cuda *cuda, const request *request) {
  const int status = check_object(cuda);
  if (status != VOCOSC_OK) return status;
  core *core = core_of(cuda);
  if (request->chunks == NULL || request->count < 1 || request->count > VOCOSC_CUDA_BATCH) return VOCOSC_BAD_ARGUMENT;
  core->calls++;
  for (int i = 0; i < request->count; i++) {
    const int slot = request->chunks[i].slot;
    if (slot < 0 || slot >= core->slots || core->table[slot].last_call == 0) return VOCOSC_CUDA_BAD_SLOT;
    if (core->table[slot].last_call == core->calls) return VOCOSC_BAD_ARGUMENT;
    core->table[slot].last_call = core->calls;
  }
  for (int i = 0; i < request->count; i++) {
    const int arrays = check_arrays(request, &request->chunks[i]);
    if (arrays != VOCOSC_OK) return arrays;
  }
  return VOCOSC_OK;
}

static uint64_t staged_mel(const core *core, int i) { return core->staging + (uint64_t)i * SLOT_MEL_BYTES; }

static uint64_t staged_audio(const core *core, int i) {
  return core->staging + VOCOSC_CUDA_BATCH * SLOT_MEL_BYTES + (uint64_t)i * SLOT_AUDIO_BYTES;
}

static const float *array_of(const vocosc_cuda_chunk *chunk, int is_mel) { return is_mel ? chunk->mel : chunk->audio; }

/* The bytes of an array of a call. */
static size_t bytes_of(const core *core, const request *request, int i, int is_mel) {
  return sizeof(float) *
         (size_t)(is_mel ? request->frames * VOCOSC_MELS : samples_of(core, request->chunks[i].slot, request->frames));
}

/* Bytes from each array of a call to the next one, if they are always as many and enough; else 0. */
static size_t spacing(const core *core, const request *request, int is_mel) {
  const size_t bytes = bytes_of(core, request, 0, is_mel);
  const uintptr_t first = (uintptr_t)array_of(request->chunks, is_mel);
  const size_t found = request->count > 1 ? (size_t)((uintptr_t)array_of(request->chunks + 1, is_mel) - first) : 0;
  int is_even = bytes > 0 && found >= bytes && found < INT32_MAX;
  for (int i = 1; i < request->count; i++) {
    is_even &= (uintptr_t)array_of(request->chunks + i, is_mel) == first + found * (size_t)i;
    is_even &= bytes_of(core, request, i, is_mel) == bytes;
  }
  return is_even ? found : 0;
}

/* Queues the copies of mel to the GPU, or of audio from there: one, if the arrays are evenly spaced. */
static int queue_copies(vocosc_cuda *cuda, const request *request, int is_mel) {
  const core *core = core_of(cuda);
  const size_t apart = spacing(core, request, is_mel);
  int result = CUDA_SUCCESS;
  if (apart > 0) {
    const vocosc_cuda_rows host = {
        .memory = CU_MEMORYTYPE_HOST, .host = array_of(request->chunks, is_mel), .pitch = apart};
    const vocosc_cuda_rows device = {.memory = CU_MEMORYTYPE_DEVICE,
                                     .device = is_mel ? staged_mel(core, 0) : staged_audio(core, 0),
                                     .pitch = is_mel ? SLOT_MEL_BYTES : SLOT_AUDIO_BYTES};
    const vocosc_cuda_rows_copy copy = {is_mel ? host : device, is_mel ? device : host,
                                        bytes_of(core, request, 0, is_mel), (size_t)request->count};
    return status_of(cuda, core->driver.copy_rows(&copy, request->stream));
  }
  for (int i = 0; i < request->count && result == CUDA_SUCCESS; i++) {
    const vocosc_cuda_chunk *chunk = &request->chunks[i];
    const size_t bytes = bytes_of(core, request, i, is_mel);
    if (bytes == 0) continue;
    result = is_mel ? core->driver.copy_in(staged_mel(core, i), chunk->mel, bytes, request->stream)
                    : core->driver.copy_out(chunk->audio, staged_audio(core, i), bytes, request->stream);
  }
  return status_of(cuda, result);
}

/* Queues the end of utterances: the layers run dry on frames that are none, then the overlap goes out; and silence. */
static int queue_end(vocosc_cuda *cuda, struct vocosc_cuda_parameter *call, vocosc_cuda_stream stream) {
  const struct vocosc_cuda_parameter all = *call;
  int status = VOCOSC_OK;
#if VOCOSC_COUNTS_FRAMES
  call->count = 0;
  for (int i = 0; i < all.count; i++) {
    const uint16_t frames = all.jobs[i].seen;
    if (frames == 0) continue;
    call->jobs[call->count] = all.jobs[i];
    call->jobs[call->count].mel = 0;
    call->jobs[call->count++].end = frames;
  }
  for (int left = LOOKAHEAD; left > 0 && call->count > 0 && status == VOCOSC_OK; left -= call->frames) {
    call->frames = left < VOCOSC_MAX_FRAMES ? left : VOCOSC_MAX_FRAMES;
    status = queue_decode(cuda, call, stream);
    for (int i = 0; i < call->count; i++) {
      struct vocosc_cuda_job *job = &call->jobs[i];
      const int seen = job->seen + call->frames;
      job->audio += sizeof(float) * (size_t)(samples_out(seen) - samples_out(job->seen));
      job->seen = (uint16_t)seen;
    }
  }
#endif
  if (status == VOCOSC_OK) status = stop_resident(cuda);
  if (status == VOCOSC_OK && call->count > 0) status = queue_flush(cuda, call, stream);
  for (int i = 0; i < all.count && status == VOCOSC_OK; i++) status = queue_silence(cuda, all.jobs[i].slot, stream);
  return status;
}

#if VOCOSC_CUDA_HAS_RESIDENT
/* Has the mel of a decode taken from the mailbox, which the kernel copies to scratch, and its audio put there. */
static int use_mailbox(vocosc_cuda *cuda, const request *request, struct vocosc_cuda_job *job) {
  core *core = core_of(cuda);
  const int status = await_answer(cuda);
  if (status != VOCOSC_OK) return status;
  memcpy(core->mailbox->mel, request->chunks->mel, bytes_of(core, request, 0, 1));
  job->mel = core->memory.scratch + offsetof(struct vocosc_cuda_mailbox, mel);
  job->audio = (uint64_t)(uintptr_t)core->mailbox->audio;
  return VOCOSC_OK;
}
#endif

/* Queues all the work of a call, whose arguments were checked. */
static int queue_request(vocosc_cuda *cuda, const request *request) {
  core *core = core_of(cuda);
  struct vocosc_cuda_parameter call;
  memset(&call, 0, sizeof call);
  call.memory = core->memory;
  call.frames = request->frames;
  const int copies = request->on_host && !(cuda->uses_resident && request->frames > 0);
  int status = copies ? queue_copies(cuda, request, 1) : VOCOSC_OK;
  for (int first = 0; first < request->count && status == VOCOSC_OK; first += VOCOSC_CUDA_PARAMETER_JOBS) {
    const int left = request->count - first;
    const int here = left < VOCOSC_CUDA_PARAMETER_JOBS ? left : VOCOSC_CUDA_PARAMETER_JOBS;
    for (int i = 0; i < here; i++) {
      const vocosc_cuda_chunk *chunk = &request->chunks[first + i];
      struct vocosc_cuda_job *job = &call.jobs[i];
      job->slot = chunk->slot;
      job->seen = (uint16_t)core->table[chunk->slot].frames;
      job->end = NO_END;
      job->mel = request->on_host ? staged_mel(core, first + i) : (uint64_t)(uintptr_t)chunk->mel;
      job->audio = request->on_host ? staged_audio(core, first + i) : (uint64_t)(uintptr_t)chunk->audio;
    }
#if VOCOSC_CUDA_HAS_RESIDENT
    if (request->on_host && !copies) status = use_mailbox(cuda, request, &call.jobs[0]);
    if (status != VOCOSC_OK) return status;
#endif
    call.count = request->frames > 0 ? request->count : here;
    call.first = request->frames > 0 ? first : 0;
    if (request->frames == 0) {
      status = queue_end(cuda, &call, request->stream);
      call.frames = 0;
    } else if (here < left) {
      status = launch(cuda, core->steps, core->kernels[0], &call, 0, request->stream); /* leaves these jobs */
    } else {
      status = queue_decode(cuda, &call, request->stream);
    }
  }
#if VOCOSC_CUDA_HAS_RESIDENT
  if (status == VOCOSC_OK && request->on_host && !copies) {
    core->audio = request->chunks->audio;
    core->audio_bytes = bytes_of(core, request, 0, 0);
  }
#endif
  return status == VOCOSC_OK && copies ? queue_copies(cuda, request, 0) : status;
}

/* A call: a decode or, of no frames, a flush. */
static int run(vocosc_cuda *cuda, const request *request) {
  int pushed;
  int most = 0;
  int status = check_request(cuda, request);
  if (status != VOCOSC_OK) return status;
  core *core = core_of(cuda);
  status = enter(cuda, &pushed);
  if (status == VOCOSC_OK) status = queue_request(cuda, request);
  leave(core, pushed);
  if (status != VOCOSC_OK) return status;
  for (int i = 0; i < request->count; i++) {
    const int slot = request->chunks[i].slot;
    const int samples = samples_of(core, slot, request->frames);
    if (samples > most) most = samples;
#if VOCOSC_COUNTS_FRAMES
    const uint32_t frames = core->table[slot].frames + (uint32_t)request->frames;
    core->table[slot].frames = request->frames == 0 ? 0 : frames < SETTLED ? frames : SETTLED;
#endif
  }
  return most;
}

static int decode(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, int frames, int on_host,
                  vocosc_cuda_stream stream) {
  if (frames < 1 || frames > VOCOSC_MAX_FRAMES) return VOCOSC_BAD_ARGUMENT;
  const request request = {chunks, count, frames, on_host, stream};
  return run(cuda, &request);
}
#if VOCOSC_COUNTS_FRAMES

int vocosc_cuda_samples(const vocosc_cuda *cuda, int slot, int frames) {
  const int status = check_slot(cuda, slot, 1);
  if (status != VOCOSC_OK) return status;
  return frames < 0 || frames > VOCOSC_MAX_FRAMES ? VOCOSC_BAD_ARGUMENT : samples_of(core_of(cuda), slot, frames);
}
#endif

int vocosc_cuda_decode(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, int frames,
                       vocosc_cuda_stream stream) {
  return decode(cuda, chunks, count, frames, 0, stream);
}

int vocosc_cuda_decode_host(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, int frames,
                            vocosc_cuda_stream stream) {
  return decode(cuda, chunks, count, frames, 1, stream);
}

int vocosc_cuda_flush(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, vocosc_cuda_stream stream) {
  const request request = {chunks, count, 0, 0, stream};
  return run(cuda, &request);
}

int vocosc_cuda_flush_host(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, vocosc_cuda_stream stream) {
  const request request = {chunks, count, 0, 1, stream};
  return run(cuda, &request);
}
