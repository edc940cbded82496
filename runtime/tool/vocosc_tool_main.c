/* The host tool: decodes, analyses and measures on a PC what the static object does in a product. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vocosc_team_pthread.h"
#include "vocosc_tool.h"
#include "vocosc_tool_files.h"

static const tool_command commands[] = {
    {"decode", vocosc_tool_decode, DECODE, 2}, {"mel", vocosc_tool_mel, MEL, 2},
    {"copy", vocosc_tool_copy, COPY, 2},       {"info", vocosc_tool_info, INFO, 0},
    {"bench", vocosc_tool_bench, BENCH, 0},    {"selftest", vocosc_tool_selftest, SELFTEST, 0},
};

static void print_usage(FILE *file) {
  fprintf(file,
          "usage: " VOCOSC_NAME
          " decode [--chunk N] [--threads T] [--target NAME] [--flush] [--raw F] MEL OUT\n"
          "       " VOCOSC_NAME
          " mel [--raw F] WAV OUT.npy\n"
          "       " VOCOSC_NAME
          " copy [--chunk N] [--raw F] WAV OUT.wav\n"
          "       " VOCOSC_NAME
          " info [--json]\n"
          "       " VOCOSC_NAME
          " selftest [--json]\n"
          "       " VOCOSC_NAME
          " bench [--chunk N] [--threads T] [--streams B] [--target NAME] [--warmup W] [--runs R] [--seconds S] "
          "[--frames F] [--mel MEL] [--json]\n\n"
          "decode  log-mel to audio, chunk by chunk\n"
          "mel     audio to log-mel\n"
          "copy    audio to log-mel to audio, chunk by chunk\n"
          "info    what this model is, needs and can do\n"
          "selftest  whether the object computes what it must, on every instruction set of this CPU\n"
          "bench   the time it takes to decode an utterance\n"
          "\n"
          "MEL     .npy (frames x %d, float32), or - for raw float32 on standard input\n"
          "OUT     .wav (16 bit), .npy (float32), or - for raw float32 on standard output\n"
          "WAV     16-bit PCM, mono, %d Hz, or - for that, or raw int16, on standard input\n"
          "OUT.npy, OUT.wav  may be - for standard output, too: raw float32, and what came in\n"
          "\n"
          "--chunk N      frames per call, 1 to %d (default %d)\n"
          "--threads T    1 to %d (default 1)\n"
          "--streams B    so many streams decoded by each call; B x N is at most %d (default 1)\n"
          "--target NAME  instruction set (default: the best; `info` lists them), or a GPU's way of decoding: cuda,\n"
          "               cuda-single-kernel, cuda-libraries\n"
          "--raw F        samples on standard input and output are raw: s16 or f32\n"
#if VOCOSC_COUNTS_FRAMES
          "--flush        write the last samples too, %d at most: always done with this model\n"
#else
          "--flush        also write the %d samples that frames still to come would have added to\n"
#endif
          "--warmup W     utterances decoded before timing starts (default 100)\n"
          "--runs R       utterances timed (default 1000)\n"
          "--seconds S    no run begins after so long, no warm-up after a tenth of it (default 60; 0: no end)\n"
          "--frames F     frames per utterance (default 162, or all of --mel)\n"
          "--mel MEL      the utterance, .npy (default: a made-up one)\n"
          "--json         print one JSON object\n",
          VOCOSC_MELS, VOCOSC_SAMPLE_RATE, VOCOSC_MAX_FRAMES, VOCOSC_MAX_FRAMES, VOCOSC_TEAM_PTHREAD_MAX,
          VOCOSC_MAX_ROWS, VOCOSC_TAIL);
  if (VOCOSC_BAKED) return;
  fputs("--weights FILE  of decode, copy, selftest and bench (default: " VOCOSC_NAME "_weights.bin beside this tool)\n",
        file);
}

static int print_help(void) {
  print_usage(stdout);
  if (fflush(stdout) == 0 && !ferror(stdout)) return EXIT_SUCCESS;
  fail_errno("standard output", "cannot write");
  return EXIT_FAILURE;
}

static int run_command(const tool_command *command, int count, char **arguments) {
  command_options options;
  if (!options_parse(&options, command, count, arguments)) return EXIT_USAGE;
  if (options.help) return print_help();
  return command->run(&options);
}

int main(int count, char **arguments) {
  output_setup();
  if (count < 2) {
    print_usage(stderr);
    return EXIT_USAGE;
  }
  const char *name = arguments[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
    return print_help();
  }
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    if (strcmp(name, commands[i].name) == 0) return run_command(&commands[i], count - 2, arguments + 2);
  }
  fail(name, "is no command (try `" VOCOSC_NAME " --help`)");
  return EXIT_USAGE;
}
