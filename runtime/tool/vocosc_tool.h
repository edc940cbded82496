/* What the commands share on the terminal: the command line, errors, progress and reports. */
#ifndef VOCOSC_TOOL_H
#define VOCOSC_TOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "vocosc.h"

/* ---- the command line ---- */

/* The ways of a GPU, and no GPU. The names are values of --target. */
typedef enum { GPU_NONE, GPU_GRAPH, GPU_SINGLE_KERNEL, GPU_LIBRARIES, GPU_WAYS } gpu_way;

/* The commands, as bits of a set. */
enum { DECODE = 1, MEL = 2, COPY = 4, INFO = 8, BENCH = 16, SELFTEST = 32 };

/* The most that --runs and --frames of bench take. */
enum { MOST_RUNS = 1000000, MOST_FRAMES = 1000000 };

typedef struct {
  int chunk;
  int threads;
  int streams; /* streams * chunk is at most VOCOSC_MAX_ROWS */
  vocosc_target target;
  gpu_way gpu; /* but for GPU_NONE, target is not used */
  int warmup;
  int runs;
  int seconds; /* that a bench takes at most, or about: 0 for no end */
  int frames;  /* 0 if not given */
  const char *mel;
  const char *weights; /* null if not given */
  int raw;             /* a file_format: of samples on standard input and output; FILE_OTHER if not given */
  bool flush;
  bool json;
  bool help;
  const char *files[2];
} command_options;

/* A command; run returns an exit code. */
typedef struct {
  const char *name;
  int (*run)(const command_options *options);
  int bit;
  int files; /* how many file names it takes */
} tool_command;

int vocosc_tool_decode(const command_options *options);
int vocosc_tool_mel(const command_options *options);
int vocosc_tool_copy(const command_options *options);
int vocosc_tool_info(const command_options *options);
int vocosc_tool_bench(const command_options *options);
int vocosc_tool_selftest(const command_options *options);

/* Reads the arguments of a command. Returns false after an error, which it has reported. */
bool options_parse(command_options *options, const tool_command *command, int count, char **arguments);

/* ---- errors: one line each, `NAME: SUBJECT: what (what to do)`, on standard error ---- */

/* The exit code of a wrong command line; the others are EXIT_SUCCESS and EXIT_FAILURE. */
enum { EXIT_USAGE = 2 };

/* Prints an error about the subject: a file, an option or a command. Returns false, for `return fail(...)`. */
bool fail(const char *subject, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a system call that failed: "cannot write: No space left on device". Takes the reason from errno. */
bool fail_errno(const char *subject, const char *action);

/* ---- a line of progress on standard error, if that is a terminal, once a job has taken more than a second ---- */

/* Monotonic time in milliseconds. */
double now_ms(void);

/* Says that `done` of `total` units are done; a negative total is unknown. Cheap enough to call for every chunk. */
void progress_show(int64_t done, int64_t total, const char *unit);

/* Removes the line. */
void progress_clear(void);

/* ---- results on standard output: lines of `key value`, aligned, or one JSON object with the same keys ---- */

void report_begin(bool json);
void report_text(const char *key, const char *value);
void report_count(const char *key, long long value);
void report_number(const char *key, double value);

/* A list of numbers, given as text: "5,10". */
void report_numbers(const char *key, const char *list);

/* A list of words. */
void report_words(const char *key, const char *const *words, int count);

/* Returns false if it could not all be written, which it has reported. */
bool report_end(void);

#endif /* VOCOSC_TOOL_H */
