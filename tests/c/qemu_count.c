/*
 * A plugin of QEMU's (version 1 of its interface: QEMU 4.2 to 8) that counts the instructions which the guest executes,
 * and prints how many there were when it calls count_end, a line each. count_begin begins anew. With the argument
 * `functions=on` it then prints them function by function, too: "count name". The interface is declared here, since
 * Debian packages no header of it.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct block block; /* qemu_plugin_tb: instructions without a jump between them, translated at once */
typedef struct instruction instruction; /* qemu_plugin_insn */
typedef void on_translation(uint64_t plugin, block *translated);
typedef void on_execution(unsigned cpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, on_translation *call);
void qemu_plugin_register_vcpu_tb_exec_cb(block *translated, on_execution *call, int registers_used, void *data);
size_t qemu_plugin_tb_n_insns(const block *translated);
instruction *qemu_plugin_tb_get_insn(const block *translated, size_t index);
const char *qemu_plugin_insn_symbol(const instruction *what); /* the function that it is in, if that is known */

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(uint64_t plugin, const void *qemu, int count, char **arguments);

/* The functions met so far; what comes after MOST of them counts as the last. */
enum { MOST = 1024, LONGEST = 64, LONGEST_BLOCK = 1024 };
static struct {
  char name[LONGEST];
  uint64_t executed;
} functions[MOST];
static size_t known;
static int by_function;

static void clear(void) {
  for (size_t i = 0; i < known; i++) functions[i].executed = 0;
}

/* `data` is a function's index and a block's instructions in one number. */
static void add(unsigned cpu, void *data) {
  (void)cpu;
  functions[(uintptr_t)data / LONGEST_BLOCK].executed += (uintptr_t)data % LONGEST_BLOCK;
}

static void begin(unsigned cpu, void *data) {
  (void)cpu;
  (void)data;
  clear();
}

static void end(unsigned cpu, void *data) {
  (void)cpu;
  (void)data;
  uint64_t executed = 0;
  for (size_t i = 0; i < known; i++) executed += functions[i].executed;
  fprintf(stderr, "%" PRIu64 "\n", executed);
  for (size_t i = 0; i < known && by_function; i++) {
    if (functions[i].executed > 0) fprintf(stderr, "%" PRIu64 " %s\n", functions[i].executed, functions[i].name);
  }
}

static size_t index_of(const char *name) {
  for (size_t i = 0; i < known; i++) {
    if (strncmp(functions[i].name, name, LONGEST - 1) == 0) return i;
  }
  if (known == MOST) return MOST - 1;
  snprintf(functions[known].name, LONGEST, "%s", name);
  return known++;
}

static void look_at(uint64_t plugin, block *translated) {
  (void)plugin;
  const char *found = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(translated, 0));
  const char *function = found != NULL ? found : "(unknown)";
  on_execution *call = add;
  if (strcmp(function, "count_begin") == 0) call = begin;
  if (strcmp(function, "count_end") == 0) call = end;
  const size_t data = index_of(function) * LONGEST_BLOCK + qemu_plugin_tb_n_insns(translated);
  qemu_plugin_register_vcpu_tb_exec_cb(translated, call, 0, (void *)data);
}

int qemu_plugin_install(uint64_t plugin, const void *qemu, int count, char **arguments) {
  (void)qemu;
  for (int i = 0; i < count; i++) by_function |= strcmp(arguments[i], "functions=on") == 0;
  qemu_plugin_register_vcpu_tb_trans_cb(plugin, look_at);
  return 0;
}
