/* cmd_sign.c: hone keygen and hone sign: who vouches for a file. */
#include "render.h"
#include "work.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *with_ending(const char *name, const char *ending) {
    size_t bytes = strlen(name) + strlen(ending) + 1;
    char *path = malloc(bytes);
    if (path != NULL)
        (void)snprintf(path, bytes, "%s%s", name, ending);
    return path;
}

/* A pair of names as an object, or a line of text. */
static void tell(const invocation *in, const char *name_a, const char *a, const char *name_b, const char *b) {
    if (!in->settings.json) {
        remark(in, "%s: %s; %s: %s", name_a, a, name_b, b);
        return;
    }
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddNumberToObject(object, "hone", 1);
    (void)cJSON_AddStringToObject(object, name_a, a);
    (void)cJSON_AddStringToObject(object, name_b, b);
    char *text = cJSON_PrintUnformatted(object);
    if (text != NULL)
        put_json(text);
    cJSON_free(text);
    cJSON_Delete(object);
}

int cmd_keygen(const invocation *in) {
    hone_error err = {0};
    char *secret = with_ending(in->operand[0], ".key"), *public = with_ending(in->operand[0], ".pub");
    hone_status status = secret == NULL || public == NULL ? HONE_E_NOMEM : hone_key_generate(secret, public, in->settings.comment, &err);
    int code = status == HONE_OK ? EXIT_CODE_OK : report(in, status, &err);
    if (status == HONE_OK)
        tell(in, "secret_key", secret, "public_key", public);
    free(secret);
    free(public);
    return code;
}

/* Nobody should vouch by mistake for a file that readers will refuse.  What is wrong with a file that is not there, hone_sign says. */
static int check_pack(const invocation *in) {
    const char *path = in->operand[0];
    struct stat info;
    work w;
    hone_error err = {.code = HONE_E_CORRUPT};
    int sound = 0;
    if (!hone_is_pack(path)) {
        if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || access(path, R_OK) != 0)
            return EXIT_CODE_OK;
        (void)snprintf(err.message, sizeof err.message, "%.300s is not a pack, and was not signed; `hone export` makes packs", path);
        return report(in, HONE_E_CORRUPT, &err);
    }
    work_begin(&w, in, "verifying");
    int code = work_end(&w, path, hone_verify(NULL, &sound, path, &w.options, &err), &err);
    if (code != EXIT_CODE_OK || sound)
        return code;
    (void)snprintf(err.message, sizeof err.message, "%.300s is damaged, and was not signed; `hone verify` says what is wrong", path);
    return report(in, HONE_E_CORRUPT, &err);
}

int cmd_sign(const invocation *in) {
    hone_error err = {0};
    const settings *set = &in->settings;
    if (set->secret_key == NULL)
        return usage_error(in, "say with --key which secret key signs; `hone keygen` makes one");
    int checked = check_pack(in);
    if (checked != EXIT_CODE_OK)
        return checked;
    char *signature = set->signature != NULL ? with_ending(set->signature, "") : with_ending(in->operand[0], ".sig");
    hone_status status = signature == NULL ? HONE_E_NOMEM : hone_sign(in->operand[0], set->secret_key, signature, set->force, &err);
    int code = status == HONE_OK ? EXIT_CODE_OK : report(in, status, &err);
    if (status == HONE_OK)
        tell(in, "file", in->operand[0], "signature", signature);
    free(signature);
    return code;
}
