/*
 * Audio out by double-buffered DMA on a Cortex-M. A converter takes samples from one half of a buffer while the program
 * fills the other one; at the end of each half it raises an interrupt. Here the core's timer stands for it: each tick
 * is the end of a half, CHUNK frames of audio. What the converter has played is added to a CRC-32, which is the desk's;
 * a half that is not complete when its turn comes is late, and counted.
 *
 *   make BOARD=cortex_m7 PROGRAM=audio_out.c FLAGS=-DCHUNK=2 EMULATOR_FLAGS="-icount shift=2" \
 *     MODEL=... UTTERANCE=... run
 *
 * -icount lets an instruction take 2^shift ns, so that the run is the same every time: shift=2 is a core that does 250
 * million instructions a second.
 */
#include "console.h"
#include "vocos.h"

extern const float utterance[]; /* [frames][VOCOS_MELS] */
extern const float utterance_end[];

void tick(void);

enum { SAMPLES = CHUNK * VOCOS_HOP, TIMER_HZ = 25000000 };

/* SysTick, counting down at the core's clock, which is 25 MHz on these boards. */
#define TIMER_CONTROL (*(volatile uint32_t *)0xe000e010)
#define TIMER_RELOAD (*(volatile uint32_t *)0xe000e014)
#define TIMER_VALUE (*(volatile uint32_t *)0xe000e018)
enum { TIMER_ON = 7 }; /* enabled, with interrupt, at the core's clock */

static vocos_stream stream;
static vocos_scratch scratch;
static int16_t halves[2][SAMPLES];
static volatile int is_full[2];
static volatile int playing; /* the half whose turn it is */
static volatile int late;
static volatile int played;
static uint32_t crc;

static uint32_t crc32_bytes(uint32_t sum, const void *data, int count) {
  const unsigned char *bytes = data;
  sum = ~sum;
  for (int i = 0; i < count; i++) {
    sum ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (sum & 1 ? 0xedb88320u : 0);
  }
  return ~sum;
}

/* The end of a half: the converter goes on with the other one, which must be full. */
void tick(void) {
  const int next = 1 - playing;
  is_full[playing] = 0;
  played++;
  if (!is_full[next]) late++;
  playing = next;
}

static int fill(int half, int first) {
  const int samples = vocos_decode_int16(&stream, &scratch, utterance + first * VOCOS_MELS, CHUNK, halves[half]);
  if (samples != SAMPLES) return 0;
  crc = crc32_bytes(crc, halves[half], (int)sizeof halves[half]);
  is_full[half] = 1;
  return 1;
}

int main(void) {
  const int frames = (int)(utterance_end - utterance) / VOCOS_MELS / CHUNK * CHUNK;
  if (vocos_init(&stream) != VOCOS_OK || !fill(0, 0)) return 1;
  TIMER_RELOAD = (uint32_t)((uint64_t)TIMER_HZ * SAMPLES / VOCOS_SAMPLE_RATE - 1);
  TIMER_VALUE = 0;
  TIMER_CONTROL = TIMER_ON;
  int half = 1;
  for (int first = CHUNK; first < frames; first += CHUNK) {
    while (is_full[half]) __asm__ volatile("wfi");
    if (!fill(half, first)) return 1;
    half = 1 - half;
  }
  TIMER_CONTROL = 0;
  print_number((uint32_t)(frames * VOCOS_HOP));
  print_text(" samples, crc32 ");
  print_hex(crc);
  print_text(", halves played ");
  print_number((uint32_t)played);
  print_text(", late ");
  print_number((uint32_t)late);
  print_text("\n");
  return 0;
}
