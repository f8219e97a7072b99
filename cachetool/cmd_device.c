/* cmd_device.c: hone device: what this machine is, as the key sees it. */
#include "inputs.h"
#include "render.h"

static hone_status open_device(hone_device **out, const invocation *in, int *code) {
    hone_error err = {0};
    hone_kernel *kernel = NULL;
    hone_status status = HONE_OK;
    if (in->operand_count == 1)
        status = hone_kernel_load(&kernel, in->operand[0], &err);
    if (status == HONE_OK && kernel != NULL)
        status = hone_device_for(out, kernel, in->settings.device, in->settings.evaluator, &err);
    else if (status == HONE_OK)
        status = hone_device_open(out, in->settings.device, &err);
    if (status != HONE_OK)
        *code = report(in, status, &err);
    hone_kernel_free(kernel);
    return status;
}

int cmd_device(const invocation *in) {
    hone_error err = {0};
    hone_device *device = NULL;
    char *json = NULL;
    int code = EXIT_CODE_OK;
    if (in->settings.evaluator != NULL && in->operand_count == 0) {
        fprintf(stderr, "hone device: --evaluator needs the spec of a kernel that it evaluates\n");
        help_usage_line(stderr, in->command);
        return EXIT_CODE_USAGE;
    }
    if (open_device(&device, in, &code) != HONE_OK)
        return code;
    hone_status status = hone_device_json(device, &json, &err);
    if (status != HONE_OK) {
        code = report(in, status, &err);
    } else if (in->settings.json) {
        put_json(json);
    } else {
        cJSON *root = json_read(in, json);
        code = root != NULL ? EXIT_CODE_OK : EXIT_CODE_BUG;
        if (root != NULL)
            render_object(stdout, root, 0, NULL);
        cJSON_Delete(root);
    }
    hone_free(json);
    hone_device_free(device);
    return code;
}
