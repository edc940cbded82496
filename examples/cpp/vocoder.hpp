// A decoding stream as a C++ object: ready once it is made, copied as a snapshot, nothing on the heap, no exceptions.
#pragma once

#include "vocos.h"

class Vocoder {
 public:
  static constexpr int mels = VOCOS_MELS;              // values of a frame
  static constexpr int hop = VOCOS_HOP;                // samples of a frame
  static constexpr int max_frames = VOCOS_MAX_FRAMES;  // frames of a call, at most
  static constexpr int tail = VOCOS_TAIL;              // samples of flush, at most

  // The scratch may serve other streams too, as long as one call at a time uses it; it must live longer than this.
  explicit Vocoder(vocos_scratch &scratch) noexcept : scratch_(&scratch) { status_ = vocos_init(&stream_); }

  // VOCOS_OK, or what was wrong first: once a call failed, the object says so until reset.
  int status() const noexcept { return status_; }
  const char *status_text() const noexcept { return vocos_status_text(status_); }
  explicit operator bool() const noexcept { return status_ == VOCOS_OK; }

  // mel [frames][mels] to audio, with room for [frames * hop]; returns the number of samples, 0 after an error.
  int decode(const float *mel, int frames, float *audio) noexcept {
    return samples(vocos_decode(&stream_, scratch_, mel, frames, audio));
  }

  // The end of an utterance, [tail] at most; the stream begins anew.
#if VOCOS_LATENCY_LOOKAHEAD_FRAMES > 0
  int flush(float *audio) noexcept { return samples(vocos_flush(&stream_, scratch_, audio)); }
#else
  int flush(float *audio) noexcept { return samples(vocos_flush(&stream_, audio)); }
#endif

  void reset() noexcept { status_ = vocos_reset(&stream_); }

 private:
  int samples(int count) noexcept {
    if (count >= 0) return count;
    if (status_ == VOCOS_OK) status_ = count;
    return 0;
  }

  vocos_stream stream_;
  vocos_scratch *scratch_;
  int status_;
};
