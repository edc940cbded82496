# This machine, with its operating system: what the boards must agree with.
CROSS =
CC = cc
SOURCES = console_stdio.c
EMULATOR =
