/*
 * Which samples of the overlap-add are complete, and what becomes of them.
 *
 * Frames are counted from the utterance's first. One of them is complete, and its first HOP samples of the sum with it,
 * once LOOKAHEAD more have come, or, behind the utterance's end, have been run without any. The first TRIM samples of
 * the sum are no audio, nor are the last.
 */
#ifndef VOCOSC_OUTPUT_H
#define VOCOSC_OUTPUT_H

#include "vocosc_model.h"

/* The frames that a stream has seen, those without a mel included. No more are told apart than matter: SETTLED. */
static inline int frames_seen(const vocosc_stream *stream) { return (int)(stream->frames + stream->flushed); }

/* The samples that are out once so many frames have been seen. */
static inline int samples_out(int frames) {
  const int samples = (frames - LOOKAHEAD) * HOP - TRIM;
  return samples > 0 ? samples : 0;
}

/* How many of a frame's first HOP samples are no audio. */
static inline int samples_trimmed(int frame) {
  const int samples = TRIM - frame * HOP;
  return samples < 0 ? 0 : samples < HOP ? samples : HOP;
}
//% if plan.is_divided

/* The windows' squares, added up where a sample of the sum lies, of the utterance's first `frames` frames. */
static inline float envelope_at(int sample, int frames) {
  const int last = sample / HOP;
  float sum = 0.0f;
  for (int frame = last < frames ? last : frames - 1; frame >= 0 && sample - frame * HOP < N_FFT; frame--) {
    const float window = vocosc_synthesis_window[sample - frame * HOP];
    sum += window * window;
  }
  return sum;
}
//% endif

#endif /* VOCOSC_OUTPUT_H */
