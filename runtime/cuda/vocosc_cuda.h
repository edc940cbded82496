/*
 * The same vocoder on an NVIDIA GPU, for many streams at once. The code of the CPU (vocosc.h) is in the same object and
 * knows nothing of this one: where init says that there is no GPU to be had, go on with that.
 *
 * Init loads the kernels, and the weights once. After it nothing is allocated, nothing waits, and no call reads what
 * the GPU has computed: every call queues work on the CUstream that it is given and returns. Only vocosc_cuda_wait
 * waits.
 *
 * The state of a stream lives on the GPU, in a numbered slot that the caller binds and releases. Device memory is the
 * caller's, VOCOSC_CUDA_MEMORY_BYTES(slots) of it, or, if options.flags say so, allocated by init and freed by close.
 * Of CUDA only the driver is needed, and only at run time: init opens libcuda.so.1 by dlopen (before glibc 2.34 link
 * with -ldl) and leaves it open, since drivers are not made to be unloaded; options.symbol can replace that.
 *
 * Contexts: init takes the context that is current on the calling thread; where none is, it retains the primary context
 * of options.device until close. Every call makes that context current for as long as it takes, and puts back what was
 * current before. No context is ever created.
 *
 * Threads: a vocosc_cuda is for one thread at a time, and its work for one CUstream at a time: calls on different
 * CUstreams, and graphs captured from them, share working memory and must be ordered by events. Different objects are
 * independent of each other, also on one GPU; they may share the weights (options.weights_of).
 *
 * Pointers: "device memory" is whatever kernels can read and write at the address given: from cuMemAlloc or cudaMalloc,
 * managed, or page-locked host memory (cuMemHostAlloc). Addresses of the driver's type CUdeviceptr are cast:
 * (float *)(uintptr_t)address. What a call was given is used until its work on the CUstream is done; the arrays of
 * vocosc_cuda_chunk are not used after the call.
 *
 * A count that is not negative is a success; negative values are vocosc_cuda_status codes, or VOCOSC_BAD_ARGUMENT and
 * VOCOSC_BAD_INPUT of vocosc.h. After an error in its arguments a call has queued nothing: output and slots are as they
 * were. After an error of the driver's (NO_MEMORY, FAILED) the slots of the call must be reset, as some of its work may
 * have been queued. The GPU's own errors show late: a later call reports them, or whatever waits for the CUstream.
 */
#ifndef VOCOSC_CUDA_H
#define VOCOSC_CUDA_H

#include <stddef.h>
#include <stdint.h>

#include "vocosc.h"

/* ---- sizes of this model and build on a GPU -------------------------------------------------------------------- */

#define VOCOSC_CUDA_BATCH ${device.batch} /* streams of a call, at most */
#define VOCOSC_CUDA_STATE_BYTES ${device.state_bytes} /* of device memory, each stream */
#define VOCOSC_CUDA_VALUE_BYTES ${device.value_bytes} /* of these what the kernels use */
#define VOCOSC_CUDA_SCRATCH_BYTES ${device.scratch_bytes} /* of device memory, each call under way */
#define VOCOSC_CUDA_WEIGHT_BYTES ${device.weight_bytes} /* of device memory, shared by all streams */
#define VOCOSC_CUDA_LAUNCHES ${device.launches | length} /* kernels of a call */
#define VOCOSC_CUDA_SINGLE_LAUNCHES ${device.ways.single_launch | length} /* of a call by the single kernel */
#define VOCOSC_CUDA_LIBRARY_STEPS ${device.library_steps | length} /* of a call by cuBLAS and cuFFT, or by tensor cores; 0: neither is built in */
#define VOCOSC_CUDA_HAS_LIBRARIES ${device.needs_libraries | int}
#define VOCOSC_CUDA_SECOND_WAY ${"VOCOSC_CUDA_LIBRARIES" if device.needs_libraries else "VOCOSC_CUDA_TENSOR" if device.library_steps else "0"} /* the flag for it */
#define VOCOSC_CUDA_HAS_RESIDENT ${(device.resident is not none) | int}
#define VOCOSC_CUDA_MOST_STEPS ${[device.launches | length, device.library_steps | length] | max} /* of these two */
#define VOCOSC_CUDA_ARCHITECTURES_TEXT "${options.gpus | join(",")}" /* later ones take PTX */

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  VOCOSC_CUDA_NO_DRIVER = -16,   /* no libcuda.so.1, or it does not start: a machine without an NVIDIA GPU */
  VOCOSC_CUDA_OLD_DRIVER = -17,  /* older than VOCOSC_CUDA_LEAST_DRIVER, or than what the kernels for this GPU need */
  VOCOSC_CUDA_NO_DEVICE = -18,   /* a driver, but no GPU, or none with this number */
  VOCOSC_CUDA_BAD_DEVICE = -19,  /* no kernels for this GPU in this build, and none could be compiled from PTX */
  VOCOSC_CUDA_NO_MEMORY = -20,   /* out of device memory; in init, as a rule */
  VOCOSC_CUDA_BAD_POINTER = -21, /* a device address is null or misaligned */
  VOCOSC_CUDA_BAD_SLOT = -22,    /* a slot is out of range, not bound, or, in bind, bound already */
  VOCOSC_CUDA_BAD_OBJECT = -23,  /* never initialised, or closed */
  VOCOSC_CUDA_LOST = -24,        /* the context is lost (a fault on the GPU, say): so say all later calls but close */
  VOCOSC_CUDA_FAILED = -25,      /* another error of the driver's; driver_code says which (CUresult) */
  VOCOSC_CUDA_NO_LIBRARY = -26,  /* cuBLAS or cuFFT is missing, or does not start */
} vocosc_cuda_status;

/*
 * The driver, as cuDriverGetVersion counts, without which nothing runs here. What each GPU's kernels need:
//% for image in images
 *   ${image.text}: ${image.driver_text}
//% endfor
 */
#define VOCOSC_CUDA_LEAST_DRIVER ${images | map(attribute="least_driver") | min}

/* CUstream, cudaStream_t; null is the context's default stream (not a thread's own). */
typedef struct CUstream_st *vocosc_cuda_stream;

/* Options of init, to be added up. */
enum {
  VOCOSC_CUDA_ALLOCATE = 1,   /* init allocates the device memory; options.memory stays 0 */
  VOCOSC_CUDA_NO_GRAPH = 2,   /* kernels are launched one by one, not as a CUDA graph: slower, for measuring */
  VOCOSC_CUDA_NO_OVERLAP = 4, /* no kernel starts before the last one's end: slower, for measuring */

  /*
   * A decode is one cooperative kernel, a thread block on each multiprocessor, in place of the graph; the audio has the
   * same bits. Which is faster no GPU has told yet. Init returns BAD_DEVICE where the GPU cannot run it.
   */
  VOCOSC_CUDA_SINGLE_KERNEL = 8,

  /*
   * The graph has the first kernel, too, whose parameter each call replaces: one submission a call in place of two. The
   * same bits; no GPU has told yet whether it is faster.
   */
  VOCOSC_CUDA_ONE_GRAPH = 32,

  /*
   * For builds with --link libs, BAD_ARGUMENT in others: matrix products by cuBLAS, inverse transforms by cuFFT, opened
   * by dlopen in init. For long chunks and large batches, and as the oracle of our kernels. The libraries allocate, and
   * the bits are theirs. Init returns NO_LIBRARY if one is missing or does not start.
   */
  VOCOSC_CUDA_LIBRARIES = 16,

  /*
   * For builds with --gpu-tune tensor, BAD_ARGUMENT in others: products by tensor cores, for calls of many frames in all.
   * More kernels, each of all frames: slower for one stream. A stream's bits are the same in all calls of this way, and
   * over 100 dB from those of the others.
   */
  VOCOSC_CUDA_TENSOR = 64,

  /*
   * For builds with --gpu-tune resident, BAD_ARGUMENT in others: the single kernel stays on the GPU, with the weights in
   * shared memory, and gets its calls through a mailbox in page-locked host memory, which init allocates. The same bits,
   * and no launch. It takes nearly all multiprocessors until it ends: other work on the GPU waits, and whatever waits for
   * the whole GPU (cudaFree, cuCtxSynchronize, another kernel that is loaded) waits for ever. What ends it: every call
   * of this object's but decode, samples and wait; the next decode starts it again, which takes some 50 us more.
   *
   * A decode is not queued on the CUstream: it begins at once, when the decode before it is done. Only the one that
   * starts the kernel waits for its CUstream. So mel must be there, and whoever used audio before must be done; after
   * vocosc_cuda_wait, audio is there. It cannot be captured: BAD_ARGUMENT. decode_host needs no copies.
   */
  VOCOSC_CUDA_RESIDENT = 128,
};

/* What the library notes about a slot, in host memory. Not for use. */
typedef struct {
  uint64_t last_call; /* 0: not bound */
  uint32_t frames;    /* of the utterance so far, counted as far as it matters; 0 in builds that count none */
} vocosc_cuda_slot;

/* A GPU made ready, for all of its streams. After init the first fields may be read; none may be written. */
typedef struct {
  int architecture;       /* of the GPU: 10 * major + minor, 90 on an H100 or H200 */
  int image_architecture; /* of the kernels */
  int image_is_ptx;       /* 1 if they were compiled by the driver, in init */
  int multiprocessors;
  int driver_version; /* 1000 * major + 10 * minor, of CUDA */
  int driver_code;    /* the last CUresult but 0, of init too: for reports */
  int uses_graph; /* 2: which has the first kernel, too */
  int uses_overlap;
  int uses_single_kernel;
  int uses_libraries;
  int uses_tensor;
  int uses_resident;
  uint64_t private_words[71 + VOCOSC_CUDA_MOST_STEPS + (VOCOSC_CUDA_HAS_LIBRARIES ? 10 : 0)];
} vocosc_cuda;

typedef struct {
  int flags;               /* the sum of VOCOSC_CUDA_... */
  int device;              /* the GPU's number, from 0; not used where a context is current */
  int slots;               /* streams that can be bound at once: 1 .. VOCOSC_CUDA_MAX_SLOTS */
  vocosc_cuda_slot *table; /* [slots], host memory; stays in place until close */
  uint64_t memory;         /* device address of VOCOSC_CUDA_MEMORY_BYTES(slots), a multiple of VOCOSC_CUDA_ALIGNMENT */
  size_t memory_bytes;     /* what is there */

  /*
   * Another object of the same build and context, whose weights are used and not uploaded again; null: this one's own.
   * It must be closed after this one. Then VOCOSC_CUDA_SHARING_BYTES(slots) of memory are enough.
   */
  const vocosc_cuda *weights_of;

  /* Where the driver's functions are found, as dlsym(libcuda.so.1, name) would; null: there, by dlopen. */
  void *(*symbol)(void *context, const char *name);
  void *symbol_context;
} vocosc_cuda_options;

#define VOCOSC_CUDA_MAX_SLOTS 1000000
#define VOCOSC_CUDA_ALIGNMENT 256
#define VOCOSC_CUDA_STAGING_FLOATS /* a stream's mel and audio on their way from and to host memory */ \
  (VOCOSC_MAX_FRAMES * VOCOSC_MELS +                                                                   \
   (VOCOSC_MAX_FRAMES * VOCOSC_HOP > VOCOSC_TAIL ? VOCOSC_MAX_FRAMES * VOCOSC_HOP : VOCOSC_TAIL))
#define VOCOSC_CUDA_STAGING_BYTES \
  ((VOCOSC_CUDA_BATCH * (size_t)VOCOSC_CUDA_STAGING_FLOATS * sizeof(float) + 255) / 256 * 256)
#define VOCOSC_CUDA_SHARING_BYTES(slots) \
  (VOCOSC_CUDA_SCRATCH_BYTES + VOCOSC_CUDA_STAGING_BYTES + (size_t)(slots)*VOCOSC_CUDA_STATE_BYTES)
#define VOCOSC_CUDA_MEMORY_BYTES(slots) (VOCOSC_CUDA_WEIGHT_BYTES + VOCOSC_CUDA_SHARING_BYTES(slots))

/* One stream's part of a call: from its mel to its audio. Slots of a call must differ; arrays must not overlap. */
typedef struct {
  int slot;
  const float *mel; /* [frames][VOCOSC_MELS]; not used by flush */
  float *audio;     /* ${"room for " if plan.counts_frames}[frames * VOCOSC_HOP], or [VOCOSC_TAIL] in flush */
} vocosc_cuda_chunk;

/* VOCOSC_CUDA_MEMORY_BYTES, for whoever cannot see the macro; 0 if slots is out of range. */
size_t vocosc_cuda_memory_bytes(int slots);

/* A text for a status of this header or of vocosc.h; never null. */
const char *vocosc_cuda_status_text(int status);

/*
 * Opens the driver, loads the kernels (where only PTX fits, the driver compiles them: seconds), uploads the weights,
 * tries the kernels, and waits for that. No slot is bound. Returns VOCOSC_OK, VOCOSC_BAD_ARGUMENT, or any code above
 * but BAD_SLOT; after an error there is nothing to close, but driver_version and driver_code tell what was found.
 */
int vocosc_cuda_init(vocosc_cuda *cuda, const vocosc_cuda_options *options);

/*
 * Gives back what init took, and frees the memory if init allocated it. All work must be done (vocosc_cuda_wait),
 * unless the context is lost. Returns VOCOSC_OK, VOCOSC_BAD_ARGUMENT or VOCOSC_CUDA_BAD_OBJECT. A new init on the same
 * device after a loss fails until the application has reset the context: cuDevicePrimaryCtxReset, or a new process.
 */
int vocosc_cuda_close(vocosc_cuda *cuda);

/*
 * A slot's life: bind takes a free one and sets it to silence, reset sets it to silence again, release frees it, at
 * once: work that is already queued still uses it, in order. Release needs no CUstream as it queues nothing.
 */
int vocosc_cuda_bind(vocosc_cuda *cuda, int slot, vocosc_cuda_stream stream);
int vocosc_cuda_reset(vocosc_cuda *cuda, int slot, vocosc_cuda_stream stream);
int vocosc_cuda_release(vocosc_cuda *cuda, int slot);

/*
 * Decodes frames = 1 .. VOCOSC_MAX_FRAMES for each of count = 1 .. VOCOSC_CUDA_BATCH streams. mel and audio are device
 * memory, aligned to 4 bytes. A mel value that is NaN or infinite counts as VOCOSC_SILENT_MEL. Returns
 * the number of samples for each stream or a negative status.
//% if plan.counts_frames
 *
 * It writes the samples that are complete, as on the CPU: fewer at an utterance's start, or none; flush gives the rest. What
 * it returns is the largest number of any stream; vocosc_cuda_samples says each one's own, before the call.
//% endif
 *
 * While the CUstream is being captured (cuStreamBeginCapture), the work becomes part of the caller's graph: that
 * decodes again, for the same slots from and to the same arrays, at each launch.
//% if plan.counts_frames
 * It is for streams that have then seen as many frames as when it was captured, or ${plan.lookahead + plan.cover} and more both times.
//% endif
 */
int vocosc_cuda_decode(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, int frames,
                       vocosc_cuda_stream stream);

/*
 * As vocosc_cuda_decode, mel and audio in host memory: copies in, decode, and copies out are queued; one copy each way
 * where all mels of a call are equally far apart, in their order, and all audio is. With memory that is not page-locked
 * the driver may wait in the copies. A value in mel that is NaN or infinite is VOCOSC_BAD_INPUT.
 */
int vocosc_cuda_decode_host(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, int frames,
                            vocosc_cuda_stream stream);

//% if plan.counts_frames
/*
 * How many samples a decode of frames = 1 .. VOCOSC_MAX_FRAMES would give a bound slot now, or, for 0, a flush: 0 or more,
 * or a negative status.
 */
int vocosc_cuda_samples(const vocosc_cuda *cuda, int slot, int frames);

/*
 * The end of utterances: writes the samples that decode has not, VOCOSC_TAIL of them or, of a short utterance, fewer${", for which it decodes the last VOCOSC_LATENCY_LOOKAHEAD_FRAMES frames" if plan.lookahead},
 * and resets the slots, which stay bound. Returns the largest number of samples of any stream or a negative status. Audio
 * is in device memory, or in the host's.
 */
//% else
/*
 * The end of utterances: writes the VOCOSC_TAIL samples that frames still to come would have added to, and resets the
 * slots, which stay bound. Returns VOCOSC_TAIL or a negative status. Audio is in device memory, or in the host's.
 */
//% endif
int vocosc_cuda_flush(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, vocosc_cuda_stream stream);
int vocosc_cuda_flush_host(vocosc_cuda *cuda, const vocosc_cuda_chunk *chunks, int count, vocosc_cuda_stream stream);

/*
 * A stream's state, VOCOSC_CUDA_STATE_BYTES, copied from a bound slot to host memory, or back into any bound slot of
 * any object of the same build: snapshots, and moves between GPUs. Not for the CPU's vocosc_stream.
//% if plan.counts_frames
 * Its last word is read and written by the call itself.
//% endif
 */
int vocosc_cuda_save(vocosc_cuda *cuda, int slot, void *state, vocosc_cuda_stream stream);
int vocosc_cuda_restore(vocosc_cuda *cuda, int slot, const void *state, vocosc_cuda_stream stream);

/* Waits until all work on the CUstream is done, of the resident kernel the decodes, and says whether it went well. */
int vocosc_cuda_wait(vocosc_cuda *cuda, vocosc_cuda_stream stream);

#ifdef __cplusplus
}
#endif

#endif /* VOCOSC_CUDA_H */
