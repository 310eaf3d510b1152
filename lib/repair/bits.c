/* SPDX-License-Identifier: MIT */
/*
 * The corrupt and dirty bits ("Header"): cleared last, and only if the planned image has no
 * corruption but these bits. Until then an image of version 3 that is changed has the corrupt bit,
 * so that after a crash no program writes to it before it is repaired, or the repair is undone.
 */
#include "repair/repair.h"

#include "base/bytes.h"

#define FEATURES_AT offsetof(struct qcow2_header, incompatible_features)

/* Whether the planned image has a corruption besides the bit, or wrong refcounts. */
static int is_sound(struct q2_repair *repair, bool *sound)
{
	const struct qcow2_check_options how = {.threads = repair->options->threads,
						.memory_limit_bytes =
							repair->options->memory_limit_bytes};
	struct q2_check_totals totals;

	if (q2_check(repair->image, &how, &totals, repair->err))
		return -1;
	*sound = totals.sum.clusters_checked &&
		 totals.sum.corruptions == totals.by_kind[QCOW2_PROBLEM_FEATURE_CORRUPT];
	return 0;
}

static int tell_bit(struct q2_repair *repair, enum qcow2_problem_id id, const char *does)
{
	return q2_repair_tell(repair, &(struct qcow2_repair_step){
					      .kind = qcow2_problem_kind_get(id),
					      .where = "header/incompatible_features",
					      .does = does,
				      });
}

/*
 * Sets the corrupt bit before anything else is written, if the image is not consistent at each step
 * of the plan: freeing clusters needs no such care.
 */
static int hold_writers(struct q2_repair *repair)
{
	const struct q2_planned_phase *phases = repair->plan->phases;
	uint8_t bytes[8];

	if (phases[QCOW2_PHASE_COUNT].count == 0 && phases[QCOW2_PHASE_POINT].count == 0)
		return 0;
	if (q2_plan_read_old(repair->plan, FEATURES_AT, bytes, sizeof(bytes), repair->err))
		return -1;
	return q2_repair_write_number(repair, QCOW2_PHASE_WITHDRAW, FEATURES_AT,
				      q2_load_be64(bytes) | QCOW2_INCOMPATIBLE_CORRUPT, 8,
				      "no program shall write to the image until it is repaired");
}

int q2_repair_bits(struct q2_repair *repair)
{
	uint64_t old = repair->header->incompatible_features, bits = old;
	bool sound = false;

	if (repair->header->version < 3)
		return 0;
	if ((old & (QCOW2_INCOMPATIBLE_CORRUPT | QCOW2_INCOMPATIBLE_DIRTY)) &&
	    is_sound(repair, &sound))
		return -1;
	if (!sound) {
		q2_repair_leave(repair, QCOW2_PROBLEM_FEATURE_CORRUPT,
				"the image still has other corruptions");
		q2_repair_leave(repair, QCOW2_PROBLEM_FEATURE_DIRTY,
				"the image still has corruptions, and refcounts may be behind");
	}
	if (sound && (old & QCOW2_INCOMPATIBLE_CORRUPT) &&
	    q2_repair_may(repair, QCOW2_PROBLEM_FEATURE_CORRUPT, false)) {
		bits &= ~QCOW2_INCOMPATIBLE_CORRUPT;
		if (tell_bit(repair, QCOW2_PROBLEM_FEATURE_CORRUPT, "clears the corrupt bit"))
			return -1;
	}
	if (sound && (old & QCOW2_INCOMPATIBLE_DIRTY) &&
	    q2_repair_may(repair, QCOW2_PROBLEM_FEATURE_DIRTY, false)) {
		bits &= ~QCOW2_INCOMPATIBLE_DIRTY;
		if (tell_bit(repair, QCOW2_PROBLEM_FEATURE_DIRTY, "clears the dirty bit"))
			return -1;
	}
	if (hold_writers(repair))
		return -1;
	return q2_repair_write_number(repair, QCOW2_PHASE_CLEAN, FEATURES_AT, bits, 8,
				      "what the image's state is now");
}
