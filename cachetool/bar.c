/* bar.c: see bar.h. */
#include "bar.h"

#include "render.h"

#include <math.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { PLAIN_EVERY_S = 5, REDRAW_MS = 100, WORK_QUIET_MS = 500 };

static struct {
    const volatile int *cancel;
    bool on, live, shown, verbose;
    char phase[48];
    double plain_at_s, drawn_at_ms;
    uint32_t trials;
    bool timing;            /* the rate is taken from the first trial that was measured now, so that starting up does not count */
    double timing_from_s;
    uint32_t timing_from;
    double work_from_ms;
} bar;

static double now_ms(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return 0;
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

void bar_begin(const invocation *in, const volatile int *cancel) {
    memset(&bar, 0, sizeof bar);
    bar.cancel = cancel;
    bar.on = !in->settings.quiet;
    bar.live = bar.on && takes_escapes(stderr);
    bar.verbose = in->settings.verbose;
    bar.drawn_at_ms = -REDRAW_MS;
    bar.plain_at_s = -PLAIN_EVERY_S;
}

void bar_clear(void) {
    if (bar.shown)
        fprintf(stderr, "\r\x1b[K");
    bar.shown = false;
}

void bar_end(void) {
    bar_clear();
    bar.on = false;
}

uint32_t bar_trials(void) {
    return bar.trials;
}

static size_t terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 4)
        return size.ws_col;
    return 80;
}

/* Minutes and seconds as a clock shows them. */
static void format_clock(char *text, size_t bytes, double seconds) {
    double whole = seconds > 0 && seconds < 1e8 ? floor(seconds) : 0;
    (void)snprintf(text, bytes, "%.0f:%02.0f", floor(whole / 60), fmod(whole, 60));
}

/* Seconds to go at the present rate, and no longer than the time limit leaves; below 0: unknown. */
static double time_left(const hone_progress *p) {
    double left = -1;
    uint32_t fresh = p->trials > p->resumed ? p->trials - p->resumed : 0;
    if (!bar.timing && fresh > 0) {
        bar.timing = true;
        bar.timing_from_s = p->elapsed_s;
        bar.timing_from = fresh;
    }
    if (bar.timing && fresh >= bar.timing_from + 3 && p->trials_max >= p->trials)
        left = (p->elapsed_s - bar.timing_from_s) / (fresh - bar.timing_from) * (p->trials_max - p->trials);
    if (p->max_time_s > 0) {
        double limit = p->max_time_s > p->elapsed_s ? p->max_time_s - p->elapsed_s : 0;
        left = left < 0 || limit < left ? limit : left;
    }
    return left;
}

/* "57/200  best 4.12 ms  3.01x  3 failed  0:21  0:40 left" */
static void describe(char *text, size_t bytes, const hone_progress *p) {
    char best[SHORT_TEXT], clock[32], left[40] = "", speedup[32] = "", failed[32] = "", round[32] = "", resumed[40] = "";
    format_ms(best, p->best_ms);
    format_clock(clock, sizeof clock, p->elapsed_s);
    double to_go = time_left(p);
    if (to_go >= 0) {
        char eta[32];
        format_clock(eta, sizeof eta, to_go);
        (void)snprintf(left, sizeof left, "  %s left", eta);
    }
    if (p->best_ms > 0 && p->default_ms > 0)
        (void)snprintf(speedup, sizeof speedup, "  %.2fx", p->default_ms / p->best_ms);
    if (p->failed > 0)
        (void)snprintf(failed, sizeof failed, "  %u failed", p->failed);
    if (p->round > 0)
        (void)snprintf(round, sizeof round, "  round %u", p->round);
    if (p->resumed > 0)
        (void)snprintf(resumed, sizeof resumed, "  (%u from the journal)", p->resumed);
    (void)snprintf(text, bytes, "%u/%u%s  best %s%s%s%s  %s%s", p->trials, p->trials_max, resumed, best, speedup, failed, round, clock, left);
}

static void draw(const hone_progress *p) {
    enum { BAR_CELLS = 20, BAR_CELLS_LEAST = 6 };
    double now = now_ms();
    if (now - bar.drawn_at_ms < REDRAW_MS && bar.shown && strcmp(p->phase, bar.phase) == 0)
        return;
    bar.drawn_at_ms = now;
    char text[320], line[480], cells[BAR_CELLS + 1];
    describe(text, sizeof text, p);
    double done = p->trials_max > 0 ? (double)p->trials / p->trials_max : 0;
    if (p->max_time_s > 0 && p->elapsed_s / p->max_time_s > done)
        done = p->elapsed_s / p->max_time_s;
    /* In a narrow terminal the words matter more than the bar. */
    size_t columns = terminal_columns() - 1, words = strlen(text) + 2 + strlen(p->phase) + 3;
    size_t room = columns < words ? 0 : columns - words < BAR_CELLS ? columns - words : BAR_CELLS;
    size_t full = done >= 1 ? room : (size_t)(done * (double)room);
    memset(cells, '.', room);
    memset(cells, '#', full);
    cells[room] = '\0';
    if (room >= BAR_CELLS_LEAST)
        (void)snprintf(line, sizeof line, "[%s] %s  %s", cells, text, p->phase);
    else
        (void)snprintf(line, sizeof line, "%s  %s", text, p->phase);
    fprintf(stderr, "\r\x1b[K");
    put_safe(stderr, line, columns);
    fflush(stderr);
    bar.shown = true;
}

int bar_progress(const hone_progress *progress, void *user) {
    (void)user;
    bar.trials = progress->trials;
    if (!bar.on)
        return *bar.cancel;
    bool new_phase = strcmp(progress->phase, bar.phase) != 0;
    if (progress->event != NULL && bar.verbose) {
        bar_clear();
        put_safe(stderr, progress->event, 0);
        fputc('\n', stderr);
    }
    if (bar.live) {
        draw(progress);
    } else if (progress->elapsed_s - bar.plain_at_s >= PLAIN_EVERY_S || new_phase) {
        char text[320];
        describe(text, sizeof text, progress);
        put_safe(stderr, progress->phase, 0);
        fprintf(stderr, ": %s\n", text);
        bar.plain_at_s = progress->elapsed_s;
    }
    (void)snprintf(bar.phase, sizeof bar.phase, "%s", progress->phase);
    return *bar.cancel;
}

/* ---- work on many records ---- */

void bar_work_begin(const invocation *in, const char *verb, const volatile int *cancel) {
    bar_begin(in, cancel);
    (void)snprintf(bar.phase, sizeof bar.phase, "%s", verb);
    bar.drawn_at_ms = now_ms() + WORK_QUIET_MS - REDRAW_MS; /* what is done at once needs no bar */
    bar.work_from_ms = now_ms();
}

int bar_work(uint64_t done, uint64_t total, void *user) {
    enum { CELLS = 20 };
    (void)user;
    double now = now_ms();
    if (!bar.live || now - bar.drawn_at_ms < REDRAW_MS)
        return *bar.cancel;
    bar.drawn_at_ms = now;
    char cells[CELLS + 1], count[SHORT_TEXT], left[40] = "", clock[32];
    double part = total > 0 ? (double)done / (double)total : 0;
    size_t full = part >= 1 ? CELLS : (size_t)(part * CELLS);
    memset(cells, '.', CELLS);
    memset(cells, '#', full);
    cells[CELLS] = '\0';
    format_count(count, (double)done);
    if (part > 0.01) {
        format_clock(clock, sizeof clock, (now - bar.work_from_ms) / 1e3 * (1 - part) / part);
        (void)snprintf(left, sizeof left, "  %.0f %%  %s left", part * 100, clock);
    }
    char line[240];
    (void)snprintf(line, sizeof line, "%s%s%s %s: %s%s", total > 0 ? "[" : "", total > 0 ? cells : "", total > 0 ? "]" : "", bar.phase, count, left);
    fprintf(stderr, "\r\x1b[K");
    put_safe(stderr, line, terminal_columns() - 1);
    fflush(stderr);
    bar.shown = true;
    return *bar.cancel;
}
