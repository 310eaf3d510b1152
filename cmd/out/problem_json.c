/* SPDX-License-Identifier: MIT */
/* See problem_json.h. */
#include "out/problem_json.h"

#include "out/problem_log.h"

/* A number; one that readers may round has its digits beside it, as a text under hex_key. */
static void write_number(struct json *json, const char *key, const char *hex_key, uint64_t number)
{
	json_key(json, key);
	json_number(json, number);
	if (number > JSON_EXACT_MOST)
		json_hex_member(json, hex_key, number);
}

static void write_expected(struct json *json, const struct qcow2_problem *problem)
{
	char text[64];

	if (problem->expectation == QCOW2_EXPECT_VALUE) {
		write_number(json, "expected", "expected-hex", problem->expected);
		return;
	}
	json_key(json, "expected");
	if (problem->expectation == QCOW2_EXPECT_NOTHING)
		json_null(json);
	else
		json_text(json, problem_expected(problem, text, sizeof(text)));
}

static void write_found(struct json *json, const struct qcow2_problem *problem)
{
	bool is_text = problem->found_text[0] != '\0';

	if (problem->has_found && !is_text) {
		write_number(json, "found", "found-hex", problem->found);
		return;
	}
	json_key(json, "found");
	if (is_text)
		json_text(json, problem->found_text);
	else
		json_null(json);
}

static void write_offset(struct json *json, const struct qcow2_problem *problem)
{
	if (problem->offset_bytes != QCOW2_NO_OFFSET) {
		write_number(json, "offset", "offset-hex", problem->offset_bytes);
		return;
	}
	json_key(json, "offset");
	json_null(json);
}

void problem_json_members(struct json *json, const struct qcow2_problem *problem)
{
	json_key(json, "id");
	json_text(json, problem->kind->id);
	json_key(json, "severity");
	json_text(json, qcow2_severity_name(problem->kind->severity));
	json_key(json, "where");
	json_text(json, problem->where);
	write_offset(json, problem);
	write_found(json, problem);
	write_expected(json, problem);
	json_key(json, "text");
	json_text(json, problem->kind->text);
	json_key(json, "section");
	json_text(json, problem->kind->section);
	json_key(json, "repairable");
	json_bool(json, problem->kind->repairable);
}

/* A range of a virtual disk: that of the snapshot, or the active one if snapshot is NULL. */
static void write_guest(struct json *json, const struct problem_guest *guest)
{
	json_key(json, "guest");
	json_begin_object(json);
	json_key(json, "start");
	json_number(json, guest->start_byte);
	json_key(json, "length");
	json_number(json, guest->length_bytes);
	if (guest->snapshot) {
		json_key(json, "snapshot");
		json_text(json, guest->snapshot);
	}
	if (guest->count > 1) {
		json_key(json, "l1-entries");
		json_number(json, guest->count);
	}
	json_end_object(json);
}

/* The snapshot or bitmap that an owner is a part of. */
static void write_part(struct json *json, const struct qcow2_owner *owner)
{
	if (owner->part_of == QCOW2_PART_OF_IMAGE)
		return;
	json_key(json, owner->part_of == QCOW2_PART_OF_SNAPSHOT ? "snapshot" : "bitmap");
	json_text(json, owner->part_of_name);
}

void problem_json_place(struct json *json, const struct qcow2_problem *problem)
{
	struct problem_guest guest;

	if (problem->has_cluster) {
		json_key(json, "cluster-offset");
		json_number(json, problem->cluster_offset_bytes);
	}
	if (problem_guest(problem, &guest))
		write_guest(json, &guest);
	if (problem->owner_count == 0)
		return;
	json_key(json, "owners");
	json_begin_array(json);
	for (unsigned i = 0; i < problem->owner_count; i++) {
		const struct qcow2_owner *owner = problem->owners[i];

		json_begin_object(json);
		json_key(json, "where");
		json_text(json, owner->where);
		write_part(json, owner);
		if (problem_owner_guest(owner, &guest))
			write_guest(json, &guest);
		json_end_object(json);
	}
	json_end_array(json);
	json_key(json, "references");
	json_number(json, problem->owners_total);
}
