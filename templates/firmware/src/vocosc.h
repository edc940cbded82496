/* Where Arduino and PlatformIO look for a library's header. */
#include "../vocosc.h"
