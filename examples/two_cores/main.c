/*
 * Decodes the utterance in the image on one core and on two, and prints the CRC-32 of the audio: the same.
 *
 * For two bare Cortex-A53, in QEMU, or (BOARD=desk) two threads; MODEL and UTTERANCE as in ../bare_metal/README.md:
 *
 *   make -C examples/two_cores BOARD=cortex_a53 MODEL=$PWD/generated/a53 UTTERANCE=$PWD/mel.f32 run
 */
#include "console.h"
#include "crc32.h"
#include "team.h"

extern const float utterance[]; /* [frames][VOCOS_MELS] */
extern const float utterance_end[];

static vocos_stream stream;
static vocos_scratch scratch;
static float audio[VOCOS_MAX_FRAMES * VOCOS_HOP];
static two_core_team team;

static void core_1(void) { help(&team); }

/* Returns the number of samples or a negative status. */
static int decode(int cores, uint32_t *crc) {
  const int frames = (int)(utterance_end - utterance) / VOCOS_MELS;
  int samples = 0;
  const int status = vocos_init(&stream);
  if (status != VOCOS_OK) return status;
  for (int first = 0; first < frames; first += VOCOS_MAX_FRAMES) {
    const int chunk = frames - first < VOCOS_MAX_FRAMES ? frames - first : VOCOS_MAX_FRAMES;
    const float *mel = utterance + first * VOCOS_MELS;
    const int count = cores == 1 ? vocos_decode(&stream, &scratch, mel, chunk, audio)
                                 : decode_on_two_cores(&team, &stream, &scratch, mel, chunk, audio);
    if (count < 0) return count;
    *crc = crc32(*crc, audio, count);
    samples += count;
  }
  return samples;
}

int main(void) {
  start_core_1(core_1);
  for (int cores = 1; cores <= 2; cores++) {
    uint32_t crc = 0;
    const int samples = decode(cores, &crc);
    if (samples < 0) {
      print_text(vocos_status_text(samples));
      print_text("\n");
      return 1;
    }
    print_number((uint32_t)cores);
    print_text(cores == 1 ? " core: " : " cores: ");
    print_number((uint32_t)samples);
    print_text(" samples, crc32 ");
    print_hex(crc);
    print_text("\n");
  }
  return 0;
}
