/* test_record.c: the record codec against its vectors and against damage of every single kind. */
#include "cache_fixture.h"
#include "file.h"
#include "layout.h"

#include <math.h>

typedef union any_record {
    hone__entry entry;
    hone__trial trial;
    hone__exchange exchange;
    hone__session session;
    hone__kernel_info kernel;
    hone__failure failure;
} any_record;

static hone_status decode_any(const char *kind, any_record *out, const void *bytes, size_t count, hone__slot_key slot) {
    if (strcmp(kind, "entry") == 0)
        return hone__entry_decode(&out->entry, bytes, count, slot);
    if (strcmp(kind, "trial") == 0)
        return hone__trial_decode(&out->trial, bytes, count, slot);
    if (strcmp(kind, "exchange") == 0)
        return hone__exchange_decode(&out->exchange, bytes, count, slot);
    if (strcmp(kind, "session") == 0)
        return hone__session_decode(&out->session, bytes, count, slot);
    if (strcmp(kind, "kernel") == 0)
        return hone__kernel_info_decode(&out->kernel, bytes, count, slot);
    assert_string_equal(kind, "failure");
    return hone__failure_decode(&out->failure, bytes, count, slot);
}

static void encode_and_clear_any(const char *kind, any_record *record, hone__buf *buf, hone__slot_key slot) {
    hone_status status;
    if (strcmp(kind, "entry") == 0) {
        status = hone__entry_encode(buf, &record->entry, slot);
        hone__entry_clear(&record->entry);
    } else if (strcmp(kind, "trial") == 0) {
        status = hone__trial_encode(buf, &record->trial, slot);
        hone__trial_clear(&record->trial);
    } else if (strcmp(kind, "exchange") == 0) {
        status = hone__exchange_encode(buf, &record->exchange, slot);
        hone__exchange_clear(&record->exchange);
    } else if (strcmp(kind, "session") == 0) {
        status = hone__session_encode(buf, &record->session, slot);
        hone__session_clear(&record->session);
    } else if (strcmp(kind, "kernel") == 0) {
        status = hone__kernel_info_encode(buf, &record->kernel, slot);
        hone__kernel_info_clear(&record->kernel);
    } else {
        status = hone__failure_encode(buf, &record->failure, slot);
        hone__failure_clear(&record->failure);
    }
    assert_int_equal(status, HONE_OK);
}

static size_t from_hex(const char *hex, uint8_t *out, size_t max) {
    size_t count = strlen(hex) / 2;
    assert_true(count <= max);
    for (size_t i = 0; i < count; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return count;
}

static hone_status status_named(const char *name) {
    static const hone_status all[] = {HONE_OK, HONE_E_CORRUPT, HONE_E_VERSION};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(hone_status_name(all[i]), name) == 0)
            return all[i];
    }
    fail_msg("unknown status %s", name);
    return HONE_OK;
}

static void check_vector(const cJSON *item) {
    const char *file = cJSON_GetObjectItem(item, "file")->valuestring, *kind = cJSON_GetObjectItem(item, "kind")->valuestring;
    hone_status want = status_named(cJSON_GetObjectItem(item, "status")->valuestring);
    uint8_t slot_bytes[64];
    hone__slot_key slot = {slot_bytes, from_hex(cJSON_GetObjectItem(item, "slot")->valuestring, slot_bytes, sizeof slot_bytes)};
    char path[512], *bytes;
    size_t count;
    (void)snprintf(path, sizeof path, "%s/spec/vectors/record/%s", HONE_SOURCE_DIR, file);
    assert_int_equal(hone__file_read(path, 1 << 20, &bytes, &count, NULL), HONE_OK);
    any_record record;
    hone_status got = decode_any(kind, &record, bytes, count, slot);
    if (got != want)
        fail_msg("%s: %s, want %s", file, hone_status_name(got), hone_status_name(want));
    if (got == HONE_OK) {
        hone__buf buf;
        hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
        encode_and_clear_any(kind, &record, &buf, slot);
        if (bytes[6] == HONE_RECORD_VERSION) { /* of our version: one encoding only */
            assert_int_equal(buf.length, count);
            assert_memory_equal(buf.data, bytes, count);
        }
        hone__buf_free(&buf);
    }
    hone__free(bytes);
}

static void test_record__vectors(void **state) {
    (void)state;
    char *text;
    size_t bytes;
    assert_int_equal(hone__file_read(HONE_SOURCE_DIR "/spec/vectors/record/index.json", 1 << 20, &text, &bytes, NULL), HONE_OK);
    cJSON *index = cJSON_Parse(text);
    assert_true(cJSON_GetArraySize(index) >= 39);
    const cJSON *item;
    cJSON_ArrayForEach(item, index) {
        check_vector(item);
    }
    cJSON_Delete(index);
    hone__free(text);
}

static void encode_sample(hone__buf *buf, hone__slot_key *slot, uint8_t slot_bytes[HONE_ENTRY_SLOT_BYTES]) {
    char text[64];
    hone__entry entry = make_entry(make_key(1, 2, 3), 1234, text);
    *slot = hone__entry_slot(&entry.key, slot_bytes);
    hone__buf_init(buf, HONE_LIMIT_RECORD_BYTES);
    assert_int_equal(hone__entry_encode(buf, &entry, *slot), HONE_OK);
}

/* Exact sizes on the heap, so that a sanitizer sees a byte too far. */
static hone_status decode_copy(const void *bytes, size_t count, hone__slot_key slot) {
    uint8_t *copy = malloc(count == 0 ? 1 : count);
    assert_non_null(copy);
    memcpy(copy, bytes, count);
    hone__entry entry;
    hone_status status = hone__entry_decode(&entry, copy, count, slot);
    if (status == HONE_OK)
        hone__entry_clear(&entry);
    free(copy);
    return status;
}

static void test_record__every_truncation(void **state) {
    (void)state;
    hone__buf buf;
    hone__slot_key slot;
    uint8_t slot_bytes[HONE_ENTRY_SLOT_BYTES];
    encode_sample(&buf, &slot, slot_bytes);
    assert_int_equal(decode_copy(buf.data, buf.length, slot), HONE_OK);
    for (size_t count = 0; count < buf.length; count++)
        assert_int_equal(decode_copy(buf.data, count, slot), HONE_E_CORRUPT);
    hone__buf_free(&buf);
}

static void test_record__every_bit(void **state) {
    (void)state;
    hone__buf buf;
    hone__slot_key slot;
    uint8_t slot_bytes[HONE_ENTRY_SLOT_BYTES];
    encode_sample(&buf, &slot, slot_bytes);
    for (size_t bit = 0; bit < buf.length * 8; bit++) {
        buf.data[bit / 8] = (char)(buf.data[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(decode_copy(buf.data, buf.length, slot), HONE_E_CORRUPT);
        buf.data[bit / 8] = (char)(buf.data[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t bit = 0; bit < HONE_ENTRY_SLOT_BYTES * 8; bit++) {
        slot_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(decode_copy(buf.data, buf.length, slot), HONE_E_CORRUPT);
        slot_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    slot.count--;
    assert_int_equal(decode_copy(buf.data, buf.length, slot), HONE_E_CORRUPT);
    hone__buf_free(&buf);
}

static void test_record__limits(void **state) {
    (void)state;
    char text[64], name[HONE_LIMIT_NAME_BYTES + 2];
    hone__slot_key slot = {"x", 1};
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    hone__entry entry = make_entry(make_key(1, 1, 1), 5, text);
    for (int extra = -1; extra <= 1; extra++) {
        size_t length = (size_t)((int)HONE_LIMIT_NAME_BYTES + extra);
        memset(name, 'n', length);
        name[length] = '\0';
        entry.kernel_name = name;
        hone__buf_clear(&buf);
        assert_int_equal(hone__entry_encode(&buf, &entry, slot), extra <= 0 ? HONE_OK : HONE_E_LIMIT);
    }
    entry.kernel_name = NULL; /* as good as "" */
    entry.alternative_count = HONE_ALTERNATIVES_MAX;
    hone__buf_clear(&buf);
    assert_int_equal(hone__entry_encode(&buf, &entry, slot), HONE_OK);
    entry.alternative_count++;
    hone__buf_clear(&buf);
    assert_int_equal(hone__entry_encode(&buf, &entry, slot), HONE_E_ARG);
    entry.alternative_count = 0;
    entry.effort = (hone__effort)4;
    hone__buf_clear(&buf);
    assert_int_equal(hone__entry_encode(&buf, &entry, slot), HONE_E_ARG);
    hone__buf_free(&buf);
    hone__buf_init(&buf, 40); /* a buffer that is too small says so */
    entry.effort = HONE_EFFORT_QUICK;
    assert_int_equal(hone__entry_encode(&buf, &entry, slot), HONE_E_LIMIT);
    hone__buf_free(&buf);
}

/* An exchange at its limits, as a long conversation with a talkative model makes it. */
static void test_record__largest_exchange(void **state) {
    (void)state;
    size_t request_bytes = 4u << 20, reply_bytes = HONE_LIMIT_REPLY_BYTES;
    char *request = malloc(request_bytes + 1), *reply = malloc(reply_bytes + 1);
    memset(request, 'q', request_bytes);
    memset(reply, 'a', reply_bytes);
    request[request_bytes] = reply[reply_bytes] = '\0';
    hone__exchange exchange = {.request = request, .reply = reply}, back;
    hone__slot_key slot = {"x", 1};
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    assert_int_equal(hone__exchange_encode(&buf, &exchange, slot), HONE_OK);
    assert_int_equal(hone__exchange_decode(&back, buf.data, buf.length, slot), HONE_OK);
    assert_int_equal(strlen(back.reply), reply_bytes);
    hone__exchange_clear(&back);
    hone__buf_free(&buf);
    free(request);
    free(reply);
}

static void test_record__mends_numbers_and_text(void **state) {
    (void)state;
    char config[] = "{}", proposer[] = "r";
    hone__trial trial, back;
    memset(&trial, 0, sizeof trial);
    trial.config = config;
    trial.proposer = proposer;
    trial.result.median_ns = (double)NAN;
    trial.result.low_ns = -0.0;
    trial.result.high_ns = -5;
    trial.result.max_error = (double)INFINITY;
    trial.created_unix_s = -1;
    (void)snprintf(trial.result.reason, sizeof trial.result.reason, "caf\xc3\xa9 \xff \xc3 \xed\xa0\x80 \xf0\x9f\x98\x80 \xc0\x80.");
    hone__slot_key slot = {"x", 1};
    hone__buf buf;
    hone__buf_init(&buf, HONE_LIMIT_RECORD_BYTES);
    assert_int_equal(hone__trial_encode(&buf, &trial, slot), HONE_OK);
    assert_int_equal(hone__trial_decode(&back, buf.data, buf.length, slot), HONE_OK);
    assert_true(back.result.median_ns == 0 && !signbit(back.result.low_ns) && back.result.high_ns == 0);
    assert_true(back.result.max_error > 1e308 && isfinite(back.result.max_error));
    assert_int_equal(back.created_unix_s, 0);
    assert_string_equal(back.result.reason, "caf\xc3\xa9 ? ? ??? \xf0\x9f\x98\x80 ??.");
    hone__trial_clear(&back);
    hone__buf_free(&buf);
}

static void test_record__json_is_json(void **state) {
    (void)state;
    char text[64], evil[] = "\"},\"x\":{", sizes[] = "{\"M\":8}";
    hone__entry entry = make_entry(make_key(1, 1, 1), 2e6, text);
    entry.sizes = sizes;
    entry.best.config = evil; /* not JSON: shown as a string */
    entry.strategy = evil;
    entry.alternative_count = 1;
    hone__buf buf;
    hone__buf_init(&buf, 1 << 20);
    hone__entry_print(&buf, &entry);
    cJSON *json = cJSON_Parse(buf.data);
    assert_non_null(json);
    assert_string_equal(cJSON_GetObjectItem(json, "config")->valuestring, evil);
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "sizes"), "M")->valueint, 8);
    assert_true(cJSON_GetObjectItem(json, "time_ms")->valuedouble == 2.0);
    assert_string_equal(cJSON_GetObjectItem(json, "effort")->valuestring, "standard");
    assert_null(cJSON_GetObjectItem(json, "x"));
    cJSON_Delete(json);
    hone__trial trial;
    memset(&trial, 0, sizeof trial);
    hone__buf_clear(&buf);
    hone__trial_print(&buf, &trial); /* NULL texts */
    json = cJSON_Parse(buf.data);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(json, "config")));
    cJSON_Delete(json);
    hone__buf_free(&buf);
}

static void test_record__no_memory(void **state) {
    (void)state;
    hone__buf buf;
    hone__slot_key slot;
    uint8_t slot_bytes[HONE_ENTRY_SLOT_BYTES];
    encode_sample(&buf, &slot, slot_bytes);
    size_t live = hone__alloc_live();
    hone_status status = HONE_E_NOMEM;
    size_t nth = 0;
    while (status == HONE_E_NOMEM) {
        hone__entry entry;
        hone__alloc_fail_at(++nth, 0);
        status = hone__entry_decode(&entry, buf.data, buf.length, slot);
        hone__alloc_fail_at(0, 0);
        if (status == HONE_OK)
            hone__entry_clear(&entry);
        assert_int_equal(hone__alloc_live(), live);
    }
    assert_int_equal(status, HONE_OK);
    assert_true(nth > 10);
    hone__buf_free(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record__vectors),
        cmocka_unit_test(test_record__every_truncation),
        cmocka_unit_test(test_record__every_bit),
        cmocka_unit_test(test_record__limits),
        cmocka_unit_test(test_record__largest_exchange),
        cmocka_unit_test(test_record__mends_numbers_and_text),
        cmocka_unit_test(test_record__json_is_json),
        cmocka_unit_test(test_record__no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
