/* SPDX-License-Identifier: MIT */
/* See find_snapshot.h. The table is read once to search it, and once more to list it in an error. */
#include "common/find_snapshot.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "out/suggest.h"

#include <qcow2/snapshot.h>
#include <qcow2/text.h>

/* The most snapshots that an error counts. */
#define LISTED_MOST 100000

static bool is_same(struct qcow2_bytes bytes, const char *text)
{
	return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

/* Appends the IDs and names that there are, as many as fit. */
static void list_all(const struct qcow2_image *image, struct qcow2_error *err)
{
	static const char before[] = "; there are ";
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	struct qcow2_error ignored;
	struct name_list list;
	size_t used = strlen(err->text);

	if (sizeof(err->text) - used < sizeof(before) + 48 ||
	    qcow2_snapshots_open(image, &snapshots, &ignored))
		return;
	memcpy(err->text + used, before, sizeof(before));
	used += sizeof(before) - 1;
	name_list_begin(&list, err->text + used, sizeof(err->text) - used);
	while (list.total < LISTED_MOST && qcow2_snapshots_next(snapshots, &snapshot, &ignored) > 0)
		name_list_add(&list, snapshot->name.size > 0 ? snapshot->name : snapshot->id);
	name_list_end(&list);
	qcow2_snapshots_close(snapshots);
}

static int fail(const struct qcow2_image *image, const char *wanted, bool none,
		struct qcow2_error *err)
{
	char shown[128];

	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)wanted, strlen(wanted)}, shown,
			  sizeof(shown));
	*err = (struct qcow2_error){.code = QCOW2_ERROR_NOT_FOUND, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "no snapshot has the ID or name '%.80s'%s", shown,
		 none ? "; the image has no snapshots" : "");
	if (!none)
		list_all(image, err);
	return -1;
}

int find_snapshot(const struct qcow2_image *image, const char *wanted, uint64_t *index,
		  struct qcow2_error *err)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots;
	bool named = false, by_id = false;
	int more = 0;

	if (qcow2_snapshots_open(image, &snapshots, err))
		return err->code == QCOW2_ERROR_NOT_FOUND ? fail(image, wanted, true, err) : -1;
	while (!by_id && (more = qcow2_snapshots_next(snapshots, &snapshot, err)) > 0) {
		by_id = is_same(snapshot->id, wanted);
		if (by_id || (!named && is_same(snapshot->name, wanted))) {
			*index = snapshot->index;
			named = true;
		}
	}
	qcow2_snapshots_close(snapshots);
	if (more < 0)
		return -1;
	return named ? 0 : fail(image, wanted, false, err);
}
