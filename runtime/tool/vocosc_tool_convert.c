/* The commands that turn one file into another: decode, mel and copy. */
#include <stdlib.h>
#include <string.h>

#include "vocosc_tool.h"
#include "vocosc_tool_decoder.h"
#include "vocosc_tool_files.h"

/* The memory of the one utterance in work. It is all static, as in a program that has no heap. */
static tool_decoder decoder;
static float audio[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
static file_writer out;

static int wrong_output(const char *path, const char *kind, const char *names) {
  fail(path, "is no kind of %s output (give a name in %s)", kind, names);
  return EXIT_USAGE;
}

/* The format of an output: the path's, and of a pipe what --raw says, or else `usual`. */
static file_format output_format(const command_options *options, file_format usual) {
  const char *path = options->files[1];
  if (strcmp(path, "-") != 0) return path_format(path);
  return options->raw != FILE_OTHER ? (file_format)options->raw : usual;
}

static int exit_code(bool ok) {
  progress_clear();
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Decodes some frames and writes what is complete. */
static bool write_audio(const float *mel, int frames) {
  const int samples = decoder_run(&decoder, mel, frames, audio);
  return samples >= 0 && writer_write(&out, audio, (size_t)samples);
}

static bool write_tail(void) {
  static float tail[VOCOSC_TAIL + 1]; /* the tail may have no samples, an array may not */
  const int samples = decoder_flush(&decoder, tail);
  return samples >= 0 && writer_write(&out, tail, (size_t)samples);
}

/* The samples of an utterance of so many frames, with the tail or without; -1 if nobody knows how many they are. */
static int64_t audio_samples(int64_t frames, bool with_tail) {
  if (frames <= 0) return frames;
  return with_tail ? VOCOSC_UTTERANCE_SAMPLES(frames) : frames * VOCOSC_HOP;
}

/* ---- decode ---- */

/* Whether the tail is part of the audio: always, where decode gives fewer samples at first. */
static bool wants_tail(const command_options *options) { return options->flush || VOCOSC_COUNTS_FRAMES; }

static bool decode_frames(const command_options *options, mel_reader *in) {
  const float *mel;
  int frames;
  while ((frames = mel_read(in, options->chunk, &mel)) > 0) {
    if (!write_audio(mel, frames)) return false;
    progress_show(in->position, in->frames, "frames");
  }
  return frames == 0 && (!wants_tail(options) || write_tail());
}

int vocosc_tool_decode(const command_options *options) {
  static mel_reader in;
  const char *path = options->files[1];
  if (path_format(path) == FILE_OTHER) {
    return wrong_output(path, "audio", ".wav or .npy, or - for a pipe");
  }
  if (!decoder_start(&decoder, options)) return EXIT_FAILURE;
  bool ok = mel_open(&in, options->files[0]);
  if (ok) {
    const int64_t samples = audio_samples(in.frames, wants_tail(options));
    ok = writer_close(
        &out, writer_open(&out, path, output_format(options, FILE_FLOATS), 0, samples) && decode_frames(options, &in));
  }
  mel_close(&in);
  decoder_stop(&decoder);
  return exit_code(ok);
}

/* ---- mel and copy: audio in, chunk by chunk, as log-mel ---- */

typedef struct {
  wav_reader wav;
  vocosc_mel_stream stream;
  int64_t position; /* samples read */
  bool ended;
  const float *mel; /* the frames that were handed out */
  int given;        /* so many */
  int waiting;      /* and so many behind them */
  union {
    int16_t shorts[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
    float floats[VOCOSC_MAX_FRAMES * VOCOSC_HOP];
  } audio;
  float frames[(VOCOSC_MAX_FRAMES + VOCOSC_MEL_TAIL) * VOCOSC_MELS];
} analysis;

static bool analysis_open(analysis *in, const char *path, file_format raw) {
  in->position = 0;
  in->ended = false;
  in->given = 0;
  in->waiting = 0;
  if (!wav_open(&in->wav, path, raw)) return false;
  const int status = vocosc_mel_init(&in->stream);
  return status == VOCOSC_OK || fail(path, "%s", vocosc_status_text(status));
}

/* The frames of the next `chunk` hops of audio, with those of the flush at its end. False after a reported error. */
static bool analysis_fill(analysis *in, int chunk) {
  vocosc_scratch *scratch = &decoder.scratch;
  const int samples = wav_read(&in->wav, &in->audio, chunk * VOCOSC_HOP);
  if (samples < 0) return false;
  in->position += samples;
  int frames = in->wav.format == FILE_FLOATS
                   ? vocosc_mel(&in->stream, scratch, in->audio.floats, samples, in->frames)
                   : vocosc_mel_int16(&in->stream, scratch, in->audio.shorts, samples, in->frames);
  if (frames >= 0 && samples < chunk * VOCOSC_HOP) {
    in->ended = true;
    const int flushed = vocosc_mel_flush(&in->stream, scratch, in->frames + frames * VOCOSC_MELS);
    frames = flushed < 0 ? flushed : frames + flushed;
  }
  if (frames < 0) return fail(in->wav.path, "%s", vocosc_status_text(frames));
  in->mel = in->frames;
  in->given = 0;
  in->waiting = frames;
  progress_show(in->position, in->wav.samples, "samples");
  return true;
}

/* Points in->mel at the next frames, at most `chunk`. Returns how many, 0 at the end, or -1 after a reported error. */
static int analysis_read(analysis *in, int chunk) {
  if (in->given > 0) in->mel += in->given * VOCOSC_MELS;
  in->given = 0;
  while (in->waiting == 0 && !in->ended) {
    if (!analysis_fill(in, chunk)) return -1;
  }
  in->given = in->waiting < chunk ? in->waiting : chunk;
  in->waiting -= in->given;
  return in->given;
}

/* Writes the log-mel of all frames, or what the decoder makes of it. */
static bool write_frames(const command_options *options, analysis *in, bool is_copy) {
  int frames;
  while ((frames = analysis_read(in, options->chunk)) > 0) {
    if (is_copy ? !write_audio(in->mel, frames) : !writer_write(&out, in->mel, (size_t)frames)) return false;
  }
  return frames == 0 && (!is_copy || !VOCOSC_COUNTS_FRAMES || write_tail());
}

static bool convert(const command_options *options, bool is_copy) {
  static analysis in;
  if (!VOCOSC_HAS_MEL) {
    return fail(is_copy ? "copy" : "mel", "this model takes no mel, but " VOCOSC_MEL_TEXT);
  }
  bool ok = analysis_open(&in, options->files[0], (file_format)options->raw);
  if (ok) {
    const int64_t samples = in.wav.samples;
    const int64_t frames = samples < 0 ? -1 : VOCOSC_MEL_FRAMES(samples);
    const int64_t rows = is_copy ? audio_samples(frames, VOCOSC_COUNTS_FRAMES) : frames;
    /* A pipe goes on as what it came as; frames are float32 in any case. */
    const file_format format = is_copy ? output_format(options, in.wav.format) : path_format(options->files[1]);
    ok = writer_open(&out, options->files[1], format, is_copy ? 0 : VOCOSC_MELS, rows);
    ok = writer_close(&out, ok && write_frames(options, &in, is_copy));
  }
  wav_close(&in.wav);
  return ok;
}

int vocosc_tool_mel(const command_options *options) {
  const file_format format = path_format(options->files[1]);
  if (format != FILE_NPY && format != FILE_FLOATS) {
    return wrong_output(options->files[1], "mel", ".npy, or - for a pipe");
  }
  return exit_code(convert(options, false));
}

int vocosc_tool_copy(const command_options *options) {
  const file_format format = path_format(options->files[1]);
  if (format != FILE_WAV && format != FILE_FLOATS) {
    return wrong_output(options->files[1], "copy", ".wav, or - for a pipe");
  }
  if (!decoder_start(&decoder, options)) return EXIT_FAILURE;
  const bool ok = convert(options, true);
  decoder_stop(&decoder);
  return exit_code(ok);
}
