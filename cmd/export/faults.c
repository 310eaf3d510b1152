/* SPDX-License-Identifier: MIT */
/* See faults.h. */
#include "export/faults.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 16

/* Whether a fault goes on where the last one ends, for the same reason. */
static bool joins(const struct export_fault *last, const struct export_fault *next)
{
	return last->start_bytes + last->length_bytes == next->start_bytes &&
	       last->depth == next->depth && last->code == next->code &&
	       last->problem == next->problem;
}

static bool make_room(struct export_faults *faults)
{
	const size_t room = faults->room ? 2 * faults->room : FIRST_ROOM;
	struct export_fault *list;

	if (faults->count < faults->room)
		return true;
	list = realloc(faults->list, room * sizeof(*list));
	if (!list)
		return false;
	faults->list = list;
	faults->room = room;
	return true;
}

/* Takes a fault with its text, which belongs to the list then or is freed. */
static int take(struct export_faults *faults, const struct export_fault *fault)
{
	struct export_fault *last = faults->count ? &faults->list[faults->count - 1] : NULL;

	faults->bytes += fault->length_bytes;
	if (last && joins(last, fault)) {
		last->length_bytes += fault->length_bytes;
		free(fault->text);
		return 0;
	}
	if (faults->count == EXPORT_FAULTS_MOST) {
		faults->omitted++;
		free(fault->text);
		return 0;
	}
	if (!make_room(faults)) {
		free(fault->text);
		return -1;
	}
	faults->list[faults->count++] = *fault;
	return 0;
}

int export_faults_add(struct export_faults *faults, const struct qcow2_disk_fault *fault)
{
	const struct export_fault mine = {
		.start_bytes = fault->start.byte,
		.length_bytes = fault->length_bytes,
		.depth = fault->depth,
		.code = fault->error.code,
		.problem = fault->problem,
		.text = strdup(fault->error.text),
	};

	return mine.text ? take(faults, &mine) : -1;
}

int export_faults_move(struct export_faults *faults, struct export_faults *from)
{
	int failed = 0;

	for (size_t i = 0; i < from->count; i++)
		failed |= take(faults, &from->list[i]);
	faults->omitted += from->omitted;
	from->count = 0;
	from->omitted = 0;
	from->bytes = 0;
	return failed;
}

void export_faults_release(struct export_faults *faults)
{
	for (size_t i = 0; i < faults->count; i++)
		free(faults->list[i].text);
	free(faults->list);
	*faults = (struct export_faults){0};
}
