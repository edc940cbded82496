/* Start-up of a Cortex-M with an FPU. */
#include <stdint.h>

#include "start.h"

extern uint32_t stack_top[]; /* from the linker script */

/* CPACR: full access to the coprocessors 10 and 11, which are the FPU; it is off after reset. */
#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xe000ed88)

void start(void);
void tick(void);

/* The timer's interrupt: a program that starts the timer has its own. */
__attribute__((weak)) void tick(void) { fault(); }

void start(void) {
  COPROCESSOR_ACCESS |= 0xfu << 20;
  __asm__ volatile("dsb\n isb" ::: "memory");
  /* FPSCR after reset: round to nearest, denormals kept. The same bits as on the desk need just that. */
  start_program();
}

typedef union {
  uint32_t *stack;
  void (*handler)(void);
} vector;

/* The hardware reads the first two entries at reset. Faults escalate to HardFault; no interrupt is enabled. */
enum { STACK, RESET, NMI, HARD_FAULT, SYSTICK = 15, VECTORS = 16 };
__attribute__((section(".vectors"), used)) static const vector vectors[VECTORS] = {
    [STACK] = {.stack = stack_top},    [RESET] = {.handler = start},  [NMI] = {.handler = fault},
    [HARD_FAULT] = {.handler = fault}, [SYSTICK] = {.handler = tick},
};
