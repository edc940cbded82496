/* Errors: one line each, `NAME: SUBJECT: what (what to do)`, on standard error. */
#ifndef VOCOSC_TOOL_ERROR_H
#define VOCOSC_TOOL_ERROR_H

#include <stdbool.h>

/* The exit code of a wrong command line; the others are EXIT_SUCCESS and EXIT_FAILURE. */
enum { EXIT_USAGE = 2 };

/* Prints an error about the subject: a file, an option or a command. Returns false, for `return fail(...)`. */
bool fail(const char *subject, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a system call that failed: "cannot write: No space left on device". Takes the reason from errno. */
bool fail_errno(const char *subject, const char *action);

#endif /* VOCOSC_TOOL_ERROR_H */
