/* SPDX-License-Identifier: MIT */
/* See problem_log.h. */
#include "out/problem_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Numbers from here on are offsets and entries rather than counts: these are shown in hex, too. */
#define HEX_FROM 0x1000

void problem_log_add(struct problem_log *log, const struct qcow2_problem *problem)
{
	if (problem->kind->severity == QCOW2_CORRUPTION)
		log->corrupt = true;
	if (log->seen[problem->kind->number]++ >= PROBLEMS_KEPT ||
	    (log->most > 0 && log->count >= log->most))
		return;
	if (log->count == log->capacity) {
		size_t capacity = log->capacity ? log->capacity * 2 : 16;
		struct qcow2_problem **kept = realloc(log->kept, capacity * sizeof(*kept));

		if (!kept) {
			log->short_of_memory = true;
			return;
		}
		log->kept = kept;
		log->capacity = capacity;
	}
	log->kept[log->count] = qcow2_problem_copy(problem);
	if (log->kept[log->count])
		log->count++;
	else
		log->short_of_memory = true;
}

void problem_log_release(struct problem_log *log)
{
	for (size_t i = 0; i < log->count; i++)
		qcow2_problem_free(log->kept[i]);
	free(log->kept);
	*log = (struct problem_log){0};
}

uint64_t problem_log_seen(const struct problem_log *log, const struct qcow2_problem_kind *kind)
{
	return log->seen[kind->number];
}

uint64_t problem_log_omitted(const struct problem_log *log, const struct qcow2_problem_kind *kind)
{
	uint64_t omitted = log->seen[kind->number];

	for (size_t i = 0; i < log->count; i++)
		omitted -= log->kept[i]->kind == kind;
	return omitted;
}

uint64_t problem_log_total(const struct problem_log *log)
{
	uint64_t total = 0;

	for (size_t i = 0; i < sizeof(log->seen) / sizeof(log->seen[0]); i++)
		total += log->seen[i];
	return total;
}

/* What is said before the number that is expected. */
static const char *expectation_words(enum qcow2_expectation expectation)
{
	switch (expectation) {
	case QCOW2_EXPECT_AT_MOST:
		return "at most ";
	case QCOW2_EXPECT_AT_LEAST:
		return "at least ";
	case QCOW2_EXPECT_MULTIPLE_OF:
		return "a multiple of ";
	case QCOW2_EXPECT_NOTHING:
	case QCOW2_EXPECT_VALUE:
		break;
	}
	return "";
}

const char *problem_expected(const struct qcow2_problem *problem, char *buffer, size_t size)
{
	if (problem->expectation == QCOW2_EXPECT_NOTHING)
		buffer[0] = '\0';
	else
		snprintf(buffer, size, "%s%" PRIu64, expectation_words(problem->expectation),
			 problem->expected);
	return buffer;
}

bool problem_guest(const struct qcow2_problem *problem, struct problem_guest *guest)
{
	*guest = (struct problem_guest){
		.start_byte = problem->guest_byte,
		.length_bytes = problem->guest_length_bytes,
		.count = problem->guest_count,
	};
	if (problem->guest_of == QCOW2_PART_OF_SNAPSHOT)
		guest->snapshot = problem->guest_of_name;
	return problem->has_guest;
}

bool problem_owner_guest(const struct qcow2_owner *owner, struct problem_guest *guest)
{
	*guest = (struct problem_guest){
		.start_byte = owner->guest_byte,
		.length_bytes = owner->guest_length_bytes,
		.count = owner->guest_count,
	};
	if (owner->part_of == QCOW2_PART_OF_SNAPSHOT)
		guest->snapshot = owner->part_of_name;
	return owner->has_guest;
}

void problem_print_guest(struct spool *out, const struct problem_guest *guest, bool name_snapshot)
{
	spool_print(out, ", guest 0x%" PRIx64 "..0x%" PRIx64, guest->start_byte,
		    guest->start_byte + (guest->length_bytes - 1));
	if (guest->snapshot && name_snapshot)
		spool_print(out, " (snapshot \"%s\")", guest->snapshot);
	if (guest->count > 1)
		spool_print(out, ", the first of %" PRIu64 " ranges", guest->count);
}

/* Whether a number is the entry of a table, whose flags make a decimal number unreadable. */
static bool is_entry(const struct qcow2_problem *problem)
{
	const char *last = strrchr(problem->where, '/');
	static const char *const others[] = {"refcounts/", "snapshots/", "bitmaps/", "extensions/"};

	if (!last || strspn(last + 1, "0123456789") != strlen(last + 1))
		return false;
	if (strncmp(problem->where, others[0], strlen(others[0])) == 0)
		return false;
	for (size_t i = 1; i < sizeof(others) / sizeof(others[0]); i++)
		if (strncmp(problem->where, others[i], strlen(others[i])) == 0)
			return strchr(problem->where, '/') != last;
	return true;
}

void problem_print_found(struct spool *out, const struct qcow2_problem *problem)
{
	if (problem->found_text[0] != '\0')
		spool_print(out, " found \"%s\"", problem->found_text);
	else if (problem->has_found && is_entry(problem))
		spool_print(out, " found 0x%" PRIx64, problem->found);
	else if (problem->has_found)
		spool_print(out, " found %" PRIu64 " (0x%" PRIx64 ")", problem->found,
			    problem->found);
}

void problem_print_expected(struct spool *out, const struct qcow2_problem *problem)
{
	char expected[64];

	if (is_entry(problem)) {
		spool_print(out, "expected %s0x%" PRIx64, expectation_words(problem->expectation),
			    problem->expected);
		return;
	}
	spool_print(out, "expected %s", problem_expected(problem, expected, sizeof(expected)));
	if (problem->expected >= HEX_FROM)
		spool_print(out, " (0x%" PRIx64 ")", problem->expected);
}

void problem_print(struct spool *out, const struct qcow2_problem *problem, bool colour)
{
	const struct qcow2_problem_kind *kind = problem->kind;
	const char *on = kind->severity == QCOW2_CORRUPTION ? "\033[31m" : "\033[33m";
	struct problem_guest guest;
	bool found = problem->has_found || problem->found_text[0] != '\0';

	spool_print(out, "%s%s%s %s", colour ? on : "", qcow2_severity_name(kind->severity),
		    colour ? "\033[0m" : "", kind->id);
	if (problem->offset_bytes != QCOW2_NO_OFFSET)
		spool_print(out, " at 0x%" PRIx64, problem->offset_bytes);
	spool_print(out, " %s", problem->where);
	if (problem->has_cluster)
		spool_print(out, ", cluster at 0x%" PRIx64, problem->cluster_offset_bytes);
	if (problem_guest(problem, &guest))
		problem_print_guest(out, &guest, true);
	spool_text(out, ":");
	problem_print_found(out, problem);
	if (found)
		spool_text(out, problem->expectation == QCOW2_EXPECT_NOTHING ? ":" : ",");
	if (problem->expectation != QCOW2_EXPECT_NOTHING) {
		spool_text(out, " ");
		problem_print_expected(out, problem);
		spool_text(out, ":");
	}
	spool_print(out, " %s", kind->text);
}
