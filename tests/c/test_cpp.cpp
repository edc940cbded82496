// vocosc.hpp: what an object gives is what the functions of vocosc.h give; mistakes are told apart from audio.
#include <array>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <vector>

#include "vocosc.hpp"

#define CHECK(condition) \
  if (!(condition)) return std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition), 1

namespace {
vocosc_scratch scratch;

template <class A, class B>
bool same(const A &a, const B &b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof *a.data()) == 0);
}

// A function that must fail with this status, by whichever way it tells.
template <class Object, class Function>
bool fails(Object &object, int status, Function function) {
#ifdef VOCOSC_EXCEPTIONS
  try {
    function();
  } catch (const vocosc::Error &error) {
    const bool told = error.status() == status && std::strcmp(error.what(), vocosc_status_text(status)) == 0;
    const bool kept = object.status() == status;
    object.reset();
    return told && kept;
  }
  return false;
#else
  const bool empty = function().empty();
  const bool kept = object.status() == status && !object && object.status_text() == vocosc_status_text(status);
  object.reset();
  return empty && kept && object;
#endif
}
}  // namespace

int main() {
  constexpr int frames = vocosc::max_frames;
  std::vector<float> mel(std::size_t(frames) * vocosc::mels);
  for (std::size_t i = 0; i < mel.size(); i++) mel[i] = -5.0f + 4.0f * float(i % 17) / 17.0f;

  static vocosc_stream plain;
  static float expected[frames * vocosc::hop], rest[vocosc::tail + 1];
  static std::int16_t words[frames * vocosc::hop];
  CHECK(vocosc_init(&plain) == VOCOSC_OK);
  const int count = vocosc_decode(&plain, &scratch, mel.data(), frames, expected);
  const vocosc::Span<float> whole(expected, std::size_t(count));
  vocosc_stream second = plain;

  // An object with all that it needs, a stream that shares its scratch, and a copy that goes on from where it was taken
  static vocosc::Vocoder vocoder;
  CHECK(vocoder && same(vocoder.decode(mel), whole));
  std::array<float, frames * vocosc::hop> audio{};
  std::array<float, vocosc::tail + 1> tail{};
  vocosc::Stream stream(scratch);
  CHECK(same(stream.decode(mel, audio), whole));
  vocosc::Stream copy = stream;
  CHECK(stream.flush(tail).size() == std::size_t(vocosc_flush(&plain, FLUSH_SCRATCH rest)));
  CHECK(std::memcmp(rest, tail.data(), sizeof(float) * vocosc::tail) == 0);
  const int more = vocosc_decode_int16(&second, &scratch, mel.data(), 1, words);
  std::array<std::int16_t, vocosc::hop> first{};
  const auto given = copy.decode({mel.data(), vocosc::mels}, first);
  CHECK(same(given, vocosc::Span<std::int16_t>(words, std::size_t(more))));
  CHECK(std::memcmp(&copy.c_stream(), &second, sizeof second) == 0);

  // Audio to mel
  static vocosc_mel_stream plain_analysis;
  static float plain_frames[(frames + vocosc::mel_tail) * vocosc::mels];
  CHECK(vocosc_mel_init(&plain_analysis) == VOCOSC_OK);
  const int found = vocosc_mel(&plain_analysis, &scratch, expected, count, plain_frames);
  vocosc::Analysis analysis(scratch);
  std::vector<float> heard(std::size_t(frames + vocosc::mel_tail) * vocosc::mels);
  CHECK(same(analysis.analyse(whole, heard), vocosc::Span<float>(plain_frames, std::size_t(found) * vocosc::mels)));
  const std::size_t left = std::size_t(vocosc_mel_flush(&plain_analysis, &scratch, plain_frames)) * vocosc::mels;
  CHECK(same(analysis.flush(heard), vocosc::Span<float>(plain_frames, left)) && analysis);

  // Mistakes
  std::vector<float> wrong(mel.size() - 1), small(1);
  CHECK(fails(stream, VOCOSC_BAD_ARGUMENT, [&] { return stream.decode(wrong, audio); }));
  CHECK(fails(stream, VOCOSC_BAD_ARGUMENT, [&] { return stream.decode(mel, small); }));
  CHECK(fails(analysis, VOCOSC_BAD_ARGUMENT, [&] { return analysis.analyse(whole, small); }));
  mel[3] = -1.0f / 0.0f;
  CHECK(fails(stream, VOCOSC_BAD_INPUT, [&] { return stream.decode(mel, audio); }));
  CHECK(fails(vocoder, VOCOSC_BAD_INPUT, [&] { return vocoder.decode(mel); }));

  static_assert(std::is_trivially_copyable_v<vocosc::Stream> && !std::is_copy_constructible_v<vocosc::Vocoder>);
  static_assert(std::is_constructible_v<vocosc::Span<const float>, const std::vector<float> &>);
  static_assert(!std::is_constructible_v<vocosc::Span<float>, const std::vector<float> &>);
  return 0;
}
