#include "vocosc_tool_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vocosc_team_pthread.h"
#include "vocosc_tool_decoder.h"
#include "vocosc_tool_error.h"

enum { MAX_RUNS = 1000000, MAX_BENCH_FRAMES = 1000000, MAX_STREAMS = 1000000, LONGEST_OPTION = 16 };

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
  for (int i = VOCOSC_BEST; i <= LAST_TARGET; i++) {
    if (strcmp(text, vocosc_target_name(i)) == 0) {
      options->target = (vocosc_target)i;
      return true;
    }
  }
  return fail(option, "'%s' is no target (`" VOCOSC_NAME " info` lists them)", text);
}

static bool set_flag(command_options *options, const char *name) {
  if (strcmp(name, "--flush") == 0) {
    options->flush = true;
  } else if (strcmp(name, "--json") == 0) {
    options->json = true;
  } else {
    return false;
  }
  return true;
}

static bool set_value(command_options *options, const char *name, const char *text) {
  if (strcmp(name, "--chunk") == 0) return parse_number(name, text, 1, VOCOSC_MAX_FRAMES, &options->chunk);
  if (strcmp(name, "--threads") == 0) return parse_number(name, text, 1, VOCOSC_TEAM_PTHREAD_MAX, &options->threads);
  if (strcmp(name, "--streams") == 0) return parse_number(name, text, 1, MAX_STREAMS, &options->streams);
  if (strcmp(name, "--target") == 0) return parse_target(name, text, options);
  if (strcmp(name, "--warmup") == 0) return parse_number(name, text, 0, MAX_RUNS, &options->warmup);
  if (strcmp(name, "--runs") == 0) return parse_number(name, text, 1, MAX_RUNS, &options->runs);
  if (strcmp(name, "--frames") == 0) return parse_number(name, text, 1, MAX_BENCH_FRAMES, &options->frames);
  *(strcmp(name, "--weights") == 0 ? &options->weights : &options->mel) = text;
  return true;
}

/* Whether a call can take a chunk of each stream. */
static bool check_streams(const command_options *options) {
  if (options->streams <= VOCOSC_MAX_FRAMES / options->chunk) return true;
  const long long frames = (long long)options->streams * options->chunk;
  return fail("--streams",
              "%d streams x --chunk %d are %lld frames a call, at most %d (give a smaller --chunk, or compile with "
              "--chunk %lld)",
              options->streams, options->chunk, frames, VOCOSC_MAX_FRAMES, frames);
}

/* Whether ` name ` is in the list. */
static bool is_allowed(const char *allowed, const char *name) {
  char word[LONGEST_OPTION + 3];
  if (strlen(name) > LONGEST_OPTION) return false;
  snprintf(word, sizeof word, " %s ", name);
  return strstr(allowed, word) != NULL;
}

/* Takes `--name`, `--name VALUE` or `--name=VALUE`; moves *index on to the value if that is an argument of its own. */
static bool parse_option(command_options *options, const char *command, const char *allowed, int count,
                         char **arguments, int *index) {
  const char *argument = arguments[*index];
  const size_t length = strcspn(argument, "=");
  const bool has_value = argument[length] == '=';
  char name[LONGEST_OPTION + 1] = "";
  if (length <= LONGEST_OPTION) memcpy(name, argument, length);
  if (name[0] == '\0' || !is_allowed(allowed, name)) {
    return fail(argument, "is no option of %s (try `" VOCOSC_NAME " --help`)", command);
  }
  if (set_flag(options, name)) return !has_value || fail(name, "takes no value");
  if (has_value) return set_value(options, name, argument + length + 1);
  if (*index + 1 == count) return fail(name, "needs a value (try `" VOCOSC_NAME " --help`)");
  *index += 1;
  return set_value(options, name, arguments[*index]);
}

bool options_parse(command_options *options, const char *command, const char *allowed, int files, int count,
                   char **arguments) {
  memset(options, 0, sizeof *options);
  options->chunk = VOCOSC_MAX_FRAMES;
  options->threads = 1;
  options->streams = 1;
  options->target = VOCOSC_BEST;
  options->warmup = 100;
  options->runs = 1000;
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
      if (!parse_option(options, command, allowed, count, arguments, &i)) return false;
    } else if (found == files) {
      return fail(argument, "is one file too many for %s (try `" VOCOSC_NAME " --help`)", command);
    } else {
      options->files[found++] = argument;
    }
  }
  if (found == files) return check_streams(options);
  return fail(command, "needs %d files, found %d (try `" VOCOSC_NAME " --help`)", files, found);
}
