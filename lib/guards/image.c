/* SPDX-License-Identifier: MIT */
/* Guards of the image as a whole: feature bits, refcounts, and how guest data are read. */
#include <inttypes.h>
#include <stdio.h>

#include "guards/guards.h"
#include "guards/mapping.h"
#include "image/extensions.h"
#include "plan/plan.h"

/* Refuses, and says how many of `what` there are. */
static void refuse_count(struct q2_trial *trial, enum qcow2_guard_id guard, const char *where,
			 uint64_t count, const char *what)
{
	char text[QCOW2_REFUSAL_TEXT];

	snprintf(text, sizeof(text), "%s: %" PRIu64, what, count);
	q2_guard_refuse(trial, guard, where, text, (struct qcow2_bytes){NULL, 0});
}

static void refuse(struct q2_trial *trial, enum qcow2_guard_id guard, const char *where,
		   const char *text)
{
	q2_guard_refuse(trial, guard, where, text, (struct qcow2_bytes){NULL, 0});
}

/* ---- dirty and corrupt ---- */

/* Counts the problems of refcounts that a set dirty bit excuses. */
static uint64_t wrong_refcounts(const struct q2_check_totals *result)
{
	return q2_faults_of_refcounts(result->by_kind) +
	       result->by_kind[QCOW2_PROBLEM_REFCOUNT_HIGH] +
	       result->by_kind[QCOW2_PROBLEM_REFCOUNT_OVERFLOW];
}

static void ask_dirty(struct q2_trial *trial, uint64_t cleared)
{
	const struct q2_check_totals *after = &trial->verdict->after;
	uint64_t wrong = wrong_refcounts(after);

	/*
	 * A repair spares leaks that may be lost data. With the bit, the next writer would free
	 * them; a refcount that is too high overwrites nothing.
	 */
	if (trial->repairs)
		wrong -= after->by_kind[QCOW2_PROBLEM_REFCOUNT_HIGH];
	if (!(cleared & QCOW2_INCOMPATIBLE_DIRTY))
		return;
	if (!after->sum.clusters_checked)
		refuse(trial, QCOW2_GUARD_DIRTY, "header/incompatible_features",
		       "the refcounts cannot be looked at");
	else if (wrong > 0)
		refuse_count(trial, QCOW2_GUARD_DIRTY, "header/incompatible_features", wrong,
			     "refcounts or copied flags that would be wrong");
}

static void ask_corrupt(struct q2_trial *trial, uint64_t cleared, bool still_set)
{
	const struct q2_check_totals *before = &trial->verdict->before;
	const struct q2_check_totals *after = &trial->verdict->after;
	uint64_t had = before->sum.corruptions - before->by_kind[QCOW2_PROBLEM_FEATURE_CORRUPT];
	uint64_t has = after->sum.corruptions - after->by_kind[QCOW2_PROBLEM_FEATURE_CORRUPT];

	if (!(qcow2_image_header(trial->before)->incompatible_features &
	      QCOW2_INCOMPATIBLE_CORRUPT))
		return;
	/*
	 * A repair, and a plan that makes an image of something that was none, need not mend
	 * everything at once.
	 */
	if ((trial->repairs || !trial->verdict->opened_before) && still_set)
		return;
	if (after->sum.clusters_checked && has == 0 && (!still_set || had > 0))
		return;
	refuse_count(trial,
		     cleared & QCOW2_INCOMPATIBLE_CORRUPT ? QCOW2_GUARD_CORRUPT
							  : QCOW2_GUARD_CORRUPT_IMAGE,
		     "header/incompatible_features", has,
		     "corruptions that would be left besides it");
}

/* ---- how the guest's data are read ---- */

/*
 * A field on which the reading of guest data depends, and the problems that show that its old value
 * was impossible.
 */
struct reading {
	const char *where;
	bool changed;
	enum qcow2_problem_id excuses[3];
};

static bool is_excused(const struct q2_check_totals *before, const struct reading *reading)
{
	for (size_t i = 0; i < sizeof(reading->excuses) / sizeof(reading->excuses[0]); i++)
		if (before->by_kind[reading->excuses[i]] > 0)
			return true;
	return false;
}

/*
 * Asks about the LUKS header. It holds the keys: with another one, the data are noise. A damaged
 * one may be mended.
 */
static int ask_luks(struct q2_trial *trial)
{
	static const enum qcow2_problem_id damages[] = {
		QCOW2_PROBLEM_CRYPTO_MISSING, QCOW2_PROBLEM_CRYPTO_SURPLUS,
		QCOW2_PROBLEM_CRYPTO_OFFSET,  QCOW2_PROBLEM_CRYPTO_BEYOND_END,
		QCOW2_PROBLEM_LUKS_MAGIC,     QCOW2_PROBLEM_LUKS_VERSION,
		QCOW2_PROBLEM_LUKS_KEY_SLOT,  QCOW2_PROBLEM_LUKS_CIPHER,
		QCOW2_PROBLEM_LUKS_PAYLOAD,   QCOW2_PROBLEM_LUKS_MASTER_KEY,
		QCOW2_PROBLEM_LUKS_NO_KEY,
	};
	struct qcow2_extension extension;
	struct qcow2_crypto_extension crypto;
	uint64_t damage = 0;
	bool nothing;

	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++)
		damage += trial->verdict->before.by_kind[damages[i]];
	if (damage > 0 || !q2_find_extension(trial->before, QCOW2_EXTENSION_CRYPTO, &extension) ||
	    extension.data.size < sizeof(crypto))
		return 0;
	qcow2_crypto_extension_decode(&crypto, extension.data.data, extension.data.size);
	if (!q2_plan_touches(trial->plan, crypto.offset, crypto.length))
		return 0;
	if (q2_maps_nothing(trial->before, &nothing, trial->err))
		return -1;
	if (!nothing)
		refuse(trial, QCOW2_GUARD_ENCODING, "luks", "");
	return 0;
}

static int ask_encoding(struct q2_trial *trial)
{
	const struct qcow2_header *old = qcow2_image_header(trial->before);
	const struct qcow2_header *new = qcow2_image_header(trial->after);
	uint64_t bits = old->incompatible_features ^ new->incompatible_features;
	const struct reading readings[] = {
		{"header/crypt_method",
		 old->crypt_method != new->crypt_method,
		 {QCOW2_PROBLEM_HEADER_CRYPT_METHOD, QCOW2_PROBLEM_CRYPTO_SURPLUS,
		  QCOW2_PROBLEM_CRYPTO_MISSING}},
		{"header/compression_type",
		 old->compression_type != new->compression_type,
		 {QCOW2_PROBLEM_HEADER_COMPRESSION_TYPE, QCOW2_PROBLEM_HEADER_COMPRESSION_BIT,
		  QCOW2_PROBLEM_HEADER_COMPRESSION_TYPE}},
		{"header/cluster_bits",
		 old->cluster_bits != new->cluster_bits,
		 {QCOW2_PROBLEM_HEADER_CLUSTER_BITS, QCOW2_PROBLEM_HEADER_CLUSTER_BITS_EXTENDED,
		  QCOW2_PROBLEM_HEADER_CLUSTER_BITS}},
		{"header/incompatible_features",
		 (bits & (QCOW2_INCOMPATIBLE_DATA_FILE | QCOW2_INCOMPATIBLE_EXTENDED_L2)) != 0,
		 {QCOW2_PROBLEM_DATA_FILE_WITHOUT_BIT, QCOW2_PROBLEM_FEATURE_RAW_WITHOUT_DATA_FILE,
		  QCOW2_PROBLEM_HEADER_CLUSTER_BITS_EXTENDED}},
	};
	bool nothing = false;

	/* A repair sets such a field only to what the tables or the clusters prove. */
	if (trial->repairs)
		return 0;
	for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
		if (!readings[i].changed || is_excused(&trial->verdict->before, &readings[i]))
			continue;
		if (q2_maps_nothing(trial->before, &nothing, trial->err))
			return -1;
		if (!nothing)
			refuse(trial, QCOW2_GUARD_ENCODING, readings[i].where, "");
	}
	return 0;
}

static int ask_raw(struct q2_trial *trial, uint64_t gained)
{
	bool is_raw;

	if (!(gained & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
		return 0;
	if (q2_is_raw_alone(trial->after, &is_raw, trial->err))
		return -1;
	if (!is_raw)
		refuse(trial, QCOW2_GUARD_RAW_DATA_FILE, "header/autoclear_features", "");
	return 0;
}

/* ---- refcounts ---- */

static void ask_refcounts(struct q2_trial *trial)
{
	const uint64_t *added = trial->verdict->added_by_kind;
	uint64_t low = added[QCOW2_PROBLEM_REFCOUNT_LOW] + added[QCOW2_PROBLEM_REFCOUNT_OVERFLOW];
	uint64_t copied = added[QCOW2_PROBLEM_COPIED_SET] + added[QCOW2_PROBLEM_COPIED_CLEAR];

	if (low > 0)
		refuse_count(trial, QCOW2_GUARD_REFCOUNT, "refcounts", low, "clusters");
	if (copied > 0)
		refuse_count(trial, QCOW2_GUARD_COPIED, "refcounts", copied, "clusters");
}

int q2_guards_image(struct q2_trial *trial)
{
	const struct qcow2_header *old = qcow2_image_header(trial->before);
	const struct qcow2_header *new = qcow2_image_header(trial->after);
	uint64_t cleared = old->incompatible_features & ~new->incompatible_features;

	if (old->incompatible_features & ~QCOW2_INCOMPATIBLE_KNOWN)
		refuse(trial, QCOW2_GUARD_UNKNOWN_FEATURE, "header/incompatible_features", "");
	ask_dirty(trial, cleared);
	ask_corrupt(trial, cleared, (new->incompatible_features &QCOW2_INCOMPATIBLE_CORRUPT) != 0);
	ask_refcounts(trial);
	return ask_luks(trial) || ask_encoding(trial) ||
			       ask_raw(trial, new->autoclear_features & ~old->autoclear_features)
		       ? -1
		       : 0;
}
