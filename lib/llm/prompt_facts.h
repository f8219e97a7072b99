/* prompt_facts.h: the sections of the first prompt that state facts: the kernel, its arguments, the device, the space. */
#ifndef HONE_PROMPT_FACTS_H
#define HONE_PROMPT_FACTS_H

#include "prompt_text.h"

/* Above this relative error a count of valid configs is called very rough: it stands on less than a hundred that were met. */
#define COUNT_ROUGH 0.1

void hone__facts_kernel(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_source(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_dependencies(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_arguments(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_device(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_roofline(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_launch(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_params(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_constraints(hone__buf *buf, const hone__prompt_input *input);
void hone__facts_known(hone__buf *buf, const hone__prompt_input *input); /* default, seeds, neighbours */

/* Slots whose few values are families of the space: of scalar parameters, bool and enum with 2 to 4 values, numbers with 2 or 3. */
bool hone__slot_is_family(const hone__space *space, uint32_t slot);

#endif
