/* The commands that turn one file into another: decode, mel and copy. */
#include <stdlib.h>

#include "vocosc.h"
#include "vocosc_tool_audio.h"
#include "vocosc_tool_commands.h"
#include "vocosc_tool_decoder.h"
#include "vocosc_tool_error.h"
#include "vocosc_tool_mel.h"
#include "vocosc_tool_npy.h"
#include "vocosc_tool_progress.h"
#include "vocosc_tool_wav.h"

/* The memory of the one utterance in work. It is all static, as in a program that has no heap. */
static tool_decoder decoder;
static float audio[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
static float tail[VOCOSC_TAIL + 1]; /* the tail may have no samples, an array may not */

static int exit_code(bool ok) {
  progress_clear();
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- decode ---- */

static bool decode_frames(const command_options *options, mel_reader *in, audio_writer *out) {
  const float *mel;
  int frames;
  while ((frames = mel_read(in, options->chunk, &mel)) > 0) {
    if (!decoder_run(&decoder, mel, frames, audio)) return false;
    if (!audio_write(out, audio, (size_t)frames * VOCOSC_HOP)) return false;
    progress_show(in->position, in->frames, "frames");
  }
  if (frames < 0) return false;
  if (!options->flush) return true;
  const int samples = decoder_flush(&decoder, tail);
  return samples >= 0 && audio_write(out, tail, (size_t)samples);
}

static bool decode_to_audio(const command_options *options, mel_reader *in) {
  static audio_writer out;
  int64_t samples = -1;
  if (in->frames >= 0) samples = in->frames * VOCOSC_HOP + (options->flush ? VOCOSC_TAIL : 0);
  if (audio_open(&out, options->files[1], samples) && decode_frames(options, in, &out) && audio_close(&out)) {
    return true;
  }
  audio_discard(&out);
  return false;
}

int vocosc_tool_decode(const command_options *options) {
  static mel_reader in;
  if (!audio_path_ok(options->files[1])) return EXIT_USAGE;
  if (!decoder_start(&decoder, options)) return EXIT_FAILURE;
  const bool ok = mel_open(&in, options->files[0]) && decode_to_audio(options, &in);
  mel_close(&in);
  decoder_stop(&decoder);
  return exit_code(ok);
}

/* ---- audio in, chunk by chunk, as log-mel ---- */

typedef struct {
  wav_reader wav;
  vocosc_mel_stream stream;
  int64_t position; /* samples read */
  bool ended;
  int16_t samples[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
  float mel[VOCOSC_MAX_FRAMES * VOCOSC_MELS];
} analysis;

static bool analysis_open(analysis *in, const char *path) {
  in->position = 0;
  in->ended = false;
  if (!wav_open(&in->wav, path)) return false;
  const int status = vocosc_mel_init(&in->stream);
  return status == VOCOSC_OK || fail(path, "%s", vocosc_status_text(status));
}

/*
 * Fills in->mel with the frames of the next `chunk` hops of audio. Returns how many they are, 0 at the end, or -1
 * after an error, which it has reported. Whole hops complete as many frames; the rest at the end is flushed.
 */
static int analysis_read(analysis *in, int chunk) {
  if (in->ended) return 0;
  vocosc_scratch *scratch = &decoder.scratch;
  const int samples = wav_read(&in->wav, in->samples, chunk * VOCOSC_HOP);
  if (samples < 0) return -1;
  in->position += samples;
  int frames = vocosc_mel_int16(&in->stream, scratch, in->samples, samples, in->mel);
  if (frames >= 0 && samples < chunk * VOCOSC_HOP) {
    in->ended = true;
    const int flushed = vocosc_mel_flush(&in->stream, scratch, in->mel + frames * VOCOSC_MELS);
    frames = flushed < 0 ? flushed : frames + flushed;
  }
  if (frames < 0) {
    fail(in->wav.path, "%s", vocosc_status_text(frames));
    return -1;
  }
  progress_show(in->position, in->wav.samples, "samples");
  return frames;
}

/* How many frames there will be, or -1. */
static int64_t analysis_frames(const analysis *in) {
  const int64_t samples = in->wav.samples;
  return samples < 0 ? -1 : (samples + VOCOSC_HOP - 1) / VOCOSC_HOP;
}

/* ---- mel ---- */

static bool write_mel(analysis *in, npy_writer *out) {
  int frames;
  while ((frames = analysis_read(in, VOCOSC_MAX_FRAMES)) > 0) {
    if (!npy_write(out, in->mel, (size_t)frames)) return false;
  }
  return frames == 0;
}

static bool analyse_to_npy(const command_options *options, analysis *in) {
  static npy_writer out;
  if (npy_open(&out, options->files[1], VOCOSC_MELS, analysis_frames(in)) && write_mel(in, &out) && npy_close(&out)) {
    return true;
  }
  output_discard(&out.out);
  return false;
}

int vocosc_tool_mel(const command_options *options) {
  static analysis in;
  if (!has_extension(options->files[1], ".npy")) {
    fail(options->files[1], "is no kind of mel output (give a name in .npy)");
    return EXIT_USAGE;
  }
  const bool ok = analysis_open(&in, options->files[0]) && analyse_to_npy(options, &in);
  wav_close(&in.wav);
  return exit_code(ok);
}

/* ---- copy ---- */

static bool copy_audio(const command_options *options, analysis *in, wav_writer *out) {
  int frames;
  while ((frames = analysis_read(in, options->chunk)) > 0) {
    if (!decoder_run(&decoder, in->mel, frames, audio)) return false;
    if (!wav_write(out, audio, (size_t)frames * VOCOSC_HOP)) return false;
  }
  return frames == 0;
}

static bool copy_to_wav(const command_options *options, analysis *in) {
  static wav_writer out;
  const int64_t frames = analysis_frames(in);
  if (wav_create(&out, options->files[1], frames < 0 ? -1 : frames * VOCOSC_HOP) && copy_audio(options, in, &out) &&
      wav_finish(&out)) {
    return true;
  }
  output_discard(&out.out);
  return false;
}

int vocosc_tool_copy(const command_options *options) {
  static analysis in;
  if (!has_extension(options->files[1], ".wav")) {
    fail(options->files[1], "is no kind of copy output (give a name in .wav)");
    return EXIT_USAGE;
  }
  if (!decoder_start(&decoder, options)) return EXIT_FAILURE;
  const bool ok = analysis_open(&in, options->files[0]) && copy_to_wav(options, &in);
  wav_close(&in.wav);
  decoder_stop(&decoder);
  return exit_code(ok);
}
