/* The console of a hosted program, to compare the desk with a board. */
#include <stdio.h>
#include <stdlib.h>

#include "console.h"

void print_text(const char *text) { fputs(text, stdout); }
void print_number(uint32_t number) { printf("%lu", (unsigned long)number); }
void print_hex(uint32_t number) { printf("%08lx", (unsigned long)number); }
void end_program(int status) { exit(status); }
