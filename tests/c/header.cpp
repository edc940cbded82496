// C++ can include the header, twice, and link with the library.
#include "vocosc.h"

static vocosc_stream stream;
static vocosc_mel_stream mel_stream;
static vocosc_scratch scratch;

int main() {
  static float mel[VOCOSC_MELS], audio[VOCOSC_HOP];
  if (vocosc_init(&stream) != VOCOSC_OK || vocosc_mel_init_target(&mel_stream, VOCOSC_PORTABLE) != VOCOSC_OK) return 1;
  if (vocosc_mel(&mel_stream, &scratch, audio, VOCOSC_HOP, mel) != 1) return 2;
  return vocosc_decode(&stream, &scratch, mel, 1, audio) == VOCOSC_HOP ? 0 : 3;
}
