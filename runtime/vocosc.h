/*
 * A streaming vocoder: log-mel frames in, audio out, chunk by chunk, without ever allocating memory.
 *
 * Everything a call touches is in memory of the caller: a stream (the state of one utterance), a scratch (working
 * memory of one call, which streams may share as long as only one of them is inside a call), and the input and output
 * arrays. All three are plain structs: static allocation works, memcpy takes a snapshot, and nothing needs freeing.
 * The library has no mutable globals; different streams with different scratches may run on different threads.
 *
 * Arrays: mel is [frames][VOCOSC_MELS], audio is [samples]; both row-major, no alignment beyond their type's. Input
 * and output of a call must not overlap. Full scale is +-1.0 in float and +-32768 in int16 (which is clipped; float
 * is not).
 *
 * Input values below 1e-20 count as zero, so that denormal numbers take no longer than others.
 *
 * A count that is not negative is a success; negative values are vocosc_status codes. On any error the output is
 * filled with silence (audio: zeros; mel: VOCOSC_SILENT_MEL, the floor) as far as its pointer and the count were valid, and the
 * stream is as it was before the call.
 */
#ifndef VOCOSC_H
#define VOCOSC_H

#include <stddef.h>
#include <stdint.h>

/* ---- sizes of this model and build ---- */

#define VOCOSC_NAME "${options.name}"
#define VOCOSC_GENERATOR "${generator}"
#define VOCOSC_CHECKPOINT_SHA256 "${sha256}"
#define VOCOSC_PRECISION "${options.precision}"
#define VOCOSC_HAS_CUDA ${options.gpus | length and 1} /* whether the object has code for GPUs: see ${options.name}_cuda.h */
#define VOCOSC_CHUNKS_TEXT "${plan.chunks | join(",")}" /* the chunk sizes asked for */

#define VOCOSC_SAMPLE_RATE ${config.sample_rate}
#define VOCOSC_MELS ${config.n_mels}  /* values of a frame */
#define VOCOSC_HOP ${config.hop_length}  /* samples of a frame */
#define VOCOSC_N_FFT ${config.n_fft} /* samples of a window */
#define VOCOSC_MAX_FRAMES ${plan.max_frames} /* frames of a call, of each stream, at most */
#define VOCOSC_STREAMS ${plan.streams} /* streams that a call can take, with VOCOSC_MAX_FRAMES each */
#define VOCOSC_MAX_ROWS ${plan.max_rows} /* frames of all streams of a call, at most */
//% if plan.counts_frames
#define VOCOSC_TAIL ${plan.tail}  /* samples that flush writes, at most */
//% else
#define VOCOSC_TAIL ${plan.tail}  /* samples that flush writes */
//% endif
#define VOCOSC_PADDING "${config.padding}" /* causal: all samples of the overlap-add; same, center: divided, and trimmed at both ends */
#define VOCOSC_COUNTS_FRAMES ${plan.counts_frames | int} /* 1: decode gives fewer samples at first, and flush the rest */
//% set ends = plan.overlap_floats - 2 * plan.trim
#define VOCOSC_UTTERANCE_SAMPLES(frames) ((frames) * VOCOSC_HOP ${"+ %d" | format(ends) if ends >= 0 else "- %d" | format(-ends)}) /* decode's and flush's together; frames > 0 */
#define VOCOSC_LATENCY_SAMPLES ${plan.lookahead * config.hop_length + plan.overlap_floats} /* look-ahead and overlap */
#define VOCOSC_LATENCY_LOOKAHEAD_FRAMES ${plan.lookahead} /* frames that must have come before the first one is complete */
#define VOCOSC_LATENCY_LOOKAHEAD_SAMPLES ${plan.lookahead * config.hop_length}
#define VOCOSC_LATENCY_OVERLAP_SAMPLES ${plan.overlap_floats} /* n_fft - hop */
//% if config.codebooks
#define VOCOSC_CODEBOOKS ${config.codebooks} /* of vocosc_decode_codes, at most */
#define VOCOSC_CODES ${plan.network.codebooks.shape[1]} /* of a codebook: 0 .. VOCOSC_CODES - 1 */
//% endif
#define VOCOSC_HAS_MEL ${1 if config.mel else 0} /* 1: vocosc_mel makes what the model takes; 0: the model takes other features, and vocosc_mel nothing */
#define VOCOSC_MEL_TAIL ${framing.tail} /* frames that vocosc_mel_flush writes, at most */
//% if framing.start
/* The frames of so many samples of audio, flushed. */
//% set least = [1, config.n_fft - 2 * framing.pad] | max
#define VOCOSC_MEL_FRAMES(samples) ((samples) >= ${least} ? 1 + ((samples) - ${config.n_fft - 2 * framing.pad}) / VOCOSC_HOP : 0)
//% else
#define VOCOSC_MEL_FRAMES(samples) (((samples) + VOCOSC_HOP - 1) / VOCOSC_HOP) /* of so many samples of audio, flushed */
//% endif
#define VOCOSC_MEL_PAD ${framing.pad} /* samples before the audio and behind it that mirror it, for vocosc_mel; 0: zeros before it */
#define VOCOSC_MEL_TEXT "${mel_text}" /* what the mel is */
//% if mel.assumed
/* The checkpoint does not tell all of this. Assumed: ${mel.assumed | join(", ")}. */
//% endif
#define VOCOSC_SILENT_MEL (${silent_mel}f) /* log(${mel.floor}): no log-mel is less${" (digital silence analyses to more, about -9.65)" if mel.power_floor == 1e-6 and mel.floor == 1e-5}; it fills mel on an error */

#define VOCOSC_BAKED ${options.baked | int} /* 1: the weights are in the object; 0: in ${options.name}_weights.bin, for vocosc_init_weights */
#define VOCOSC_HAS_CHECK ${options.check | int} /* 1: compiled with --check */
#define VOCOSC_HAS_SELFTEST ${options.bit_exact | int}
#define VOCOSC_WEIGHT_BYTES ${weight_bytes} /* read-only, shared by all streams */
#define VOCOSC_WEIGHTS_FILE_BYTES ${weights.file | length} /* of ${options.name}_weights.bin: the weights and a header */
#define VOCOSC_STATE_BYTES ${plan.state_bytes} /* of a vocosc_stream */
#define VOCOSC_MEL_STATE_BYTES ${plan.mel_state_bytes} /* of a vocosc_mel_stream */
#define VOCOSC_SCRATCH_BYTES ${4 * plan.scratch_floats} /* of a vocosc_scratch */
#define VOCOSC_MACS_PER_FRAME ${plan.macs_per_frame}
#define VOCOSC_FLASH_BYTES 0 /* code and read-only data of the object; 0 where the compiler has not built it */
#define VOCOSC_STACK_BYTES 0 /* the deepest call, by the C compiler's call graph; 0 likewise */

#define VOCOSC_STATE_FLOATS ${plan.state_floats}
#define VOCOSC_SCRATCH_FLOATS ${plan.scratch_floats}

/* ---- types and functions ---- */

/*
 * Sizes differ from build to build: a program that was compiled with another build's header must not link. So, where
 * linkers have ELF's symbols, the linker knows these functions by names that only the library of this header has, too.
 * That costs nothing. The object has the plain names as well, for languages that do without this header.
 */
#ifndef VOCOSC_TIED
#if defined(__GNUC__) && defined(__ELF__)
#define VOCOSC_TIED(function) __asm__(#function "_needs_the_library_of_this_header_${build}")
#else
#define VOCOSC_TIED(function)
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  VOCOSC_OK = 0,
  VOCOSC_BAD_ARGUMENT = -1, /* a null or misaligned pointer, or a count out of range */
  VOCOSC_BAD_INPUT = -2,    /* a value in mel or audio is NaN or infinite */
  VOCOSC_BAD_STREAM = -3,   /* the stream was never initialised, or is damaged */
  VOCOSC_BAD_TARGET = -4,   /* this CPU, or this build, lacks the instructions asked for */
  VOCOSC_BAD_WEIGHTS = -5,  /* not the weights of this model, or misaligned, cut off, or damaged */
  VOCOSC_BAD_SELFTEST = -6 /* the self-test's audio is wrong: memory, CPU, weights or code are damaged */
} vocosc_status;

/*
 * Instruction sets. All but VOCOSC_LIBS give the same audio, bit for bit. Those above VOCOSC_LAST_TARGET run only in a
 * process that has asked its operating system for their registers: see API.md, "Instruction sets".
 */
typedef enum {
  VOCOSC_BEST = 0, /* the fastest that this CPU and this build have */
//% for isa in all_isas
  VOCOSC_${isa.name | upper} = ${isa.number}${"" if loop.last else ","} /* ${isa.text} */
//% endfor
} vocosc_target;

#define VOCOSC_LAST_TARGET VOCOSC_${(all_isas | rejectattr("asks") | sort(attribute="number") | last).name | upper} /* of those that there are in any build, and run unasked */

/* The state of one decoding stream. Its fields are not for use; copy and compare it as a whole. */
typedef struct {
  uint32_t ready;
  uint32_t target;
#if !VOCOSC_BAKED
  uint32_t weights[2]; /* their address */
#endif
#if VOCOSC_HAS_CHECK
  uint32_t checksum; /* of what follows */
#endif
#if VOCOSC_COUNTS_FRAMES
  uint32_t frames;  /* of the utterance so far, counted as far as it matters */
  uint32_t flushed; /* frames that flush has run behind its end */
#endif
  float values[VOCOSC_STATE_FLOATS]; /* the frames that convolutions look back to, and the overlap */
} vocosc_stream;

/* The state of one analysis (audio to log-mel) stream. */
typedef struct {
  uint32_t ready;
  uint32_t target;
//% if framing.start
  uint32_t pending;           /* samples so far, until the first frame; from then on ${framing.start} and those of the next */
  float window[${framing.history + framing.span}]; /* the samples of the next frame so far, and some before them */
//% else
  uint32_t pending;           /* samples at the window's end that no frame has covered yet: 0 .. hop - 1 */
  float window[VOCOSC_N_FFT]; /* the samples of the next frame so far, latest last */
//% endif
} vocosc_mel_stream;

/* Working memory of one call; holds nothing between calls. Aligned to 64 bytes it is fastest. */
typedef struct {
  float values[VOCOSC_SCRATCH_FLOATS];
} vocosc_scratch;

/* What a batch does for one of its streams. */
typedef struct {
  vocosc_stream *stream;
  const float *mel; /* [frames][VOCOSC_MELS] */
  float *audio;     /* ${"room for " if plan.counts_frames}[frames * VOCOSC_HOP] */
} vocosc_job;

/* The same with audio in 16 bits. */
typedef struct {
  vocosc_stream *stream;
  const float *mel;
  int16_t *audio;
} vocosc_job_int16;

/*
 * One member of a team of workers that decode a chunk together. The library starts no threads: the caller has
 * `workers` of them (pthreads, tasks of an RTOS, bare cores) call vocosc_decode_team with the same arguments and
 * `worker` = 0 .. workers - 1. `barrier(context)` returns once all of the team have called it, and orders memory.
 * A team that makes no sense is a VOCOSC_BAD_ARGUMENT and writes nothing, not even silence.
 */
#define VOCOSC_MAX_WORKERS 1024

typedef struct {
  int worker;
  int workers; /* 1 .. VOCOSC_MAX_WORKERS */
  void (*barrier)(void *context); /* unused with one worker */
  void *context;
} vocosc_team;

/* Sizes and delay, as functions for whoever cannot see the macros. */
size_t vocosc_stream_bytes(void);
size_t vocosc_mel_stream_bytes(void);
size_t vocosc_scratch_bytes(void);
int vocosc_max_frames(void);

/* Look-ahead and overlap: by how much the audio lags that which the mel was taken from. Gathering and decoding a chunk
 * come on top. */
int vocosc_latency_samples(void);

/* A name for a status or a target ("ok", "avx2"); never null. */
const char *vocosc_status_text(int status);
const char *vocosc_target_name(int target);

/*
 * Makes a stream ready to decode from silence, with the best target or the one asked for.
 * Returns VOCOSC_OK, VOCOSC_BAD_ARGUMENT or VOCOSC_BAD_TARGET.
 */
#if VOCOSC_BAKED
int vocosc_init(vocosc_stream *stream) VOCOSC_TIED(vocosc_init);
int vocosc_init_target(vocosc_stream *stream, vocosc_target target) VOCOSC_TIED(vocosc_init_target);
#else
/*
 * The same, where the weights are not in the object (--weights blob): `weights` is where vocosc_weights.bin lies,
 * aligned to 64 bytes, in memory of `bytes` or more. It is used in place, only ever read, and must stay as long as the
 * stream. Init reads all of it once, for the checksum; the cheapest way to a second stream is a copy of a new one. A
 * snapshot holds the address: it is good for as long as the weights stay where they are.
 * Returns VOCOSC_BAD_WEIGHTS, and an unusable stream, unless they are of this format, byte order and architecture
 * (sizes, precision, layout), whole, and undamaged.
 */
int vocosc_init_weights(vocosc_stream *stream, vocosc_target target, const void *weights, size_t bytes) VOCOSC_TIED(vocosc_init_weights);
#endif

#if VOCOSC_HAS_SELFTEST
/*
 * Decodes a built-in chunk and compares the audio's hash with what the compiler says it must be: for boot. All weights
 * take part; the analysis does not. The stream, which says which target and weights to test, is reset.
 * Returns VOCOSC_OK, VOCOSC_BAD_SELFTEST, VOCOSC_BAD_ARGUMENT or VOCOSC_BAD_STREAM.
 */
int vocosc_selftest(vocosc_stream *stream, vocosc_scratch *scratch) VOCOSC_TIED(vocosc_selftest);
#endif

#if VOCOSC_HAS_CHECK
/*
 * Whether anything but the functions here has changed the stream since they last returned, or the weights since they were
 * baked: for products that must know, between two calls, at any time. Every flip of a single bit is found, and nearly all
 * other damage. Reads the stream and all weights, and writes nothing. Init, reset, decode and flush take somewhat longer
 * in such a build, for the stream's checksum. Streams on a GPU are not checked.
 * Returns VOCOSC_OK, VOCOSC_BAD_STREAM, VOCOSC_BAD_WEIGHTS or VOCOSC_BAD_ARGUMENT.
 */
int vocosc_check(const vocosc_stream *stream) VOCOSC_TIED(vocosc_check);
#endif

/* Back to silence, the target kept. Returns VOCOSC_OK, VOCOSC_BAD_ARGUMENT or VOCOSC_BAD_STREAM. */
int vocosc_reset(vocosc_stream *stream) VOCOSC_TIED(vocosc_reset);

//% if plan.counts_frames
/*
 * Decodes frames = 1 .. VOCOSC_MAX_FRAMES of log-mel and writes the samples that are complete: frames * VOCOSC_HOP, for
 * which the audio must have room; at an utterance's start fewer, or none; flush gives the rest. However an utterance is
 * split into calls, its audio is the same, bit for bit. Returns the number of samples or a negative status.
 */
int vocosc_decode(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, float *audio) VOCOSC_TIED(vocosc_decode);
int vocosc_decode_int16(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, int16_t *audio) VOCOSC_TIED(vocosc_decode_int16);

/* How many samples a decode of frames = 1 .. VOCOSC_MAX_FRAMES would give now: 0 or more, or a negative status. */
int vocosc_decode_samples(const vocosc_stream *stream, int frames) VOCOSC_TIED(vocosc_decode_samples);
//% else
/*
 * Decodes frames = 1 .. VOCOSC_MAX_FRAMES of log-mel into frames * VOCOSC_HOP samples of audio. However an utterance
 * is split into calls, its audio is the same, bit for bit. Returns the number of samples or a negative status.
 */
int vocosc_decode(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, float *audio) VOCOSC_TIED(vocosc_decode);
int vocosc_decode_int16(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, int16_t *audio) VOCOSC_TIED(vocosc_decode_int16);
//% endif

/*
 * As vocosc_decode, by a team; with every size of team the same bits. All members get the same return value and
 * return together: when one has returned, the audio is complete.
 */
int vocosc_decode_team(vocosc_stream *stream, vocosc_scratch *scratch, const float *mel, int frames, float *audio,
                       const vocosc_team *team) VOCOSC_TIED(vocosc_decode_team);

/*
 * Decodes the same number of frames for each of count streams at once, reading the weights once for all of them: for
 * servers. frames = 1 .. VOCOSC_MAX_FRAMES, and count * frames = 1 .. VOCOSC_MAX_ROWS. Each stream's audio is, bit for bit,
 * what decoding it alone gives, wherever in their utterances the streams are. They must differ from each other and agree
 * in their target. With a team as vocosc_decode_team; null is one worker.
//% if plan.counts_frames
 * Returns the largest number of samples of any stream (each one's own is what vocosc_decode_samples says before the
 * call) or a negative status; on an error no stream has moved, and every job's audio is silence, if every job has one.
//% else
 * Returns the number of samples for each stream or a negative status; on an error no stream has moved, and every job's
 * audio is silence, if every job has one.
//% endif
 */
int vocosc_decode_batch(const vocosc_job *jobs, int count, vocosc_scratch *scratch, int frames,
                        const vocosc_team *team) VOCOSC_TIED(vocosc_decode_batch);

#if VOCOSC_STREAMS > 1 /* with --streams N: the scratch then has room for it */
int vocosc_decode_batch_int16(const vocosc_job_int16 *jobs, int count, vocosc_scratch *scratch, int frames,
                              const vocosc_team *team) VOCOSC_TIED(vocosc_decode_batch_int16);
#endif

//% if plan.lookahead
/*
 * The end of an utterance: writes the samples that decode has not, VOCOSC_TAIL of them or, of a short utterance, fewer,
 * and resets the stream. The last VOCOSC_LATENCY_LOOKAHEAD_FRAMES frames are decoded here, in less time than decode takes for as
 * many. Returns the number of samples or a negative status.
 */
int vocosc_flush(vocosc_stream *stream, vocosc_scratch *scratch, float *audio) VOCOSC_TIED(vocosc_flush);
int vocosc_flush_int16(vocosc_stream *stream, vocosc_scratch *scratch, int16_t *audio) VOCOSC_TIED(vocosc_flush_int16);
//% elif plan.counts_frames
/*
 * The end of an utterance: writes the samples that decode has not, VOCOSC_TAIL of them or, of a short utterance, fewer,
 * and resets the stream. Returns the number of samples or a negative status.
 */
int vocosc_flush(vocosc_stream *stream, float *audio) VOCOSC_TIED(vocosc_flush);
int vocosc_flush_int16(vocosc_stream *stream, int16_t *audio) VOCOSC_TIED(vocosc_flush_int16);
//% else
/*
 * The end of an utterance: writes the VOCOSC_TAIL samples that frames still to come would have added to, and resets
 * the stream. Returns VOCOSC_TAIL or a negative status.
 */
int vocosc_flush(vocosc_stream *stream, float *audio) VOCOSC_TIED(vocosc_flush);
int vocosc_flush_int16(vocosc_stream *stream, int16_t *audio) VOCOSC_TIED(vocosc_flush_int16);
//% endif

//% if config.codebooks
/*
 * Decodes codes [frames][codebooks] of EnCodec's: a frame's features are the sum of one row of each of the first
 * `codebooks` = 1 .. VOCOSC_CODEBOOKS codebooks. Otherwise as vocosc_decode; a code of VOCOSC_CODES or more is a
 * VOCOSC_BAD_INPUT.
 */
int vocosc_decode_codes(vocosc_stream *stream, vocosc_scratch *scratch, const uint16_t *codes, int codebooks, int frames, float *audio) VOCOSC_TIED(vocosc_decode_codes);
int vocosc_decode_codes_int16(vocosc_stream *stream, vocosc_scratch *scratch, const uint16_t *codes, int codebooks, int frames, int16_t *audio) VOCOSC_TIED(vocosc_decode_codes_int16);

/*
 * The features [frames][VOCOSC_MELS] of such codes, for decoding by a team, in a batch or on a GPU. Of the stream only
 * the weights are used. frames = 1 .. VOCOSC_MAX_FRAMES. Returns VOCOSC_OK, or a negative status and zeros.
 */
int vocosc_codes_to_features(const vocosc_stream *stream, const uint16_t *codes, int codebooks, int frames, float *features) VOCOSC_TIED(vocosc_codes_to_features);

//% endif
/*
//% if not config.mel
 * This model takes no mel: vocosc_mel, vocosc_mel_int16 and vocosc_mel_flush return VOCOSC_BAD_ARGUMENT and write
 * nothing. They are there for programs that are written for any model. Of a model with a mel:
 *
//% endif
 * The analysis: takes samples = 0 .. VOCOSC_MAX_FRAMES * VOCOSC_HOP of audio (any number, not only whole hops) and
//% if framing.start
 * writes the log-mel frames that they complete, at most VOCOSC_MAX_FRAMES. Frame t covers the VOCOSC_N_FFT samples
 * from t * VOCOSC_HOP - VOCOSC_MEL_PAD on; before the first sample and behind the last one the audio is mirrored. The
 * first frame waits for ${framing.start} samples, each other one for VOCOSC_HOP more.
 * Returns the number of frames or a negative status. Flush mirrors the end of the audio, writes the frames that this
 * completes (0 to VOCOSC_MEL_TAIL), and resets; audio too short to be mirrored once is mirrored to and fro.
//% else
 * writes the log-mel frames that they complete, at most VOCOSC_MAX_FRAMES. Frame t covers the VOCOSC_N_FFT samples
 * that end with sample (t + 1) * VOCOSC_HOP; before the first sample there is silence.
 * Returns the number of frames or a negative status. Flush completes a frame that was begun with silence, writes it if
 * there is one (0 or 1 frames), and resets.
//% endif
 */
int vocosc_mel_init(vocosc_mel_stream *stream) VOCOSC_TIED(vocosc_mel_init);
int vocosc_mel_init_target(vocosc_mel_stream *stream, vocosc_target target) VOCOSC_TIED(vocosc_mel_init_target);
int vocosc_mel_reset(vocosc_mel_stream *stream) VOCOSC_TIED(vocosc_mel_reset);
int vocosc_mel(vocosc_mel_stream *stream, vocosc_scratch *scratch, const float *audio, int samples, float *mel) VOCOSC_TIED(vocosc_mel);
int vocosc_mel_int16(vocosc_mel_stream *stream, vocosc_scratch *scratch, const int16_t *audio, int samples, float *mel) VOCOSC_TIED(vocosc_mel_int16);
int vocosc_mel_flush(vocosc_mel_stream *stream, vocosc_scratch *scratch, float *mel) VOCOSC_TIED(vocosc_mel_flush);

#ifdef __cplusplus
}
#endif

#endif /* VOCOSC_H */
