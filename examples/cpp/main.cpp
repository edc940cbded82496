// Decodes mel from standard input to audio on standard output, both raw float32.
//
//   c++ -std=c++17 -O2 -fno-exceptions -fno-rtti -Igenerated/vocos main.cpp generated/vocos/libvocos.a -o decode
//   ./decode <mel.f32 >audio.f32

#include <cstdio>

#include "vocoder.hpp"

namespace {
vocos_scratch scratch;
float mel[Vocoder::max_frames * Vocoder::mels];
float audio[Vocoder::max_frames * Vocoder::hop];
float tail[Vocoder::tail];

void write(const float *samples, int count) { std::fwrite(samples, sizeof *samples, std::size_t(count), stdout); }
}  // namespace

int main() {
  static Vocoder vocoder(scratch);
  constexpr std::size_t frame_bytes = Vocoder::mels * sizeof(float);
  while (const int frames = int(std::fread(mel, frame_bytes, Vocoder::max_frames, stdin))) {
    write(audio, vocoder.decode(mel, frames, audio));
  }
  write(tail, vocoder.flush(tail));
  if (!vocoder) std::fprintf(stderr, "%s\n", vocoder.status_text());
  return vocoder ? 0 : 1;
}
