/* variants.c: transpose.c compiled for each TILE. */
#include "variants.h"

#define ENTRY transpose_1
#define TILE 1
#include "transpose.c"
#undef ENTRY
#undef TILE
#define ENTRY transpose_4
#define TILE 4
#include "transpose.c"
#undef ENTRY
#undef TILE
#define ENTRY transpose_8
#define TILE 8
#include "transpose.c"
#undef ENTRY
#undef TILE
#define ENTRY transpose_16
#define TILE 16
#include "transpose.c"
#undef ENTRY
#undef TILE
#define ENTRY transpose_32
#define TILE 32
#include "transpose.c"
#undef ENTRY
#undef TILE
#define ENTRY transpose_64
#define TILE 64
#include "transpose.c"

transpose_fn *variant_of(const hone_config *config, uint32_t tile) {
    switch (hone_config_int(config, tile)) {
    case 1:
        return transpose_1;
    case 4:
        return transpose_4;
    case 8:
        return transpose_8;
    case 16:
        return transpose_16;
    case 32:
        return transpose_32;
    default:
        return transpose_64;
    }
}
