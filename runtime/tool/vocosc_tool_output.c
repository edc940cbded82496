#define _XOPEN_SOURCE 700 /* POSIX 2008 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vocosc_tool.h"
#include "vocosc_tool_files.h"

/* What a signal has to remove before it ends the program. */
static const char *volatile partial_file = NULL;

static void remove_partial_file(int signal_number) {
  if (partial_file != NULL) unlink(partial_file);
  /* The default action is back (SA_RESETHAND) and ends the program as soon as this handler returns. */
  raise(signal_number);
}

void output_setup(void) {
  signal(SIGPIPE, SIG_IGN);
#ifdef SIGXFSZ
  signal(SIGXFSZ, SIG_IGN);
#endif
  static const int ending[] = {SIGHUP, SIGINT, SIGTERM};
  for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
    struct sigaction action;
    /* A signal that is ignored (nohup) stays so. */
    if (sigaction(ending[i], NULL, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    memset(&action, 0, sizeof action);
    action.sa_handler = remove_partial_file;
    action.sa_flags = (int)SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(ending[i], &action, NULL);
  }
}

static bool open_directly(output *out, const char *path) {
  out->descriptor = open(path, O_WRONLY);
  return out->descriptor >= 0 || fail_errno(path, "cannot open for writing");
}

/*
 * The path with the links followed; the path itself if there is no such file. Null if that cannot be told, or if it is
 * a link to a file that does not exist: a link is never replaced.
 */
static char *final_path(const char *path) {
  struct stat status;
  char *resolved = realpath(path, NULL);
  if (resolved != NULL || errno != ENOENT || lstat(path, &status) == 0) return resolved;
  return strdup(path);
}

/* Gives the new file the older one's permissions, and where that is allowed its owner. */
static void keep_permissions(int descriptor, const char *path) {
  struct stat status;
  if (stat(path, &status) != 0) return;
  if (fchown(descriptor, status.st_uid, status.st_gid) != 0) status.st_mode &= 0777; /* then no set-user-ID either */
  (void)fchmod(descriptor, status.st_mode & 07777);
}

static bool open_partial(output *out, const char *path) {
  const char *const format = "%s.partial-%ld";
  const long process = (long)getpid();
  out->path = final_path(path);
  if (out->path == NULL && errno == ENOENT) {
    return fail(path, "is a link to a file that does not exist (remove the link, or name the file)");
  }
  if (out->path == NULL) return fail_errno(path, "cannot open for writing");
  const size_t size = (size_t)snprintf(NULL, 0, format, out->path, process) + 1;
  out->partial = malloc(size);
  if (out->partial == NULL) return fail_errno(path, "cannot open for writing");
  snprintf(out->partial, size, format, out->path, process);
  partial_file = out->partial;
  /* Until it has the older file's permissions, it is nobody else's. */
  const bool is_new = access(out->path, F_OK) != 0;
  out->descriptor = open(out->partial, O_WRONLY | O_CREAT | O_EXCL, is_new ? 0666 : 0600);
  if (out->descriptor >= 0) {
    if (!is_new) keep_permissions(out->descriptor, out->path);
    return true;
  }
  partial_file = NULL;
  return fail_errno(path, "cannot create");
}

bool output_open(output *out, const char *path) {
  *out = (output){.name = path, .path = NULL, .partial = NULL, .descriptor = -1};
  if (strcmp(path, "-") == 0) {
    out->name = "standard output";
    out->descriptor = STDOUT_FILENO;
    return true;
  }
  struct stat status;
  if (stat(path, &status) != 0) return open_partial(out, path);
  if (S_ISDIR(status.st_mode)) return fail(path, "is a directory (give the name of a file)");
  if (!S_ISREG(status.st_mode)) return open_directly(out, path);
  if (access(path, W_OK) != 0) return fail_errno(path, "cannot overwrite");
  return open_partial(out, path);
}

bool output_write(output *out, const void *bytes, size_t count) {
  const char *from = bytes;
  while (count > 0) {
    const ssize_t written = write(out->descriptor, from, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(out->name, "cannot write");
    from += written;
    count -= (size_t)written;
  }
  return true;
}

bool output_rewrite(output *out, const void *bytes, size_t count) {
  if (lseek(out->descriptor, 0, SEEK_SET) != 0) return fail_errno(out->name, "cannot rewrite the header");
  return output_write(out, bytes, count);
}

static void release(output *out) {
  free(out->path);
  free(out->partial);
  out->path = NULL;
  out->partial = NULL;
}

bool output_commit(output *out) {
  const int descriptor = out->descriptor;
  out->descriptor = -1;
  if (close(descriptor) != 0) return fail_errno(out->name, "cannot write");
  if (out->partial != NULL && rename(out->partial, out->path) != 0) return fail_errno(out->name, "cannot create");
  partial_file = NULL;
  release(out);
  return true;
}

void output_discard(output *out) {
  if (out->descriptor > STDERR_FILENO) close(out->descriptor);
  out->descriptor = -1;
  if (partial_file != NULL && out->partial != NULL) {
    unlink(out->partial);
    partial_file = NULL;
  }
  release(out);
}
