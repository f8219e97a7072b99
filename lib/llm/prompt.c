/* prompt.c: the system prompt, the first message and the repair message (spec/prompt.md); feedback.c writes the later ones. */
#include "prompt_facts.h"

#include <string.h>

const char *hone__prompt_system(void) {
    return "You are a kernel performance engineer. You choose launch and compile configs for one compute kernel on one device. Each config "
           "that you propose is compiled, checked and timed, and the results come back to you in rounds; the goal is the lowest time.\n"
           "\n"
           "What counts is what is stated in the messages: source, sizes, device, measured results. The list of parameters is the only source "
           "of names and values. Reason from how this code runs on this device; habits from other kernels are guesses, to be tested.\n"
           "\n"
           "Answer with one JSON object and nothing else, without fences or comments:\n"
           "{\"thought\": \"one or two sentences\", \"configs\": [{...}, {...}]}\n"
           "- thought: which assumption this batch tests, or which one the results have refuted.\n"
           "- configs: each an object that names only the parameters whose value differs from the default config; all others keep their "
           "default.\n"
           "- Use parameter names and values exactly as listed. Lists have exactly the stated length. JSON only: true and false, double "
           "quotes, no expressions.\n"
           "- All configs differ from each other and from everything measured. Every constraint must hold.\n"
           "- Fewer good configs are better than padding. Put the most promising ones first.\n";
}

/* ---- the first message ---- */

/* The families whose combinations a batch can cover: all of them when they fit, else those of two values.  0 when not even these do. */
static uint32_t covered(const hone__prompt_input *input, uint32_t most, uint32_t *count) {
    const hone__space *space = hone__bound_space(input->bound);
    double combinations = 1;
    *count = 0;
    for (uint32_t slot = 0; slot < space->slot_count; slot++) {
        uint32_t values = space->param[hone__space_param_of_slot(space, slot)].domain.count;
        if (!hone__slot_is_family(space, slot) || values > most)
            continue;
        combinations *= values;
        (*count)++;
    }
    return combinations <= input->configs_wanted ? (uint32_t)combinations : 0;
}

static void put_families(hone__buf *buf, const hone__space *space, uint32_t most) {
    bool first = true;
    for (uint32_t slot = 0; slot < space->slot_count; slot++) {
        const hone__param *param = &space->param[hone__space_param_of_slot(space, slot)];
        if (!hone__slot_is_family(space, slot) || param->domain.count > most)
            continue;
        hone__buf_text(buf, first ? "" : "; ");
        hone__text_slot(buf, space, slot);
        hone__buf_text(buf, " (");
        for (uint32_t i = 0; i < param->domain.count; i++) {
            hone__buf_text(buf, i > 0 ? ", " : "");
            hone__domain_print(buf, &param->domain, i);
        }
        hone__buf_char(buf, ')');
        first = false;
    }
}

static void put_coverage(hone__buf *buf, const hone__prompt_input *input) {
    const hone__space *space = hone__bound_space(input->bound);
    uint32_t families, pairs, all = covered(input, UINT32_MAX, &families), twos = covered(input, 2, &pairs);
    if (families == 0)
        return;
    hone__buf_text(buf, "- Parameters with few values split the space into families. In this batch let each of these values occur in some config, "
                        "with the other parameters chosen well for it: ");
    put_families(buf, space, UINT32_MAX);
    hone__buf_text(buf, ".\n");
    if (families > 1 && all > 0) {
        hone__buf_printf(buf, "- Their %u combinations fit into one batch: use each (where valid) at least once.\n", (unsigned)all);
    } else if (pairs > 1 && twos > 0) {
        hone__buf_text(buf, "- No belief should settle those of two values before they are measured together: ");
        put_families(buf, space, 2);
        hone__buf_printf(buf, ". Their %u combinations fit into one batch: use each (where valid) at least once, with the other parameters as good for it "
                              "as you can choose them, since a family is judged by its best config.\n",
                         (unsigned)twos);
    }
}

/* Advice that follows from the facts of this space; nothing that holds for "most kernels". */
static void put_strategy(hone__buf *buf, const hone__prompt_input *input) {
    const hone__space *space = hone__bound_space(input->bound);
    hone__buf_text(buf, "- Nothing is measured yet, so any belief about what is fast here may be wrong. Do not let all configs share one untested "
                        "assumption: for each choice that you believe in, let some configs take the opposite.\n");
    put_coverage(buf, input);
    hone__buf_text(buf, "- For parameters with many values spread the batch over the range (low, middle, high), not only around the default.\n");
    for (uint32_t i = 0; i < space->param_count; i++) {
        if (space->param[i].kind == HONE_KIND_PERMUTATION && space->param[i].slot_count > 1) {
            hone__buf_printf(buf, "- Let clearly different orders of %s occur, among them one that begins with each of its elements where that is valid.\n",
                             space->param[i].name);
        }
    }
    bool exact;
    double valid = hone__bound_count(input->bound, &exact), raw = hone__space_raw_count(space);
    if (raw > 0 && valid / raw < 0.25) {
        double error = hone__bound_count_error(input->bound);
        hone__buf_text(buf, error < 1 ? "- Only about 1 in " : "- Very few");
        if (error < 1)
            hone__text_number(buf, raw / valid, error > COUNT_ROUGH ? 1 : 2);
        hone__buf_printf(buf, " combinations %s valid: verify the arithmetic of every constraint for every config.\n", error < 1 ? "is" : "are");
    }
    hone__roofline roof;
    hone__roofline_get(input, &roof);
    if (roof.memory_ns > 0 && roof.compute_ns > 0)
        hone__buf_printf(buf, "- The roofline says that %s sets the limit (%.0f : %.0f of time at full rate, memory : arithmetic).\n",
                         roof.memory_ns > roof.compute_ns ? "memory traffic" : "arithmetic",
                         100 * roof.memory_ns / (roof.memory_ns + roof.compute_ns),
                         100 * roof.compute_ns / (roof.memory_ns + roof.compute_ns));
}

static void put_task(hone__buf *buf, const hone__prompt_input *input) {
    hone__buf_printf(buf, "Propose up to %u configs as the first batch. One JSON object {\"thought\": ..., \"configs\": [...]}, nothing else.\n",
                     (unsigned)input->configs_wanted);
    if (input->rounds_max > 0)
        hone__buf_printf(buf, "You will see what they came to; there are %u rounds at most", (unsigned)input->rounds_max);
    if (input->rounds_max > 0 && input->trials_left > 0)
        hone__buf_printf(buf, " and %u measurements left", (unsigned)input->trials_left);
    hone__buf_text(buf, input->rounds_max > 0 ? ".\n" : "");
}

void hone__prompt_initial(hone__buf *buf, const hone__prompt_input *input) {
    hone__sections sections = {.count = 0};
    hone__facts_kernel(hone__section_add(&sections, "Kernel", 0, 0), input);
    hone__facts_source(hone__section_add(&sections, "Source", 4, 8 << 10), input);
    hone__facts_dependencies(hone__section_add(&sections, "Files that it includes", 1, 0), input);
    hone__facts_arguments(hone__section_add(&sections, "Arguments", 5, 4 << 10), input);
    hone__facts_device(hone__section_add(&sections, "Device", 3, 4 << 10), input);
    hone__facts_roofline(hone__section_add(&sections, "Roofline of this problem", 0, 0), input);
    hone__facts_launch(hone__section_add(&sections, "Launch", 0, 0), input);
    hone__facts_params(hone__section_add(&sections, "Parameters (the config space)", 7, 32 << 10), input);
    hone__facts_constraints(hone__section_add(&sections, "Constraints", 6, 12 << 10), input);
    hone__facts_known(hone__section_add(&sections, "Known configs", 2, 6 << 10), input);
    put_strategy(hone__section_add(&sections, "Strategy", 0, 0), input);
    put_task(hone__section_add(&sections, "Task", 0, 0), input);
    hone__sections_write(buf, &sections);
}

/* ---- repair ---- */

/* Two valid configs of this space, sparse, that show the form; not meant as advice, and said so. */
static void put_example(hone__buf *buf, const hone__bound *bound) {
    const hone__space *space = hone__bound_space(bound);
    hone__rng rng;
    hone__rng_seed(&rng, 1);
    hone__buf_text(buf, "{\"thought\": \"...\", \"configs\": [");
    uint32_t shown = 0;
    for (uint32_t tries = 0; tries < 8 && shown < 2; tries++) {
        hone__config config;
        if (!hone__bound_sample(bound, &rng, &config) || hone__config_equal(&config, &space->base))
            continue;
        hone__buf_text(buf, shown > 0 ? ", " : "");
        hone__config_print_sparse(buf, space, &config);
        shown++;
    }
    if (shown == 0)
        hone__config_print_sparse(buf, space, &space->base);
    hone__buf_text(buf, "]}\n");
}

static void put_rejections(hone__buf *buf, const hone__prompt_input *input, uint32_t max) {
    for (uint32_t i = 0; i < input->rejection_count && i < max; i++) {
        hone__buf_text(buf, "- ");
        hone__text_clean(buf, input->rejection[i].config == NULL ? "" : input->rejection[i].config, 160, true);
        hone__buf_text(buf, ": ");
        hone__text_clean(buf, input->rejection[i].reason == NULL ? "" : input->rejection[i].reason, 400, true);
        hone__buf_char(buf, '\n');
    }
    if (input->rejection_count > max)
        hone__buf_printf(buf, "- and %u more\n", (unsigned)(input->rejection_count - max));
}

void hone__prompt_repair(hone__buf *buf, const hone__prompt_input *input, const char *problem) {
    hone__sections sections = {.count = 0};
    hone__buf *text = hone__section_add(&sections, "Your last answer could not be used", 0, 0);
    hone__text_clean(text, problem == NULL || problem[0] == '\0' ? "no config in it was usable" : problem, 600, true);
    hone__buf_char(text, '\n');
    put_rejections(hone__section_add(&sections, "What was rejected", 1, 1 << 10), input, 12);
    text = hone__section_add(&sections, "Task", 0, 0);
    hone__buf_printf(text,
                     "Answer again with up to %u configs: one JSON object, no fences, no prose around it. Configs name only what differs from "
                     "the default; names and values exactly as in the list of parameters; every constraint holds. The form (with arbitrary "
                     "valid configs, not advice):\n",
                     (unsigned)input->configs_wanted);
    put_example(text, input->bound);
    hone__sections_write(buf, &sections);
}
