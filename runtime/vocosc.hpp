/*
 * The model in C++17: objects that are ready once they are made, arrays that know their length, nothing on the heap.
 *
 *   static vocosc::Vocoder vocoder;                    // its memory is where it stands
 *   for (float sample : vocoder.decode(mel)) ...       // mel: an array, a std::vector or a std::span of float
 *   for (float sample : vocoder.flush()) ...
 *   if (!vocoder) std::puts(vocoder.status_text());
 *
 * No function throws: a call that fails gives an empty array, and the object says why until it is reset. With
 * VOCOSC_EXCEPTIONS defined they throw a vocosc::Error, instead.
 */
#ifndef VOCOSC_HPP
#define VOCOSC_HPP

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#ifdef VOCOSC_EXCEPTIONS
#include <stdexcept>
#endif

#include "vocosc.h"

#ifdef VOCOSC_EXCEPTIONS
#define VOCOSC_NOEXCEPT
#else
#define VOCOSC_NOEXCEPT noexcept
#endif

namespace vocosc {

inline constexpr int sample_rate = VOCOSC_SAMPLE_RATE;
inline constexpr int mels = VOCOSC_MELS;             // values of a frame
inline constexpr int hop = VOCOSC_HOP;               // samples of a frame
inline constexpr int max_frames = VOCOSC_MAX_FRAMES; // of a call
inline constexpr int tail = VOCOSC_TAIL;             // samples of flush, at most
inline constexpr int mel_tail = VOCOSC_MEL_TAIL;     // frames of Analysis::flush, at most

// A part of an array that somebody else owns.
template <class T>
class Span {
 public:
  constexpr Span() noexcept = default;
  constexpr Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::size_t N>
  constexpr Span(T (&array)[N]) noexcept : data_(array), size_(N) {}
  // Of a std::array, std::vector, std::span, or another Span
  template <class Array, class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<Array &>().data()), T *>>>
  constexpr Span(Array &&array) noexcept : data_(array.data()), size_(array.size()) {}

  constexpr T *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }
  constexpr T *begin() const noexcept { return data_; }
  constexpr T *end() const noexcept { return data_ + size_; }
  constexpr Span first(std::size_t count) const noexcept { return {data_, count < size_ ? count : size_}; }

 private:
  T *data_ = nullptr;
  std::size_t size_ = 0;
};

#ifdef VOCOSC_EXCEPTIONS
// A call that failed: status() is a vocosc_status.
class Error : public std::runtime_error {
 public:
  explicit Error(int status) : std::runtime_error(vocosc_status_text(status)), status_(status) {}
  int status() const noexcept { return status_; }

 private:
  int status_;
};
#endif

// What went wrong first, if anything has.
class Status {
 public:
  // VOCOSC_OK, or a negative vocosc_status
  int status() const noexcept { return status_; }
  const char *status_text() const noexcept { return vocosc_status_text(status_); }
  explicit operator bool() const noexcept { return status_ == VOCOSC_OK; }

 protected:
  // The count of a call that went well, else 0.
  int keep(int count) VOCOSC_NOEXCEPT {
    if (count >= 0) return count;
    if (status_ == VOCOSC_OK) status_ = count;
#ifdef VOCOSC_EXCEPTIONS
    throw Error(count);
#else
    return 0;
#endif
  }
  void forget() noexcept { status_ = VOCOSC_OK; }

 private:
  int status_ = VOCOSC_OK;
};

// Log-mel to audio. A copy is a snapshot. The scratch may serve other streams too, one call at a time, and must outlive them.
class Stream : public Status {
 public:
#if VOCOSC_BAKED
  explicit Stream(vocosc_scratch &scratch, vocosc_target target = VOCOSC_BEST) VOCOSC_NOEXCEPT : scratch_(&scratch) {
    keep(vocosc_init_target(&stream_, target));
  }
#else
  // The weights, vocosc_weights.bin aligned to 64 bytes, are used where they are.
  Stream(vocosc_scratch &scratch, Span<const unsigned char> weights, vocosc_target target = VOCOSC_BEST) VOCOSC_NOEXCEPT
      : scratch_(&scratch) {
    keep(vocosc_init_weights(&stream_, target, weights.data(), weights.size()));
  }
#endif

  // Decodes mel [frames][mels], max_frames at most, into audio, which has room for [frames * hop]; returns what was written.
  Span<float> decode(Span<const float> mel, Span<float> audio) VOCOSC_NOEXCEPT {
    return audio.first(decode_with(vocosc_decode, mel, audio));
  }
  Span<std::int16_t> decode(Span<const float> mel, Span<std::int16_t> audio) VOCOSC_NOEXCEPT {
    return audio.first(decode_with(vocosc_decode_int16, mel, audio));
  }

  // The end of an utterance, [tail] at most; the stream begins anew.
  Span<float> flush(Span<float> audio) VOCOSC_NOEXCEPT { return audio.first(flush_with(vocosc_flush, audio)); }
  Span<std::int16_t> flush(Span<std::int16_t> audio) VOCOSC_NOEXCEPT {
    return audio.first(flush_with(vocosc_flush_int16, audio));
  }

  // Back to silence, and what went wrong is forgotten.
  void reset() VOCOSC_NOEXCEPT {
    forget();
    keep(vocosc_reset(&stream_));
  }

  vocosc_stream &c_stream() noexcept { return stream_; } // for the functions of vocosc.h

 private:
  template <class Function, class Sample>
  std::size_t decode_with(Function function, Span<const float> mel, Span<Sample> audio) VOCOSC_NOEXCEPT {
    const std::size_t frames = mel.size() / mels;
    const bool fits = mel.size() % mels == 0 && frames <= max_frames && audio.size() >= frames * hop;
    if (!fits) return std::size_t(keep(VOCOSC_BAD_ARGUMENT));
    return std::size_t(keep(function(&stream_, scratch_, mel.data(), int(frames), audio.data())));
  }
  template <class Function, class Sample>
  std::size_t flush_with(Function function, Span<Sample> audio) VOCOSC_NOEXCEPT {
    if (audio.size() < std::size_t(tail)) return std::size_t(keep(VOCOSC_BAD_ARGUMENT));
//% if plan.lookahead
    return std::size_t(keep(function(&stream_, scratch_, audio.data())));
//% else
    return std::size_t(keep(function(&stream_, audio.data())));
//% endif
  }

  vocosc_stream stream_;
  vocosc_scratch *scratch_;
};

// Audio to log-mel, likewise.
class Analysis : public Status {
 public:
  explicit Analysis(vocosc_scratch &scratch, vocosc_target target = VOCOSC_BEST) VOCOSC_NOEXCEPT : scratch_(&scratch) {
    keep(vocosc_mel_init_target(&stream_, target));
  }

  // Takes audio, max_frames * hop samples at most; returns the frames [][mels] that it completes, in mel, which has room for
  // [max_frames][mels].
  Span<float> analyse(Span<const float> audio, Span<float> mel) VOCOSC_NOEXCEPT {
    return analyse_with(vocosc_mel, audio, mel);
  }
  Span<float> analyse(Span<const std::int16_t> audio, Span<float> mel) VOCOSC_NOEXCEPT {
    return analyse_with(vocosc_mel_int16, audio, mel);
  }

  // The end of the audio: its last frames, mel_tail at most; the analysis begins anew.
  Span<float> flush(Span<float> mel) VOCOSC_NOEXCEPT {
    const bool fits = mel.size() >= std::size_t(mel_tail) * mels;
    const int frames = keep(fits ? vocosc_mel_flush(&stream_, scratch_, mel.data()) : int(VOCOSC_BAD_ARGUMENT));
    return mel.first(std::size_t(frames) * mels);
  }

  void reset() VOCOSC_NOEXCEPT {
    forget();
    keep(vocosc_mel_reset(&stream_));
  }

 private:
  template <class Function, class Sample>
  Span<float> analyse_with(Function function, Span<Sample> audio, Span<float> mel) VOCOSC_NOEXCEPT {
    const std::size_t most = std::size_t(max_frames);
    const bool fits = audio.size() <= most * hop && mel.size() >= most * mels;
    const int given = int(fits ? audio.size() : 0);
    const int frames = keep(fits ? function(&stream_, scratch_, audio.data(), given, mel.data()) : int(VOCOSC_BAD_ARGUMENT));
    return mel.first(std::size_t(frames) * mels);
  }

  vocosc_mel_stream stream_;
  vocosc_scratch *scratch_;
};

// A stream with scratch and audio of its own: all that an utterance needs, in one object. It stays where it was made.
class Vocoder {
 public:
#if VOCOSC_BAKED
  explicit Vocoder(vocosc_target target = VOCOSC_BEST) VOCOSC_NOEXCEPT : stream_(scratch_, target) {}
#else
  explicit Vocoder(Span<const unsigned char> weights, vocosc_target target = VOCOSC_BEST) VOCOSC_NOEXCEPT
      : stream_(scratch_, weights, target) {}
#endif
  Vocoder(const Vocoder &) = delete;
  Vocoder &operator=(const Vocoder &) = delete;

  // As Stream's. The audio is good until the next call.
  Span<const float> decode(Span<const float> mel) VOCOSC_NOEXCEPT { return stream_.decode(mel, audio_); }
  Span<const float> flush() VOCOSC_NOEXCEPT { return stream_.flush(audio_); }
  void reset() VOCOSC_NOEXCEPT { stream_.reset(); }

  int status() const noexcept { return stream_.status(); }
  const char *status_text() const noexcept { return stream_.status_text(); }
  explicit operator bool() const noexcept { return bool(stream_); }

 private:
  static constexpr int audio_samples = max_frames * hop > tail ? max_frames * hop : tail;

  alignas(64) vocosc_scratch scratch_;
  float audio_[audio_samples > 0 ? audio_samples : 1];
  Stream stream_;
};

} // namespace vocosc

#endif // VOCOSC_HPP
