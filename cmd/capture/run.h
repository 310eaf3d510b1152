/* SPDX-License-Identifier: MIT */
/* One call of qcow2 capture. */
#ifndef CMD_CAPTURE_RUN_H
#define CMD_CAPTURE_RUN_H

#include "capture/facts.h"
#include "capture/gather.h"
#include "common/change.h"
#include "common/new_name.h"

struct capture_run {
	const struct command *command;
	const char *file;  /* the image */
	const char *to;    /* -o */
	const char *apply; /* --apply: the capture */
	bool json, force, redact, compressed, no_leaks, yes;
	struct change change; /* of --apply */

	struct qcow2_source *source; /* of the image; of the capture with --apply */
	struct qcow2_image *image;
	struct capture_content content;
	struct capture_facts facts;
	struct new_name target, record; /* the capture and its manifest */
	struct qcow2_source *written;   /* the capture, to be read again */
	char manifest[NEW_NAME_MAX];    /* the manifest's name */
	uint64_t stored_bytes;          /* of the capture on the disk */
};

/* Makes a capture. Returns the exit code. */
int capture_make(struct capture_run *run);

/* Puts a capture's metadata back onto an image. Returns the exit code. */
int capture_apply(struct capture_run *run);

/* ---- the parts of making one ---- */

/*
 * Makes the files beside their names, the capture as long as the image, before the sandbox. EXIT_FINE, or EXIT_COULD_NOT when the error
 * has been said.
 */
int capture_open_target(struct capture_run *run);

/* Refuses a target that the image needs, behind the sandbox. As above. */
int capture_refuse_needed(const struct capture_run *run);

/* Writes the capture, but gives it no name yet. As above. */
int capture_write(struct capture_run *run);

/* Gives both files their names. As above. */
int capture_name_target(struct capture_run *run);

/* Says what was captured. Returns the exit code. */
int capture_show(struct capture_run *run);

/* ---- a part of putting one back ---- */

/* Says on standard error which files the image would name that it does not name now. As above. */
int capture_tell_names(const struct capture_run *run);

/* ---- manifests ---- */

/* Sets run->manifest to the name of the manifest beside a capture. False: it is too long. */
bool capture_manifest_name(struct capture_run *run, const char *capture);

/* Writes the manifest of run->facts. 0, or an errno value. */
int capture_manifest_write(const struct capture_facts *facts, int fd);

struct json;
/* The members of a manifest, in an object that the caller begins and ends. */
void capture_manifest_members(struct json *json, const struct capture_facts *facts);

/* Reads a manifest. 0, or -1 with *err filled. */
int capture_manifest_read(const char *path, struct capture_facts *facts, struct qcow2_error *err);

/*
 * The digest of a capture: of the size, and of all that is not zeros with its place, so that copies
 * with other holes have the same. 0, or -1 with *err filled.
 */
int capture_digest(struct qcow2_source *source, uint8_t *digest, struct qcow2_error *err);

#endif
