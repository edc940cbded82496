// Decodes mel from standard input to audio on standard output, both raw float32.
//
//   c++ -std=c++17 -O2 -fno-exceptions -fno-rtti -Igenerated/vocos main.cpp generated/vocos/libvocos.a -o decode
//   ./decode <mel.f32 >audio.f32

#include <cstdio>

#include "vocos.hpp"

namespace {
void write(vocos::Span<const float> audio) { std::fwrite(audio.data(), sizeof(float), audio.size(), stdout); }
}  // namespace

int main() {
  static vocos::Vocoder vocoder;
  static float mel[vocos::max_frames * vocos::mels];
  constexpr std::size_t frame_bytes = vocos::mels * sizeof(float);
  while (const std::size_t frames = std::fread(mel, frame_bytes, vocos::max_frames, stdin)) {
    write(vocoder.decode({mel, frames * vocos::mels}));
  }
  write(vocoder.flush());
  if (!vocoder) std::fprintf(stderr, "%s\n", vocoder.status_text());
  return vocoder ? 0 : 1;
}
