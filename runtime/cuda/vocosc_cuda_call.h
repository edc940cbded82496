/* What a kernel is called with. C and CUDA include this; VOCOSC_CUDA_BATCH is defined before. Private to the object. */
#ifndef VOCOSC_CUDA_CALL_H
#define VOCOSC_CUDA_CALL_H

#include <stdint.h>

/* Device addresses, each of 256-byte alignment. */
struct vocosc_cuda_memory {
  uint64_t weights; /* [VOCOSC_CUDA_WEIGHT_BYTES] */
  uint64_t state;   /* slots of VOCOSC_CUDA_STATE_BYTES; all zeros is silence */
  uint64_t scratch; /* [VOCOSC_CUDA_SCRATCH_BYTES]; begins with the copy of the call that the first kernel leaves */
};

/* One stream's part of a call. */
struct vocosc_cuda_job {
  /* Address of float [frames][VOCOSC_MELS]; 0: of frames behind the end, which are none. Of the resident kernel's own
     parameter, the mailbox. */
  uint64_t mel;
  uint64_t audio; /* address of float [frames * VOCOSC_HOP]; for flush [VOCOSC_TAIL] */
  int32_t slot;

  /* Of a model that counts frames, else not used; 0xffff is more than any is counted to. */
  uint16_t seen; /* frames before the call's, as the CPU's frames_seen */
  uint16_t end;  /* frames of the utterance in its flush; in a decode 0xffff */
};

/*
 * A call. In memory it has all jobs, behind the same header. As a parameter, of the first kernel and of flush (the others
 * take the memory alone), it has as many as a parameter holds: further ones come with more launches of the first.
 */
#define VOCOSC_CUDA_PARAMETER_JOBS ${[device.batch, device.parameter_jobs] | min}

#define VOCOSC_CUDA_CALL(most)                                                  \
  {                                                                             \
    struct vocosc_cuda_memory memory;                                           \
    int32_t count;  /* jobs, at most VOCOSC_CUDA_BATCH; 0 does nothing */       \
    int32_t frames; /* of each, at most VOCOSC_MAX_FRAMES */                    \
    int32_t first;  /* the number of the first job that is here */              \
    uint32_t number; /* of a call of the resident kernel's: one more than the last */ \
    struct vocosc_cuda_job jobs[most];                                          \
  }
struct vocosc_cuda_call VOCOSC_CUDA_CALL(VOCOSC_CUDA_BATCH);
struct vocosc_cuda_parameter VOCOSC_CUDA_CALL(VOCOSC_CUDA_PARAMETER_JOBS);
//% if device.resident

/*
 * The host's memory by which the resident kernel gets calls: it takes a call, whose number is written last, with the mel,
 * and writes that number to `answered` when the audio is there. So scratch begins with a call and its mel as well.
 */
struct vocosc_cuda_mailbox {
  struct vocosc_cuda_call call;
  float mel[${plan.max_frames * config.n_mels}];
  uint32_t apart[32]; /* so that host and GPU write no line both */
  uint32_t answered;
  float audio[${plan.max_frames * config.hop_length}];
};
//% endif

#endif /* VOCOSC_CUDA_CALL_H */
