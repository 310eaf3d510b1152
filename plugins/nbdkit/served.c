/* SPDX-License-Identifier: MIT */
/* See served.h. */
#include "nbdkit/served.h"

#include <string.h>

#include "nbdkit/report.h"

#include <qcow2/limits.h>
#include <qcow2/snapshot.h>

/* What a disk takes by itself, as guest.h says it. */
#define MEMORY_BYTES (UINT64_C(64) << 20)

/* What the callbacks of the library are given. */
struct opening {
	struct files *files;
	struct keys *keys;
};

/* ---- callbacks ---- */

static int ask_gate(void *opaque, const struct qcow2_disk_wanted *wanted,
		    struct qcow2_source **source, struct qcow2_error *err)
{
	struct opening *opening = opaque;

	return files_gate(opening->files, wanted, source, err);
}

static int give_key(void *opaque, const struct qcow2_image *image, uint32_t depth, uint8_t *key,
		    size_t *key_bytes, struct qcow2_error *err)
{
	const struct key *given = keys_take(((struct opening *)opaque)->keys);

	(void)image;
	(void)depth;
	if (!given)
		return report_fail(err, QCOW2_ERROR_ARGUMENT,
				   "it is encrypted: password= or key-file= gives the passphrase");
	memcpy(key, given->bytes, given->size);
	*key_bytes = given->size;
	return 0;
}

/* ---- snapshots ---- */

static bool is_same(struct qcow2_bytes bytes, const char *text)
{
	return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

/* Finds the snapshot with this ID, or else the first one of this name, as qemu-img does. */
static int find_snapshot(const struct qcow2_image *image, const char *wanted, uint64_t *index,
			 struct qcow2_error *err)
{
	const struct qcow2_snapshot *snapshot;
	struct qcow2_snapshots *snapshots = NULL;
	bool found = false, by_id = false;
	int more = 0;

	if (qcow2_snapshots_open(image, &snapshots, err) && err->code != QCOW2_ERROR_NOT_FOUND)
		return -1;
	while (snapshots && !by_id &&
	       (more = qcow2_snapshots_next(snapshots, &snapshot, err)) > 0) {
		by_id = is_same(snapshot->id, wanted);
		if (by_id || (!found && is_same(snapshot->name, wanted))) {
			*index = snapshot->index;
			found = true;
		}
	}
	qcow2_snapshots_close(snapshots);
	if (more < 0)
		return -1;
	if (!found)
		return report_fail(err, QCOW2_ERROR_NOT_FOUND,
				   "no snapshot has the ID or name '%.100s'", wanted);
	return 0;
}

/* ---- opening ---- */

/* Adds which setting raises a limit of memory that the library tells of. */
static void name_memory_setting(struct qcow2_error *err)
{
	static const char setting[] = " (memory=)";
	const size_t length = strlen(err->text);

	if (err->code == QCOW2_ERROR_LIMIT && strstr(err->text, "memory limit") &&
	    length + sizeof(setting) <= sizeof(err->text))
		memcpy(err->text + length, setting, sizeof(setting));
}

static int open_disk(struct served *served, struct settings *settings, uint64_t memory_bytes,
		     struct qcow2_error *err)
{
	struct opening opening = {&served->files, &settings->keys};
	struct qcow2_disk_options options = {
		.size = sizeof(options),
		.gate = ask_gate,
		.key = give_key,
		.opaque = &opening,
		.has_snapshot = settings->snapshot != NULL,
		.memory_limit_bytes = memory_bytes,
		.key_memory_limit_bytes = settings->memory_bytes ? settings->memory_bytes
								 : QCOW2_LIMIT_LUKS_ARGON2_BYTES,
	};

	if (settings->snapshot &&
	    find_snapshot(served->image, settings->snapshot, &options.snapshot_index, err))
		return -1;
	if (qcow2_disk_open(served->image, &options, &served->disk, err) == 0)
		return 0;
	name_memory_setting(err);
	return -1;
}

/* A quarter of the memory is for bitmaps, if there are any. */
static int open_image(struct served *served, struct settings *settings, struct qcow2_source *source,
		      struct qcow2_error *err)
{
	uint64_t memory = settings->memory_bytes ? settings->memory_bytes : MEMORY_BYTES;

	if (qcow2_image_open(source, &served->image, err))
		return -1;
	served->has_dirty = settings->bitmap_count > 0;
	if (served->has_dirty) {
		if (dirty_read(&served->dirty, served->image, settings->bitmaps,
			       settings->bitmap_count, memory / 4, err))
			return -1;
		memory -= memory / 4;
	}
	return open_disk(served, settings, memory, err);
}

static int open_all(struct served *served, struct settings *settings, struct qcow2_error *err)
{
	struct qcow2_source *source;

	served->files.chain = settings->chain;
	source = files_open(&served->files, settings->file, err);
	if (!source)
		return -1;
	if (settings->raw ? qcow2_disk_open_raw(source, &served->disk, err)
			  : open_image(served, settings, source, err))
		return -1;
	if (qcow2_disk_size_bytes(served->disk) > INT64_MAX)
		return report_fail(err, QCOW2_ERROR_UNSUPPORTED,
				   "the disk is larger than 2^63 bytes");
	return qcow2_disk_extents_open(served->disk, &served->extents, err);
}

int served_open(struct served *served, struct settings *settings)
{
	struct qcow2_error err;
	int failed;

	pthread_mutex_init(&served->extents_lock, NULL);
	failed = open_all(served, settings, &err);
	/* Nobody needs the passphrases any more, and a server runs for long. */
	keys_forget(&settings->keys);
	return failed ? report_error(files_at_fault(&served->files, settings->file, &err), &err)
		      : 0;
}

void served_close(struct served *served)
{
	qcow2_disk_extents_close(served->extents);
	qcow2_disk_close(served->disk);
	qcow2_image_close(served->image);
	dirty_release(&served->dirty);
	files_close(&served->files);
	*served = (struct served){0};
}

uint64_t served_cluster_bytes(const struct served *served)
{
	/* A disk that is open has a sane geometry. */
	return served->image ? qcow2_image_geometry(served->image)->cluster_size_bytes : 0;
}
