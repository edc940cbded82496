/* Where the program prints to. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdint.h>

void print_text(const char *text);
void print_number(uint32_t number); /* decimal */
void print_hex(uint32_t number);    /* eight digits */

/* Ends the program; for start-up code, after main and on a fault. */
_Noreturn void end_program(int status);

#endif /* CONSOLE_H */
