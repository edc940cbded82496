/*
 * The console of a debugger or of QEMU, by semihosting: the processor stops at a marked instruction, and the host does
 * what the registers say (Arm, "Semihosting for AArch32 and AArch64"; RISC-V took over the same calls). A product
 * would write to a UART here.
 */
#include "console.h"

enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20 }; /* operations */
enum { APPLICATION_EXIT = 0x20026 };          /* a reason to exit */

static void ask_host(uintptr_t operation, const void *argument) {
#if defined(__aarch64__)
  register uintptr_t x0 __asm__("x0") = operation;
  register const void *x1 __asm__("x1") = argument;
  __asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
#elif defined(__riscv)
  register uintptr_t a0 __asm__("a0") = operation;
  register const void *a1 __asm__("a1") = argument;
  /* The mark is these three uncompressed instructions in a row, in one page. */
  __asm__ volatile(
      ".option push\n .option norvc\n .balign 16\n"
      "slli x0, x0, 0x1f\n ebreak\n srai x0, x0, 7\n"
      ".option pop"
      : "+r"(a0)
      : "r"(a1)
      : "memory");
#else /* Cortex-M */
  register uintptr_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt #0xab" : "+r"(r0) : "r"(r1) : "memory");
#endif
}

void print_text(const char *text) { ask_host(WRITE0, text); }

void print_number(uint32_t number) {
  char text[11];
  char *first = text + sizeof text - 1;
  *first = '\0';
  do {
    *--first = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  print_text(first);
}

void print_hex(uint32_t number) {
  char text[9];
  for (int i = 7; i >= 0; i--) {
    text[i] = "0123456789abcdef"[number & 15];
    number >>= 4;
  }
  text[8] = '\0';
  print_text(text);
}

void end_program(int status) {
  const uintptr_t reason_and_status[2] = {APPLICATION_EXIT, (uintptr_t)status};
  ask_host(EXIT_EXTENDED, reason_and_status);
  for (;;) {
  }
}
