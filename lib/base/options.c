#include "options.h"

#include <string.h>

hone_status hone__options_read(void *out, size_t bytes, const void *given, const char *name, hone_error *err) {
    uint32_t size = 0, known = (uint32_t)bytes;
    if (given == NULL)
        return HONE_OK;
    memcpy(&size, given, sizeof size);
    if (size < sizeof size)
        return hone__fail(err, HONE_E_ARG, "options", "%s.struct_size is not set; use its _INIT macro", name);
    const unsigned char *at = given;
    for (uint32_t i = known; i < size; i++) {
        if (at[i] != 0)
            return hone__fail(err, HONE_E_UNSUPPORTED, "options", "%s has members that this version (%s) does not know", name, HONE_VERSION_STRING);
    }
    memcpy(out, given, size < known ? size : known);
    memcpy(out, &known, sizeof known);
    return HONE_OK;
}
