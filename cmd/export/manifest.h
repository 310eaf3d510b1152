/* SPDX-License-Identifier: MIT */
/*
 * The manifest of an export: what was exported, and a digest of each range (docs/export.md, "The
 * manifest"). While a target is written in place, the manifest says that it is in progress.
 */
#ifndef CMD_EXPORT_MANIFEST_H
#define CMD_EXPORT_MANIFEST_H

#include "common/new_name.h"
#include "export/ranges.h"
#include "hash/tree.h"
#include "out/json.h"

struct export_piece;
struct export_run;

#define EXPORT_MANIFEST_FORMAT  "qcow2-export-manifest"
#define EXPORT_MANIFEST_VERSION 1
/* What reading one may take. */
#define EXPORT_MANIFEST_BYTES_MOST ((size_t)1 << 30)

/* ---- writing ---- */

struct export_manifest {
	struct new_name in_progress, whole;
	bool replaces;
	/*
	 * How large the target in place was before this export, and before those of which it is the
	 * repetition: they have no manifest that tells what they added.
	 */
	uint64_t target_bytes;
	struct spool out;
	struct json json;
	struct export_range zeros; /* length_bytes 0: none; may still grow */
	int errnum;
};

/*
 * Makes the files beside the name of the manifest, before the sandbox. EXIT_FINE, or EXIT_COULD_NOT
 * when the error has been said; it has to be closed in either case.
 */
int export_manifest_open(struct export_manifest *manifest, const struct export_run *run);

/* These return 0 or an errno value. Says what is exported, in progress if it is in place. */
int export_manifest_begin(struct export_manifest *manifest, const struct export_run *run);
int export_manifest_add(struct export_manifest *manifest, const struct export_piece *piece);
/* The target is whole. */
int export_manifest_finish(struct export_manifest *manifest, const struct export_run *run);

void export_manifest_close(struct export_manifest *manifest);

/* ---- reading ---- */

struct export_recorded {
	struct export_range range;
	bool is_zero;
	uint8_t digest[HASH_DIGEST_BYTES];
};

struct export_record {
	bool is_complete;
	bool is_partial;     /* of dirty or listed ranges, not of all of the disk */
	uint64_t size_bytes; /* of the disk */
	bool has_target_bytes;
	uint64_t target_bytes;        /* how large the target was before, if in progress */
	struct export_recorded *list; /* rising, without overlaps */
	size_t count;
	struct export_range *unreadable; /* are zeros in the target instead of what the disk had */
	size_t unreadable_count;
	uint64_t unreadable_omitted; /* ranges that it does not list */
};

/* Reads a manifest. 0, or -1 with *err filled. The record is freed with export_record_free(). */
int export_record_read(struct export_record *record, struct qcow2_bytes document,
		       struct qcow2_error *err);
void export_record_free(struct export_record *record);

#endif
