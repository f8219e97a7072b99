/* worker_timing.c: inside a run's child: load the object, check its result, time it.  Nothing here is safe from the kernel; all that
 * leaves is what stands on the slate. */
#define _GNU_SOURCE
#include "clock.h"
#include "worker_internal.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SAMPLE_NS_MIN 50000.0    /* shorter runs are timed in batches: two clock reads of some 25 ns stay below 1 in 500 */
#define BATCH_BELOW_NS 20000.0

static hone__slate *fault_slate; /* for the signal handler */
static uint64_t page_size;

/* ---- faults ---- */

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)context;
    hone__slate *slate = fault_slate;
    slate->fault_signal = number;
    slate->fault_address = (uint64_t)(uintptr_t)info->si_addr;
    char text[32];
    int fd = open("/proc/self/statm", O_RDONLY);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof text) : 0;
    uint64_t pages = 0;
    for (ssize_t i = 0; i < got && text[i] >= '0' && text[i] <= '9'; i++)
        pages = pages * 10 + (uint64_t)(text[i] - '0');
    slate->fault_vm_bytes = pages * page_size;
    struct sigaction plain = {.sa_handler = SIG_DFL};
    (void)sigaction(number, &plain, NULL); /* the fault comes again on return, and then ends the process */
    if (number == SIGABRT)
        (void)raise(SIGABRT);
}

static void catch_faults(hone__slate *slate) {
    static unsigned char alternate[65536];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    fault_slate = slate;
    page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    slate->fault_stack = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    (void)sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        (void)sigaction(numbers[i], &action, NULL);
}

/* ---- buffers ---- */

/* Outputs that the kernel does not write show: NaN for floating-point types, 0xAA bytes for others. */
static void reset_outputs(hone__problem *problem) {
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        hone__worker_arg *arg = &problem->arg[i];
        if (!arg->is_buffer || !arg->out)
            continue;
        if (arg->in)
            memcpy(arg->work.data, arg->pristine.data, arg->work.bytes);
        else
            memset(arg->work.data, arg->element < HONE_ELEMENT_I64 ? 0xFF : 0xAA, arg->work.bytes);
        hone__arena_canary_set(&arg->work);
    }
}

static void fail(hone__slate *slate, hone__outcome outcome, const char *text) {
    slate->result = (hone__measurement){.outcome = outcome};
    if (outcome == HONE_OUTCOME_WRONG || outcome == HONE_OUTCOME_NAN)
        slate->result.accuracy = HONE_ACCURACY_FAILED;
    (void)snprintf(slate->result.reason, sizeof slate->result.reason, "%s", text);
}

static void name_element(const hone__worker_arg *arg, uint64_t index, char *text, size_t bytes) {
    size_t used = (size_t)snprintf(text, bytes, "%s[", arg->name);
    uint64_t place[8] = {0};
    for (uint32_t d = arg->rank; d > 0; d--) {
        uint64_t extent = arg->shape[d - 1] > 0 ? arg->shape[d - 1] : 1;
        place[d - 1] = index % extent;
        index /= extent;
    }
    for (uint32_t d = 0; d < arg->rank && used < bytes; d++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%llu", d > 0 ? "][" : "", (unsigned long long)place[d]);
    if (used < bytes)
        (void)snprintf(text + used, bytes - used, "]");
}

static bool canaries_whole(const hone__problem *problem, hone__slate *slate) {
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        const hone__worker_arg *arg = &problem->arg[i];
        long long offset = 0;
        char text[200];
        if (!arg->is_buffer || !arg->out || !hone__arena_canary_hit(&arg->work, &offset))
            continue;
        if (offset < 0)
            (void)snprintf(text, sizeof text, "wrote out of bounds: %lld bytes before buffer %s", -offset, arg->name);
        else
            (void)snprintf(text, sizeof text, "wrote out of bounds: at byte %lld of buffer %s, which has %zu", offset, arg->name, arg->work.bytes);
        fail(slate, HONE_OUTCOME_WRONG, text);
        return false;
    }
    return true;
}

/* Compare all outputs with the reference; false when one is off, and then the slate says where and by how much. */
static bool outputs_right(const hone__problem *problem, hone__slate *slate, const char *when) {
    double max_error = 0.0;
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        const hone__worker_arg *arg = &problem->arg[i];
        if (!arg->is_buffer || !arg->out)
            continue;
        hone__deviation off;
        hone__element_compare(arg->element, arg->work.data, arg->reference.data, arg->count, problem->rtol, problem->atol, &off);
        max_error = off.max_error > max_error ? off.max_error : max_error;
        if (off.wrong == 0)
            continue;
        char where[256];
        char text[HONE_LIMIT_REASON_BYTES];
        char factor[64] = "";
        name_element(arg, off.index, where, sizeof where);
        if (off.max_error < 1e300)
            (void)snprintf(factor, sizeof factor, ", error %.3g times the tolerance", off.max_error);
        (void)snprintf(text, sizeof text, "%s%llu of %llu elements of %s are wrong%s; the worst is %.200s: %.9g instead of %.9g%s",
                       when, (unsigned long long)off.wrong, (unsigned long long)arg->count, arg->name,
                       off.nans == off.wrong ? " (NaN, or never written)" : off.nans > 0 ? " (some are NaN)" : "", where, off.value,
                       off.expected, factor);
        fail(slate, off.nans > 0 ? HONE_OUTCOME_NAN : HONE_OUTCOME_WRONG, text);
        slate->result.max_error = off.max_error;
        return false;
    }
    slate->result.max_error = max_error;
    return true;
}

/* ---- loading ---- */

static void *symbol(hone__slate *slate, const char *object, const char *name, void **library) {
    hone__stage_set(slate, HONE_STAGE_LOAD);
    *library = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    void *found = *library != NULL ? dlsym(*library, name) : NULL;
    if (found == NULL) {
        const char *why = dlerror();
        char text[400];
        bool no_exec = why != NULL && strstr(why, "failed to map segment") != NULL;
        (void)snprintf(text, sizeof text, "cannot load the compiled kernel: %.240s%s", why != NULL ? why : "no launcher in it",
                       no_exec ? "; is that folder mounted noexec? TMPDIR names another one" : "");
        fail(slate, HONE_OUTCOME_LAUNCH_ERROR, text);
    }
    return found;
}

static hone__launch_fn *load(hone__slate *slate, const char *object) {
    void *library;
    union {
        void *object;
        hone__launch_fn *function;
    } both = {.object = symbol(slate, object, "hone_launch", &library)};
    return both.function;
}

static void collect_args(hone__problem *problem, void **args) {
    for (uint32_t i = 0; i < problem->arg_count; i++)
        args[i] = problem->arg[i].is_buffer ? (void *)problem->arg[i].work.data : (void *)problem->arg[i].scalar;
}

/* ---- timing ---- */

static double time_batch(hone__launch_fn *launch, void **args, uint32_t batch) {
    uint64_t start = hone__clock_ns();
    for (uint32_t i = 0; i < batch; i++)
        launch(args);
    uint64_t end = hone__clock_ns();
    double ns = (double)(end - start) / batch;
    return ns > 0.1 ? ns : 0.1;
}

/* How many runs make one sample: 1 unless one run is short against the clock's own cost.  Grows until the batch is long enough. */
static uint32_t choose_batch(hone__launch_fn *launch, void **args, double *estimate) {
    uint32_t batch = 1;
    *estimate = time_batch(launch, args, 1);
    while (*estimate < BATCH_BELOW_NS && *estimate * batch < SAMPLE_NS_MIN && batch < 1000000) {
        double wanted = SAMPLE_NS_MIN / *estimate;
        uint32_t next = wanted > 8.0 * batch ? 8 * batch : (uint32_t)wanted + 1;
        batch = next > batch ? next : batch + 1;
        *estimate = time_batch(launch, args, batch);
    }
    return batch;
}

/* Sample until the interval is narrow enough, the budget is spent, or the config is clearly slower than the incumbent. */
static void time_kernel(hone__trial *trial, hone__launch_fn *launch, void **args) {
    static double scratch[HONE_LIMIT_SAMPLES];
    hone__slate *slate = trial->slate;
    double estimate;
    hone__stage_set(slate, HONE_STAGE_TIME);
    uint32_t batch = choose_batch(launch, args, &estimate); /* warms up as well */
    uint64_t start = hone__clock_ns();
    double budget_ns = trial->budget_ms * 1e6;
    double left_ns = (double)trial->deadline_ns - (double)start;
    budget_ns = budget_ns < 0.7 * left_ns ? budget_ns : 0.7 * left_ns;
    uint32_t count = 0;
    uint32_t next_look = 1;
    hone__summary summary = {0.0, 0.0, 0.0, 0.0};
    hone__outcome outcome = HONE_OUTCOME_OK;
    if (estimate > budget_ns || (trial->incumbent_ns > 0.0 && estimate > 4.0 * trial->incumbent_ns))
        slate->sample[count++] = estimate; /* one more run would not fit, or is not worth it: the warm run is the sample */
    if (count > 0 && hone__sampling_hopeless(slate->sample, count, 0.0, trial->incumbent_ns))
        outcome = HONE_OUTCOME_SLOW;
    while (outcome == HONE_OUTCOME_OK && count < HONE_LIMIT_SAMPLES) {
        double elapsed = (double)(hone__clock_ns() - start);
        if (count >= 1 && elapsed + estimate * batch > budget_ns)
            break;
        slate->sample[count++] = time_batch(launch, args, batch);
        if (count < next_look)
            continue;
        memcpy(scratch, slate->sample, count * sizeof scratch[0]);
        summary = hone__stats_summary(scratch, count, 0.95);
        if (hone__sampling_hopeless(slate->sample, count, summary.low, trial->incumbent_ns)) {
            outcome = HONE_OUTCOME_SLOW;
            break;
        }
        if (hone__sampling_enough(&summary, count, trial->precision, trial->incumbent_ns))
            break;
        next_look = count < 12 ? count + 1 : count + count / 6;
    }
    memcpy(scratch, slate->sample, count * sizeof scratch[0]);
    summary = hone__stats_summary(scratch, count, 0.95);
    slate->count = count;
    slate->result.outcome = outcome;
    slate->result.samples = count;
    slate->result.median_ns = summary.median;
    slate->result.low_ns = summary.low;
    slate->result.high_ns = summary.high;
    slate->result.mad_ns = summary.mad;
}

/* One run on fresh buffers; *ns (may be NULL) is its time. */
static bool checked_run(hone__worker *worker, hone__slate *slate, hone__launch_fn *launch, void **args, hone__stage stage, const char *when,
                        double *ns) {
    hone__problem *problem = &worker->problem;
    hone__stage_set(slate, HONE_STAGE_SETUP);
    reset_outputs(problem);
    hone__stage_set(slate, stage);
    double took = time_batch(launch, args, 1);
    if (ns != NULL)
        *ns = took;
    hone__stage_set(slate, HONE_STAGE_COMPARE);
    return canaries_whole(problem, slate) && (!problem->has_reference || outputs_right(problem, slate, when));
}

static void measure(hone__worker *worker, hone__trial *trial) {
    void *args[HONE_LIMIT_ARGS];
    hone__slate *slate = trial->slate;
    hone__launch_fn *launch = load(slate, trial->object[0]);
    if (launch == NULL)
        return;
    collect_args(&worker->problem, args);
    if (!checked_run(worker, slate, launch, args, HONE_STAGE_CHECK, "", NULL))
        return;
    time_kernel(trial, launch, args);
    hone__measurement timed = slate->result;
    /* Once more: a kernel that keeps state between runs may have been right only once. */
    if (!checked_run(worker, slate, launch, args, HONE_STAGE_RECHECK, "after the timed runs ", NULL))
        return;
    double max_error = slate->result.max_error;
    slate->result = timed;
    slate->result.max_error = max_error;
    slate->result.accuracy = worker->problem.has_reference ? HONE_ACCURACY_PASSED : HONE_ACCURACY_UNCHECKED;
}

/* All finalists in one process over the same buffers, round by round, so that drift and memory placement meet all alike. */
static void compare(hone__worker *worker, hone__trial *trial) {
    static hone__launch_fn *launch[64];
    static uint32_t batch[64];
    static double estimate[64];
    void *args[HONE_LIMIT_ARGS];
    hone__slate *slate = trial->slate;
    double round_ns = 0.0;
    collect_args(&worker->problem, args);
    for (uint32_t i = 0; i < trial->count; i++) {
        slate->subject = (int32_t)i;
        launch[i] = load(slate, trial->object[i]);
        if (launch[i] == NULL)
            return;
        if (!checked_run(worker, slate, launch[i], args, HONE_STAGE_CHECK, "", &estimate[i]))
            return;
        hone__stage_set(slate, HONE_STAGE_TIME);
        batch[i] = 1;
        if (estimate[i] < 5e6) /* a longer one is warm after its checked run */
            batch[i] = choose_batch(launch[i], args, &estimate[i]);
        round_ns += estimate[i] * batch[i];
    }
    uint64_t start = hone__clock_ns();
    uint32_t rounds = 0;
    while (rounds < trial->rounds && (rounds + 1) * trial->count <= HONE_LIMIT_SAMPLES) {
        if (rounds > 0 && (double)(hone__clock_ns() - start) + round_ns > trial->budget_ms * 1e6)
            break;
        for (uint32_t k = 0; k < trial->count; k++) {
            uint32_t i = (k + rounds) % trial->count; /* nobody always runs first, or always behind the same one */
            slate->subject = (int32_t)i;
            if (estimate[i] < 1e6)
                launch[i](args); /* short kernels: have code and branch history back before the clock starts */
            slate->sample[rounds * trial->count + i] = time_batch(launch[i], args, batch[i]);
        }
        rounds++;
    }
    slate->count = rounds;
    slate->result = (hone__measurement){.outcome = HONE_OUTCOME_OK};
}

static void reference(hone__worker *worker, hone__trial *trial) {
    void *args[HONE_LIMIT_ARGS];
    hone__problem *problem = &worker->problem;
    hone__launch_fn *launch = load(trial->slate, trial->object[0]);
    if (launch == NULL)
        return;
    collect_args(problem, args);
    hone__stage_set(trial->slate, HONE_STAGE_SETUP);
    reset_outputs(problem);
    hone__stage_set(trial->slate, HONE_STAGE_CHECK);
    launch(args);
    if (!canaries_whole(problem, trial->slate))
        return;
    for (uint32_t i = 0; i < problem->arg_count; i++) {
        hone__worker_arg *arg = &problem->arg[i];
        if (arg->is_buffer && arg->out)
            memcpy(arg->reference.data, arg->work.data, arg->work.bytes);
    }
    trial->slate->result = (hone__measurement){.outcome = HONE_OUTCOME_OK};
}

static void peak(hone__trial *trial) {
    void *library;
    if (symbol(trial->slate, trial->object[0], "hone_peak", &library) == NULL)
        return;
    hone__stage_set(trial->slate, HONE_STAGE_TIME);
    for (int which = 0; which < 2; which++)
        trial->slate->sample[which] = hone__peak_call(library, which);
    trial->slate->result = (hone__measurement){.outcome = HONE_OUTCOME_OK};
}

void hone__trial_child(hone__worker *worker, hone__trial *trial) {
    cpu_set_t set;
    if (worker->timing_core >= 0) {
        CPU_ZERO(&set);
        CPU_SET((size_t)worker->timing_core, &set);
        (void)sched_setaffinity(0, sizeof set, &set);
    }
    hone__stage_set(trial->slate, HONE_STAGE_SETUP);
    catch_faults(trial->slate);
    if (trial->kind == HONE_TRIAL_MEASURE)
        measure(worker, trial);
    else if (trial->kind == HONE_TRIAL_COMPARE)
        compare(worker, trial);
    else if (trial->kind == HONE_TRIAL_REFERENCE)
        reference(worker, trial);
    else
        peak(trial);
}
