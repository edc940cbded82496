/*
 * Files in and out: WAV of 16-bit mono PCM at the model's sample rate, NumPy's .npy of little-endian float32, and raw
 * float32 or int16 on standard input and output. Functions that return false, or a negative count, have reported an
 * error.
 */
#ifndef VOCOSC_TOOL_FILES_H
#define VOCOSC_TOOL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vocosc.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the host tool reads and writes values as they lie in memory, and needs a little-endian machine"
#endif

/* What WAV files say of their format. */
enum { WAV_PCM = 1, WAV_FLOAT = 3, WAV_EXTENSIBLE = 0xfffe, WAV_SAMPLE_BYTES = 2 };

/* Programs that write WAV to a pipe put this or more where they cannot know the size. */
#define WAV_UNKNOWN_SIZE 0x7ffff000u

typedef enum { FILE_OTHER, FILE_FLOATS, FILE_SHORTS, FILE_WAV, FILE_NPY } file_format; /* the first two are raw */

/* The format that a path stands for: by its extension, in whatever case, or raw float32 for "-". */
file_format path_format(const char *path);

/* ---- in ---- */

typedef struct {
  const char *path; /* for messages */
  FILE *file;
  file_format format; /* WAV, or raw */
  int64_t samples;    /* in the file; -1 if its header was written before the length was known, or it has none */
  int64_t position;
  unsigned char head[4]; /* what the format was told by */
  size_t head_bytes;     /* of them not yet read */
} wav_reader;

/*
 * Opens a WAV file, or "-": raw samples of the format `raw`, or, if that is FILE_OTHER, what its first bytes show, WAV
 * or int16. No sample, or a WAV of any other format than 16-bit mono PCM at the model's rate, is an error.
 */
bool wav_open(wav_reader *reader, const char *path, file_format raw);

/* Reads up to `count` samples, as float if the format is FILE_FLOATS, else as int16; fewer only at the end. */
int wav_read(wav_reader *reader, void *samples, int count);

/* Does nothing if the reader is not open. */
void wav_close(wav_reader *reader);

/*
 * Reads a C-ordered float32 matrix (rows x columns) that must have the given number of columns and at least one row;
 * the caller frees *values, which is null after an error.
 */
bool npy_read(const char *path, size_t columns, float **values, size_t *rows);

/* Log-mel, chunk by chunk: a .npy file (frames x mels), or raw float32 on standard input. */
typedef struct {
  const char *name;                             /* for messages */
  float *matrix;                                /* a whole file; null for standard input */
  int64_t frames;                               /* in the file; -1 for standard input */
  int64_t position;                             /* frames handed out */
  float chunk[VOCOSC_MAX_FRAMES * VOCOSC_MELS]; /* for standard input */
} mel_reader;

/* Opens a path, or "-". A file is read and checked as a whole: no frame of a bad file is ever handed out. */
bool mel_open(mel_reader *reader, const char *path);

/* Points *mel at the next frames, at most `frames`; returns how many, 0 at the end. */
int mel_read(mel_reader *reader, int frames, const float **mel);

void mel_close(mel_reader *reader);

/* ---- out ---- */

/*
 * An output that is whole or not there: a file is written beside its final name, as `PATH.partial-PID`, and takes
 * that name once all of it is written. Standard output ("-"), pipes and devices are written directly.
 */
typedef struct {
  const char *name; /* for messages */
  char *path;       /* where the file goes, links followed; null if written directly */
  char *partial;    /* where it is written; null if written directly: then what was written cannot be changed */
  int descriptor;
} output;

/* Makes writing to a closed pipe or beyond a size limit an error, and lets a signal remove a partial file. */
void output_setup(void);

/* After any of these failed, call output_discard. */
bool output_open(output *out, const char *path);
bool output_write(output *out, const void *bytes, size_t count);
bool output_commit(output *out);

/* Writes over a partial file's first bytes; nothing may be written after. */
bool output_rewrite(output *out, const void *bytes, size_t count);

/* Gives up: removes what was written. Does nothing to an output that is not open. */
void output_discard(output *out);

typedef struct {
  output out;
  file_format format;
  size_t columns;
  int64_t announced;
  int64_t rows;
} file_writer;

/*
 * Writes a matrix of `columns`, or a vector if that is 0, row by row; in WAV or int16, a vector of samples whose full
 * scale is +-1, rounded to nearest and clipped. `rows` says how many will come; -1 is unknown, and then the
 * header is put right in the end, or, in a pipe, stays at the largest size of a WAV, as is the custom.
 */
bool writer_open(file_writer *writer, const char *path, file_format format, size_t columns, int64_t rows);
bool writer_write(file_writer *writer, const float *values, size_t rows);

/* Ends the file; if all went well so far and it is whole, it stays, else nothing of it does. Returns whether it does.
 */
bool writer_close(file_writer *writer, bool ok);

#endif /* VOCOSC_TOOL_FILES_H */
