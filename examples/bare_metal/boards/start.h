/* What every board's start-up code ends in. */
#ifndef START_H
#define START_H

/* Sets the variables to their first values, runs main and ends the program. Needs a stack, and the FPU. */
_Noreturn void start_program(void);

/* Says so and ends the program; for whatever no one expected. */
_Noreturn void fault(void);

#endif /* START_H */
