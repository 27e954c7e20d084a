/* Put in front of llama.cpp's matrix code for AMX, where GCC compiles it.
 *
 * GCC 12 tells its optimizer that _tile_loadconfig reads one pointer, while the instruction reads
 * 64 bytes. The stores that fill in the rest of the configuration are then removed as useless, and
 * the processor refuses what it finds there: a segmentation fault at the first token. This says
 * the full size. It does nothing on processors without AMX.
 */
#ifdef __AMX_TILE__
#include <immintrin.h>
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const char (*)[64])(config)))
#endif
