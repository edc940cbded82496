/* ---- sizes of this model and build ------------------------------------------------------------------------------ */

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
#define VOCOSC_MAX_FRAMES ${plan.max_frames} /* frames of a call, at most */
#define VOCOSC_TAIL ${plan.overlap_floats}  /* samples that flush writes */
#define VOCOSC_LATENCY_SAMPLES ${plan.overlap_floats} /* the audio lags the analysed audio by this: n_fft - hop */
#define VOCOSC_SILENT_MEL (${silent_mel}f) /* log(1e-5), the least value of a log-mel */

#define VOCOSC_BAKED ${options.baked | int} /* 1: the weights are in the object; 0: in ${options.name}_weights.bin, for vocosc_init_weights */
#define VOCOSC_HAS_SELFTEST ${options.bit_exact | int}
#define VOCOSC_WEIGHT_BYTES ${weight_bytes} /* read-only, shared by all streams */
#define VOCOSC_WEIGHTS_FILE_BYTES ${weights.file | length} /* of ${options.name}_weights.bin: the weights and a header */
#define VOCOSC_STATE_BYTES ${plan.state_bytes} /* of a vocosc_stream */
#define VOCOSC_MEL_STATE_BYTES ${plan.mel_state_bytes} /* of a vocosc_mel_stream */
#define VOCOSC_SCRATCH_BYTES ${4 * plan.scratch_floats} /* of a vocosc_scratch */
#define VOCOSC_MACS_PER_FRAME ${plan.macs_per_frame}
#define VOCOSC_FLASH_BYTES ${measured.flash_bytes if measured else 0} /* code and read-only data of the object${"" if measured else " (0: not measured)"} */
#define VOCOSC_STACK_BYTES ${measured.stack_bytes if measured else 0} /* the deepest call, by the compiler's call graph */

#define VOCOSC_MEL_HISTORY_FLOATS ${[plan.mel_history_floats, 1] | max}
#define VOCOSC_HISTORY_FLOATS ${[plan.history_floats, 1] | max}
#define VOCOSC_OVERLAP_FLOATS ${[plan.overlap_floats, 1] | max}
#define VOCOSC_SCRATCH_FLOATS ${plan.scratch_floats}
