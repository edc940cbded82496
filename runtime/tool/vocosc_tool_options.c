#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vocosc_team_pthread.h"
#include "vocosc_tool_decoder.h"
#include "vocosc_tool_files.h"

enum { MOST_STREAMS = 1000000, MOST_SECONDS = 1000000 };

typedef struct {
  const char *name;
  int commands; /* that take it */
  enum { FLAG, NUMBER, TEXT, TARGET, RAW } kind;
  size_t field;
  int smallest; /* and largest: of a number */
  int largest;
} option;

#define FIELD(name) offsetof(command_options, name)

static const option known[] = {
    {"--chunk", DECODE | COPY | BENCH, NUMBER, FIELD(chunk), 1, VOCOSC_MAX_FRAMES},
    {"--threads", DECODE | BENCH, NUMBER, FIELD(threads), 1, VOCOSC_TEAM_PTHREAD_MAX},
    {"--streams", BENCH, NUMBER, FIELD(streams), 1, MOST_STREAMS},
    {"--target", DECODE | BENCH, TARGET, 0, 0, 0},
    {"--warmup", BENCH, NUMBER, FIELD(warmup), 0, MOST_RUNS},
    {"--runs", BENCH, NUMBER, FIELD(runs), 1, MOST_RUNS},
    {"--seconds", BENCH, NUMBER, FIELD(seconds), 0, MOST_SECONDS},
    {"--frames", BENCH, NUMBER, FIELD(frames), 1, MOST_FRAMES},
    {"--mel", BENCH, TEXT, FIELD(mel), 0, 0},
    /* Where the weights are in the object, there is nothing to name. */
    {"--weights", VOCOSC_BAKED ? 0 : DECODE | COPY | BENCH | SELFTEST, TEXT, FIELD(weights), 0, 0},
    {"--raw", DECODE | MEL | COPY, RAW, 0, 0, 0},
    {"--flush", DECODE, FLAG, FIELD(flush), 0, 0},
    {"--json", INFO | BENCH | SELFTEST, FLAG, FIELD(json), 0, 0},
};

static bool parse_number(const char *option, const char *text, int smallest, int largest, int *number) {
  char *end;
  errno = 0;
  const long value = strtol(text, &end, 10);
  if (end == text || *end != '\0') {
    return fail(option, "'%s' is not a whole number (give %d to %d)", text, smallest, largest);
  }
  if (errno != 0 || value < smallest || value > largest) {
    return fail(option, "%s is out of range (give %d to %d)", text, smallest, largest);
  }
  *number = (int)value;
  return true;
}

static bool parse_target(const char *option, const char *text, command_options *options) {
  options->gpu = GPU_NONE;
  for (int i = GPU_NONE + 1; i < GPU_WAYS; i++) {
    if (strcmp(text, gpu_way_name((gpu_way)i)) == 0) {
      options->gpu = (gpu_way)i;
      return true;
    }
  }
  const bool is_name = strcmp(text, vocosc_target_name(-1)) != 0;
  for (int i = VOCOSC_BEST; is_name && i <= LAST_TARGET; i++) {
    if (strcmp(text, vocosc_target_name(i)) == 0) {
      options->target = (vocosc_target)i;
      return true;
    }
  }
  return fail(option, "'%s' is no target (`" VOCOSC_NAME " info` lists them)", text);
}

static bool parse_raw(const char *option, const char *text, command_options *options) {
  options->raw = strcmp(text, "s16") == 0 ? FILE_SHORTS : strcmp(text, "f32") == 0 ? FILE_FLOATS : FILE_OTHER;
  return options->raw != FILE_OTHER || fail(option, "'%s' is no format of samples (give s16 or f32)", text);
}

static bool set_value(command_options *options, const option *option, const char *text) {
  void *field = (char *)options + option->field;
  switch (option->kind) {
    case FLAG:
      *(bool *)field = true;
      return true;
    case NUMBER:
      return parse_number(option->name, text, option->smallest, option->largest, field);
    case TEXT:
      *(const char **)field = text;
      return true;
    case RAW:
      return parse_raw(option->name, text, options);
    case TARGET:
      break;
  }
  return parse_target(option->name, text, options);
}

/* Whether a call can take a chunk of each stream. */
static bool check_streams(const command_options *options) {
  if (options->streams <= VOCOSC_MAX_ROWS / options->chunk) return true;
  const long long frames = (long long)options->streams * options->chunk;
  return fail("--streams",
              "%d streams x --chunk %d are %lld frames a call, at most %d (give a smaller --chunk, or compile with "
              "--chunk %d --streams %d)",
              options->streams, options->chunk, frames, VOCOSC_MAX_ROWS, options->chunk, options->streams);
}

/* Whether --raw has samples in a pipe to speak of: of decode and copy those that go out, of mel and copy those that
 * come. */
static bool check_raw(const command_options *options, const tool_command *command) {
  if (options->raw == FILE_OTHER) return true;
  if (command->bit != DECODE && strcmp(options->files[0], "-") == 0) return true;
  if (command->bit != MEL && strcmp(options->files[1], "-") == 0) return true;
  return fail("--raw", "says what is in a pipe, and there is none (give - as the name of a file)");
}

/* Takes `--name`, `--name VALUE` or `--name=VALUE`; moves *index on to the value if that is an argument of its own. */
static bool parse_option(command_options *options, const tool_command *command, int count, char **arguments,
                         int *index) {
  const char *argument = arguments[*index];
  const size_t length = strcspn(argument, "=");
  const char *value = argument[length] == '=' ? argument + length + 1 : NULL;
  for (const option *option = known; option < known + sizeof known / sizeof *known; option++) {
    if ((option->commands & command->bit) == 0 || strlen(option->name) != length) continue;
    if (strncmp(option->name, argument, length) != 0) continue;
    if (option->kind == FLAG && value != NULL) return fail(option->name, "takes no value");
    if (option->kind != FLAG && value == NULL) {
      if (*index + 1 == count) return fail(option->name, "needs a value (try `" VOCOSC_NAME " --help`)");
      *index += 1;
      value = arguments[*index];
    }
    return set_value(options, option, value);
  }
  return fail(argument, "is no option of %s (try `" VOCOSC_NAME " --help`)", command->name);
}

bool options_parse(command_options *options, const tool_command *command, int count, char **arguments) {
  *options = (command_options){.chunk = VOCOSC_MAX_FRAMES,
                               .threads = 1,
                               .streams = 1,
                               .target = VOCOSC_BEST,
                               .warmup = 100,
                               .runs = 1000,
                               .seconds = 60};
  int found = 0;
  bool only_files = false;
  for (int i = 0; i < count; i++) {
    const char *argument = arguments[i];
    if (!only_files && strcmp(argument, "--") == 0) {
      only_files = true;
    } else if (!only_files && (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)) {
      options->help = true;
      return true;
    } else if (!only_files && argument[0] == '-' && argument[1] != '\0') {
      if (!parse_option(options, command, count, arguments, &i)) return false;
    } else if (found == command->files) {
      return fail(argument, "is one file too many for %s (try `" VOCOSC_NAME " --help`)", command->name);
    } else {
      options->files[found++] = argument;
    }
  }
  if (found == command->files) return check_streams(options) && check_raw(options, command);
  return fail(command->name, "needs %d files, found %d (try `" VOCOSC_NAME " --help`)", command->files, found);
}
