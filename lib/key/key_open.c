/* key_open.c: kernels and devices as the public header offers them: made by their rooms, identified here. */
#include "alloc.h"
#include "file.h"
#include "key.h"

#include <string.h>

hone_status hone_kernel_parse(hone_kernel **out, const char *json, size_t json_bytes, const char *base_dir, const char *label,
                              hone_error *err) {
    HONE_TRY(hone__kernel_read(out, json, json_bytes, base_dir, label, err));
    hone_status status = hone__key_identify_kernel(*out);
    if (status != HONE_OK) {
        hone_kernel_free(*out);
        *out = NULL;
        return hone__fail(err, status, "key", "%s: cannot compute the kernel's identity: %s", label != NULL ? label : "(spec)",
                          hone_status_text(status));
    }
    return HONE_OK;
}

hone_status hone_kernel_load(hone_kernel **out, const char *path, hone_error *err) {
    *out = NULL;
    char *text = NULL;
    size_t bytes = 0;
    HONE_TRY(hone__file_read(path, HONE_LIMIT_SPEC_BYTES, &text, &bytes, err));
    char *folder = hone__path_dir(path);
    hone_status status = folder != NULL ? hone_kernel_parse(out, text, bytes, folder, path, err)
                                        : hone__fail(err, HONE_E_NOMEM, "key", "no memory to read %s", path);
    hone__free(folder);
    hone__free(text);
    return status;
}

hone_status hone_device_open(hone_device **out, const char *name, hone_error *err) {
    HONE_TRY(hone__device_detect(out, name, err));
    hone_status status = hone__key_identify_device(*out);
    if (status != HONE_OK) {
        hone_device_free(*out);
        *out = NULL;
        return hone__fail(err, status, "key", "cannot compute the device's identity: %s", hone_status_text(status));
    }
    return HONE_OK;
}

hone_status hone_device_json(const hone_device *device, char **json, hone_error *err) {
    *json = NULL;
    cJSON *object = hone__device_to_json(device);
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    if (object != NULL) {
        char hex[33];
        hone__hash_hex(device->id, hex);
        hone__buf_printf(&buf, "{\"id\":\"%s\"", hex);
        for (const cJSON *item = object->child; item != NULL; item = item->next) {
            hone__buf_printf(&buf, ",\"%s\":", item->string);
            hone__json_print(&buf, item);
        }
        hone__buf_char(&buf, '}');
        cJSON_Delete(object);
        *json = hone__buf_take(&buf);
    }
    if (*json == NULL)
        return hone__fail(err, HONE_E_NOMEM, "key", "no memory for the device's JSON");
    return HONE_OK;
}
