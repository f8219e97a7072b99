/* header_alone.c: hone.h first and alone, twice, and its macros used: must compile as C11 and C++17 without a warning. */
#include "hone.h"
#include "hone.h"

#ifdef __cplusplus
#define SAME_SIZE(a, b) static_assert(sizeof(a) == (b), #a)
#else
#define SAME_SIZE(a, b) _Static_assert(sizeof(a) == (b), #a)
#endif
/* Plain data that callers keep on their stacks: its layout is part of the interface. */
SAME_SIZE(hone_problem, 8 + 8 * HONE_SIZES_MAX);
SAME_SIZE(hone_error, 4 + 4 + 16 + 512);

int header_uses_macros(void);

int header_uses_macros(void) {
    const hone_cache_options cache_options = HONE_CACHE_OPTIONS_INIT;
    const hone_tune_options tune_options = HONE_TUNE_OPTIONS_INIT;
    return (int)(cache_options.struct_size + tune_options.struct_size) + HONE_VERSION_MAJOR + (int)HONE_E_BUG;
}
