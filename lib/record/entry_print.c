/* entry_print.c: entries and trials as JSON (spec/json.md, "entry" and "trial"). */
#include "json.h"
#include "layout.h"
#include "record.h"

#include <math.h>
#include <string.h>

static void print_json_member(hone__buf *buf, const char *name, const char *text) {
    hone__buf_printf(buf, "\"%s\":", name);
    hone__json_print_text(buf, text);
}

static void print_id(hone__buf *buf, const char *name, const uint8_t id[16]) {
    char hex[33];
    hone__hash_hex(id, hex);
    hone__buf_printf(buf, "\"%s\":\"%s\"", name, hex);
}

static void print_number(hone__buf *buf, const char *name, double value) {
    hone__buf_printf(buf, ",\"%s\":", name);
    hone__buf_json_double(buf, value);
}

/* 0 stands for "not known", which JSON says as null. */
static void print_known(hone__buf *buf, const char *name, double value) {
    print_number(buf, name, value > 0 ? value : (double)NAN);
}

static void print_text(hone__buf *buf, const char *name, const char *text) {
    hone__buf_printf(buf, ",\"%s\":", name);
    hone__buf_json_string(buf, text == NULL ? "" : text);
}

/* Half the width of the interval, relative to the median. */
static double noise(double time, double low, double high) {
    return time > 0 && high >= low ? (high - low) / (2 * time) : 0;
}

static void print_ranked(hone__buf *buf, const hone__ranked *ranked) {
    print_json_member(buf, "config", ranked->config);
    print_known(buf, "time_ms", ranked->time_ns / 1e6);
    print_known(buf, "low_ms", ranked->low_ns / 1e6);
    print_known(buf, "high_ms", ranked->high_ns / 1e6);
    print_number(buf, "mad_ms", ranked->mad_ns / 1e6);
    print_known(buf, "noise", noise(ranked->time_ns, ranked->low_ns, ranked->high_ns));
    hone__buf_printf(buf, ",\"samples\":%u", ranked->samples);
}

void hone__entry_print(hone__buf *buf, const hone__entry *entry) {
    hone__buf_char(buf, '{');
    print_id(buf, "key", entry->key.key);
    print_text(buf, "kernel", entry->kernel_name);
    hone__buf_char(buf, ',');
    print_json_member(buf, "sizes", entry->sizes);
    hone__buf_char(buf, ',');
    print_json_member(buf, "device", entry->device);
    hone__buf_char(buf, ',');
    print_ranked(buf, &entry->best);
    print_number(buf, "default_ms", entry->default_ns / 1e6);
    print_known(buf, "speedup", entry->best.time_ns > 0 ? entry->default_ns / entry->best.time_ns : 0);
    print_known(buf, "flops", entry->flops);
    print_known(buf, "bytes", entry->bytes);
    print_known(buf, "roofline", entry->roofline);
    print_text(buf, "effort", hone__effort_name(entry->effort));
    print_text(buf, "accuracy", hone__accuracy_name(entry->accuracy));
    hone__buf_printf(buf, ",\"tie\":%s,\"alternatives\":[", entry->tie ? "true" : "false");
    for (uint32_t i = 0; i < entry->alternative_count && i < HONE_ALTERNATIVES_MAX; i++) {
        hone__buf_text(buf, i == 0 ? "{" : ",{");
        print_ranked(buf, &entry->alternative[i]);
        hone__buf_char(buf, '}');
    }
    hone__buf_char(buf, ']');
    print_text(buf, "strategy", entry->strategy);
    print_text(buf, "model", entry->model);
    print_text(buf, "stop", entry->stop);
    hone__buf_printf(buf, ",\"rounds\":%u,\"trials\":%u,\"failed\":%u,\"tokens\":%llu", entry->rounds, entry->trials, entry->failed,
                     (unsigned long long)entry->tokens);
    print_number(buf, "seconds", entry->seconds);
    print_text(buf, "driver", entry->driver);
    print_text(buf, "toolkit", entry->toolkit);
    print_text(buf, "tool_version", entry->tool_version);
    print_text(buf, "host", entry->host);
    hone__buf_printf(buf, ",\"created_unix_s\":%lld,", (long long)entry->created_unix_s);
    print_id(buf, "kernel_id", entry->key.kernel);
    hone__buf_char(buf, ',');
    print_id(buf, "device_id", entry->key.device);
    hone__buf_char(buf, ',');
    print_id(buf, "problem_id", entry->key.problem);
    hone__buf_char(buf, '}');
}

void hone__trial_print(hone__buf *buf, const hone__trial *trial) {
    const hone__measurement *result = &trial->result;
    hone__buf_char(buf, '{');
    print_json_member(buf, "config", trial->config);
    print_text(buf, "proposer", trial->proposer);
    print_text(buf, "outcome", hone__outcome_name(result->outcome));
    print_text(buf, "accuracy", hone__accuracy_name(result->accuracy));
    print_known(buf, "time_ms", result->median_ns / 1e6);
    print_known(buf, "low_ms", result->low_ns / 1e6);
    print_known(buf, "high_ms", result->high_ns / 1e6);
    print_number(buf, "mad_ms", result->mad_ns / 1e6);
    print_known(buf, "noise", noise(result->median_ns, result->low_ns, result->high_ns));
    hone__buf_printf(buf, ",\"samples\":%u", result->samples);
    print_number(buf, "compile_ms", result->compile_ms);
    print_number(buf, "max_error", result->max_error);
    print_text(buf, "resources", result->resources);
    print_text(buf, "reason", result->reason);
    hone__buf_printf(buf, ",\"created_unix_s\":%lld}", (long long)trial->created_unix_s);
}

void hone__kernel_info_print(hone__buf *buf, const hone__kernel_info *info) {
    hone__buf_text(buf, "{\"name\":");
    hone__buf_json_string(buf, info->name);
    print_text(buf, "language", info->language);
    hone__buf_char(buf, ',');
    print_json_member(buf, "space", info->space);
    print_text(buf, "source", info->source);
    hone__buf_char(buf, '}');
}
