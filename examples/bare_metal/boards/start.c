#include "start.h"

#include <stdint.h>

#include "console.h"

int main(void);

/* From the linker script. */
extern uint32_t data_start[], data_end[], bss_start[], bss_end[];
extern const uint32_t data_in_flash[];

void start_program(void) {
  for (uint32_t *to = data_start; to < data_end; to++) *to = data_in_flash[to - data_start];
  for (uint32_t *to = bss_start; to < bss_end; to++) *to = 0;
  end_program(main());
}

void fault(void) {
  print_text("fault\n");
  end_program(2);
}
