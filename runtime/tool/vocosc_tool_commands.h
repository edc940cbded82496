/* The commands. Each returns an exit code. */
#ifndef VOCOSC_TOOL_COMMANDS_H
#define VOCOSC_TOOL_COMMANDS_H

#include "vocosc_tool_options.h"

int vocosc_tool_decode(const command_options *options);
int vocosc_tool_mel(const command_options *options);
int vocosc_tool_copy(const command_options *options);
int vocosc_tool_info(const command_options *options);
int vocosc_tool_bench(const command_options *options);

#endif /* VOCOSC_TOOL_COMMANDS_H */
