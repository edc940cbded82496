/*
 * A plugin of QEMU's (version 1 of its interface: QEMU 4.2 to 8) that counts the instructions which the guest executes,
 * and prints how many there were when it calls count_end, a line each. count_begin begins anew. The interface is
 * declared here, since Debian packages no header of it.
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

static uint64_t executed;

static void add(unsigned cpu, void *data) {
  (void)cpu;
  executed += (uintptr_t)data;
}

static void begin(unsigned cpu, void *data) {
  (void)cpu;
  (void)data;
  executed = 0;
}

static void end(unsigned cpu, void *data) {
  (void)cpu;
  (void)data;
  fprintf(stderr, "%" PRIu64 "\n", executed);
}

static void look_at(uint64_t plugin, block *translated) {
  (void)plugin;
  const char *function = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(translated, 0));
  on_execution *call = add;
  if (function != NULL && strcmp(function, "count_begin") == 0) call = begin;
  if (function != NULL && strcmp(function, "count_end") == 0) call = end;
  qemu_plugin_register_vcpu_tb_exec_cb(translated, call, 0, (void *)qemu_plugin_tb_n_insns(translated));
}

int qemu_plugin_install(uint64_t plugin, const void *qemu, int count, char **arguments) {
  (void)qemu;
  (void)count;
  (void)arguments;
  qemu_plugin_register_vcpu_tb_trans_cb(plugin, look_at);
  return 0;
}
