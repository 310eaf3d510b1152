/* SPDX-License-Identifier: MIT */
/* See l2_faults.h. */
#include "repair/mapping/l2_faults.h"

#include <string.h>

#include "rules/rules.h"

static bool note(void *opaque, enum qcow2_problem_id id)
{
	struct q2_faults *faults = opaque;

	if (faults->count < Q2_FAULTS_MOST)
		faults->ids[faults->count++] = id;
	return false;
}

struct q2_faults q2_faults_of_l2(const struct q2_repair *repair, struct q2_l2_pair pair,
				 uint64_t guest_byte)
{
	struct q2_faults faults = {.count = 0};
	const struct q2_reporter reporter = {.opaque = &faults, .wanted = note};
	const struct q2_entry_place place = {.owner = "", .guest_byte = guest_byte};

	q2_rules_l2_entry(repair->image, &place, pair.entry, pair.subclusters, &reporter);
	return faults;
}

struct q2_faults q2_faults_of_l1(const struct q2_repair *repair, uint64_t entry)
{
	struct q2_faults faults = {.count = 0};
	const struct q2_reporter reporter = {.opaque = &faults, .wanted = note};
	const struct q2_entry_place place = {.owner = ""};

	q2_rules_l1_entry(repair->geometry, &place, entry, &reporter);
	return faults;
}

bool q2_faults_has(const struct q2_faults *faults, enum qcow2_problem_id id)
{
	for (unsigned i = 0; i < faults->count; i++)
		if (faults->ids[i] == id)
			return true;
	return false;
}

struct q2_entries q2_faults_entries(const struct q2_repair *repair)
{
	const struct qcow2_header *header = repair->header;

	return (struct q2_entries){
		.geometry = repair->geometry,
		.version_2 = header->version < 3,
		.has_backing = header->backing_file_offset != 0,
		.raw = (header->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW) != 0,
	};
}

/* Reads a number behind a word of a path, and goes past it. Paths are made by the library. */
static bool read_number(const char **path, const char *word, uint64_t *number)
{
	const char *at = *path;

	if (strncmp(at, word, strlen(word)) != 0)
		return false;
	at += strlen(word);
	if (*at < '0' || *at > '9')
		return false;
	for (*number = 0; *at >= '0' && *at <= '9'; at++)
		*number = *number * 10 + (uint64_t)(*at - '0');
	*path = at;
	return true;
}

bool q2_faults_read_place(const char *where, bool l2, struct q2_fault_place *place)
{
	uint64_t snapshot;

	*place = (struct q2_fault_place){.list = 0};
	if (read_number(&where, "snapshots/", &snapshot)) {
		place->list = (uint32_t)snapshot + 1;
		where += *where == '/';
	}
	if (l2)
		return read_number(&where, "l2/", &place->l1_index) &&
		       read_number(&where, "/", &place->entry);
	return read_number(&where, "l1/", &place->l1_index);
}

void q2_faults_leave(struct q2_repair *repair, enum qcow2_problem_id id)
{
	if (repair->why[id].wants_all)
		q2_repair_leave(repair, id,
				"nothing in the image proves what was there; --all makes do with "
				"zeros, or with what is in the place");
}
