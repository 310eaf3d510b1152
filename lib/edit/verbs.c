/* SPDX-License-Identifier: MIT */
/* Changes the first cluster as people ask for it. See edit.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qcow2/limits.h>
#include <qcow2/number.h>

#include "base/bytes.h"
#include "base/error.h"
#include "edit/area.h"

#define FEATURE_NAME_BYTES sizeof(struct qcow2_feature_name)

static const struct qcow2_bytes any_name = {NULL, 0};

/* Ends a change of the first cluster: plans the area unless it failed, and closes it. */
static int finish(struct q2_area *area, struct qcow2_plan *plan, const char *why, int failed,
		  struct qcow2_error *err)
{
	if (!failed)
		failed = q2_area_plan(area, plan, why, err);
	q2_area_close(area);
	return failed;
}

static struct qcow2_bytes text_bytes(const char *text)
{
	return (struct qcow2_bytes){(const uint8_t *)text, strlen(text)};
}

/* ---- feature bits ---- */

struct group {
	const char *name;
	const struct qcow2_names *names;
	uint64_t *bits;
};

static bool find_group(struct q2_area *area, const char *name, struct group *out)
{
	const struct group groups[] = {
		{"incompatible", &qcow2_incompatible_features, &area->incompatible_features},
		{"compatible", &qcow2_compatible_features, &area->compatible_features},
		{"autoclear", &qcow2_autoclear_features, &area->autoclear_features},
	};

	for (size_t i = 0; i < 3; i++) {
		if (strcmp(groups[i].name, name) == 0) {
			*out = groups[i];
			return true;
		}
	}
	return false;
}

/* Whether `word` is a name; '-' and '_' stand for the blanks of a name. */
static bool is_called(const char *name, const char *word)
{
	for (; *name && *word; name++, word++)
		if (*name != *word && !(*name == ' ' && (*word == '-' || *word == '_')))
			return false;
	return *name == *word;
}

/* Finds a bit by its number or its name. */
static bool find_bit(const struct qcow2_names *names, const char *word, unsigned *bit)
{
	uint64_t number;

	for (size_t i = 0; i < names->count; i++) {
		if (is_called(names->list[i].name, word)) {
			*bit = (unsigned)names->list[i].value;
			return true;
		}
	}
	if (qcow2_number_parse(word, 63, &number, NULL))
		return false;
	*bit = (unsigned)number;
	return true;
}

static int change_feature(struct q2_area *area, const char *name, const char *word, bool on,
			  struct qcow2_error *err)
{
	struct group group;
	unsigned bit;

	if (!find_group(area, name, &group))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "'%s' is no group: incompatible, compatible or autoclear", name);
	if (!find_bit(group.names, word, &bit))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "'%s' is no %s feature, nor a bit from 0 to 63", word, name);
	if (area->header->version == 2)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, offsetof(struct qcow2_header, version),
			       "images of version 2 have no feature bits");
	*group.bits &= ~(UINT64_C(1) << bit);
	*group.bits |= (uint64_t)on << bit;
	return 0;
}

int qcow2_edit_feature(struct qcow2_plan *plan, const char *group, const char *bit, bool on,
		       struct qcow2_error *err)
{
	struct q2_area area;
	char why[QCOW2_WHY_MAX];
	int failed = q2_area_open(&area, plan, err) || change_feature(&area, group, bit, on, err);

	snprintf(why, sizeof(why), "%s feature %s %s", group, bit, on ? "on" : "off");
	return finish(&area, plan, why, failed ? -1 : 0, err);
}

/* ---- extensions ---- */

static int change_extension(struct q2_area *area, enum qcow2_extension_change change,
			    uint32_t magic, struct qcow2_bytes data, struct qcow2_error *err)
{
	struct q2_area_extension *there = q2_area_find(area, magic);

	if (magic == QCOW2_EXTENSION_END)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "0 marks the end of the extensions");
	if (change == QCOW2_EXTENSION_ADD && there)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "there is an extension 0x%08x already: replace it", magic);
	if (change != QCOW2_EXTENSION_ADD && !there)
		return q2_fail(err, QCOW2_ERROR_NOT_FOUND, QCOW2_NO_OFFSET,
			       "there is no extension 0x%08x", magic);
	if (change == QCOW2_EXTENSION_ADD) {
		q2_area_insert(area, area->count, magic, data);
	} else if (change == QCOW2_EXTENSION_REPLACE) {
		there->data = data;
		there->padding.size = 0;
	} else {
		q2_area_remove(area, magic);
		/* Without the extension the bitmaps bit would be wrong ("Bitmaps extension"). */
		if (magic == QCOW2_EXTENSION_BITMAPS)
			area->autoclear_features &= ~QCOW2_AUTOCLEAR_BITMAPS;
	}
	return 0;
}

/* Tells the plan that an extension is meant to go or to change; all bitmaps go with theirs. */
static int intend_extension(struct qcow2_plan *plan, uint32_t magic, struct qcow2_error *err)
{
	uint8_t type[4];

	q2_store_be32(type, magic);
	return qcow2_plan_intend(plan, QCOW2_INTENT_EXTENSION,
				 (struct qcow2_bytes){type, sizeof(type)}, err);
}

int qcow2_edit_extension(struct qcow2_plan *plan, enum qcow2_extension_change change,
			 uint32_t magic, struct qcow2_bytes data, struct qcow2_error *err)
{
	static const char *const verbs[] = {
		[QCOW2_EXTENSION_ADD] = "add",
		[QCOW2_EXTENSION_REPLACE] = "replace",
		[QCOW2_EXTENSION_REMOVE] = "remove",
	};
	struct q2_area area;
	char why[QCOW2_WHY_MAX];
	int failed;

	if ((unsigned)change >= sizeof(verbs) / sizeof(verbs[0]))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "there is no change %u of a header extension", (unsigned)change);
	failed =
		q2_area_open(&area, plan, err) || change_extension(&area, change, magic, data, err);
	if (!failed && change != QCOW2_EXTENSION_ADD)
		failed = intend_extension(plan, magic, err);
	snprintf(why, sizeof(why), "%s header extension 0x%08x", verbs[change], magic);
	return finish(&area, plan, why, failed ? -1 : 0, err);
}

/* Gives the extension of a type other data; inserts it if there is none. */
static void put_extension(struct q2_area *area, uint32_t magic, struct qcow2_bytes data)
{
	struct q2_area_extension *there = q2_area_find(area, magic);

	if (!there)
		/* QEMU lays out such extensions in front. */
		q2_area_insert(area, 0, magic, data);
	else if (there->data.size != data.size ||
		 memcmp(there->data.data, data.data, data.size) != 0)
		*there = (struct q2_area_extension){.magic = magic, .data = data};
}

/* ---- backing file, data file, feature names ---- */

static int check_backing(struct qcow2_bytes name, const char *format, struct qcow2_error *err)
{
	if (name.size > QCOW2_LIMIT_BACKING_NAME_BYTES)
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "the backing file's name is %zu bytes long: %d are allowed",
			       name.size, QCOW2_LIMIT_BACKING_NAME_BYTES);
	if (name.size > 0 && (!format || *format == '\0'))
		return q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
			       "give the backing file's format as well, as in 'backing set "
			       "base.raw raw': if it has to be guessed, a guest that can write "
			       "to a raw file chooses what it is read as");
	return 0;
}

/*
 * Tells the plan that this name and this format are meant. If another line of a script changes them
 * again, that is not meant.
 */
static int intend_backing(struct qcow2_plan *plan, struct qcow2_bytes name, struct qcow2_error *err)
{
	if (!name.data)
		name = text_bytes("");
	return qcow2_plan_intend(plan, QCOW2_INTENT_BACKING, name, err) ||
			       intend_extension(plan, QCOW2_EXTENSION_BACKING_FORMAT, err)
		       ? -1
		       : 0;
}

int qcow2_edit_backing(struct qcow2_plan *plan, struct qcow2_bytes name, const char *format,
		       struct qcow2_error *err)
{
	struct q2_area area;
	int failed = q2_area_open(&area, plan, err);

	if (!failed)
		failed = check_backing(name, format, err);
	if (!failed) {
		area.backing = name;
		area.backing_lost = false;
		if (name.size == 0)
			q2_area_remove(&area, QCOW2_EXTENSION_BACKING_FORMAT);
		else
			put_extension(&area, QCOW2_EXTENSION_BACKING_FORMAT, text_bytes(format));
	}
	if (!failed)
		failed = intend_backing(plan, name, err);
	return finish(&area, plan, name.size > 0 ? "name the backing file" : "no backing file",
		      failed, err);
}

int qcow2_edit_data_file(struct qcow2_plan *plan, struct qcow2_bytes name, struct qcow2_error *err)
{
	struct q2_area area;
	int failed = q2_area_open(&area, plan, err);

	if (!failed && !(area.incompatible_features & QCOW2_INCOMPATIBLE_DATA_FILE))
		failed = q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				 "the image keeps its data itself: it has no data file to name");
	if (!failed && name.size == 0)
		failed = q2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				 "the data file's name is empty");
	if (!failed)
		failed = qcow2_plan_intend(plan, QCOW2_INTENT_DATA_FILE, any_name, err);
	if (!failed)
		put_extension(&area, QCOW2_EXTENSION_DATA_FILE, name);
	return finish(&area, plan, "name the data file", failed, err);
}

/* Writes the names of one group of features, and returns where the next name goes. */
static uint8_t *put_names(uint8_t *to, unsigned type, const struct qcow2_names *names)
{
	for (size_t i = 0; i < names->count; i++, to += FEATURE_NAME_BYTES) {
		struct qcow2_feature_name name = {(uint8_t)type, (uint8_t)names->list[i].value, ""};

		snprintf((char *)name.name, sizeof(name.name), "%s", names->list[i].name);
		qcow2_feature_name_encode(&name, to, sizeof(name));
	}
	return to;
}

int qcow2_edit_feature_names(struct qcow2_plan *plan, struct qcow2_error *err)
{
	uint8_t table[16 * FEATURE_NAME_BYTES] = {0}, *end = table;
	struct q2_area area;
	int failed = q2_area_open(&area, plan, err);

	end = put_names(end, 0, &qcow2_incompatible_features);
	end = put_names(end, 1, &qcow2_compatible_features);
	end = put_names(end, 2, &qcow2_autoclear_features);
	if (!failed)
		failed = intend_extension(plan, QCOW2_EXTENSION_FEATURE_NAMES, err);
	if (!failed)
		put_extension(&area, QCOW2_EXTENSION_FEATURE_NAMES,
			      (struct qcow2_bytes){table, (size_t)(end - table)});
	return finish(&area, plan, "write the feature name table anew", failed, err);
}

/* ---- what any edit owes the image ---- */

int qcow2_edit_begin(struct qcow2_plan *plan, struct qcow2_error *err)
{
	uint8_t raw[offsetof(struct qcow2_header, refcount_order)];
	struct qcow2_header header;

	if (plan->size_bytes < sizeof(raw))
		return 0;
	if (q2_plan_read(plan, 0, raw, sizeof(raw), err))
		return -1;
	qcow2_header_decode(&header, raw, sizeof(raw));
	if (header.magic != QCOW2_MAGIC || header.version != 3)
		return 0;
	return q2_plan_autoclear(plan, QCOW2_PHASE_WITHDRAW,
				 header.autoclear_features & QCOW2_AUTOCLEAR_KNOWN,
				 "clear autoclear bits that are not known", err);
}
