/* Core 1 is started by the firmware: PSCI, Arm DEN 0022, which QEMU's "virt" machine offers by hvc. */
#include "console.h"
#include "team.h"

#define CPU_ON 0xc4000003u /* (core, address, context) */
enum { STACK_BYTES = 16384 };

_Alignas(16) unsigned char core_1_stack[STACK_BYTES];

/* Where core 1 begins, with the context in x0; prepare_core uses x0 and no stack. */
void core_1_start(void);
__asm__(
    ".section .text.core_1_start, \"ax\"\n"
    ".globl core_1_start\n"
    "core_1_start:\n"
    "  mov x19, x0\n"
    "  bl prepare_core\n"
    "  ldr x0, =core_1_stack + 16384\n"
    "  mov sp, x0\n"
    "  br x19\n");

void start_core_1(void (*work)(void)) {
  register uintptr_t x0 __asm__("x0") = CPU_ON;
  register uintptr_t x1 __asm__("x1") = 1;
  register uintptr_t x2 __asm__("x2") = (uintptr_t)core_1_start;
  register uintptr_t x3 __asm__("x3") = (uintptr_t)work;
  __asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
  if (x0 != 0) {
    print_text("core 1 does not start\n");
    end_program(1);
  }
}

void give_way(void) { __asm__ volatile("yield"); }
