/* SPDX-License-Identifier: MIT */
/*
 * See disk.h. The library asks for each file that an image names: the chain finds backing files, as
 * `map --chain` does, one step for each question.
 */
#include "common/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/chain.h"
#include "common/crew.h"
#include "common/find_snapshot.h"
#include "common/limits.h"
#include "common/open_image.h"
#include "common/report.h"
#include "common/sandbox.h"
#include "common/served.h"

#include <qcow2/probe.h>

static int fail(struct qcow2_error *err, enum qcow2_error_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct qcow2_error *err, enum qcow2_error_code code, const char *format, ...)
{
	va_list arguments;

	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	va_start(arguments, format);
	vsnprintf(err->text, sizeof(err->text), format, arguments);
	va_end(arguments);
	return -1;
}

static int fail_memory(struct qcow2_error *err)
{
	return fail(err, QCOW2_ERROR_MEMORY, "out of memory");
}

/* ---- files ---- */

const char *disk_path(const struct disk *disk, uint32_t depth)
{
	for (size_t i = 0; i < disk->file_count; i++)
		if (disk->files[i].depth == depth && disk->files[i].role == QCOW2_DISK_BACKING)
			return disk->files[i].path;
	return disk->request.file;
}

const struct disk_file *disk_file_of(const struct disk *disk, const struct qcow2_source *source)
{
	for (size_t i = 0; i < disk->file_count; i++)
		if (disk->files[i].source == source)
			return &disk->files[i];
	return NULL;
}

/* Whether the command itself has locked a file. */
static bool is_locked(const struct disk *disk, const struct disk_file *file)
{
	struct stat st;

	return disk->request.locked && file->has_identity && stat(disk->request.locked, &st) == 0 &&
	       st.st_dev == file->device && st.st_ino == file->inode;
}

/*
 * Keeps a file, whose source is the disk's from then on, also if this fails. path: "" if it has
 * none. 0, or -1 with *err filled.
 */
static int add_file(struct disk *disk, const struct disk_file *file, struct qcow2_error *err)
{
	struct disk_file *grown =
		realloc(disk->files, (disk->file_count + 1) * sizeof(*disk->files));
	struct disk_file *added;
	struct stat st;

	if (!grown) {
		qcow2_source_close(file->source);
		return fail_memory(err);
	}
	disk->files = grown;
	added = &grown[disk->file_count++];
	*added = *file;
	added->path = strdup(file->path);
	if (!added->path)
		return fail_memory(err);
	added->has_identity = !qcow2_source_is_nbd(added->path) && stat(added->path, &st) == 0;
	if (added->has_identity) {
		added->device = st.st_dev;
		added->inode = st.st_ino;
	}
	if (!is_locked(disk, added))
		warn_in_use(disk->command, added->path, added->source);
	return 0;
}

/* ---- the gate ---- */

/* Notes which file an error is about. */
static int refuse(struct disk *disk, const char *path, const struct qcow2_error *err)
{
	if (!disk->blamed) {
		disk->blamed = strdup(path);
		disk->blame = *err;
	}
	return QCOW2_DISK_REFUSED;
}

/* What cannot be opened is missing, for who wants to save what is left. */
static int lose(struct disk *disk, const char *path, const struct qcow2_error *err)
{
	if (!disk->request.salvage || err->code == QCOW2_ERROR_MEMORY)
		return refuse(disk, path, err);
	report_error(disk->command, path, err);
	disk->is_cut = true;
	return QCOW2_DISK_MISSING;
}

static int lose_unasked(struct disk *disk, uint32_t depth, const char *what,
			struct qcow2_error *err)
{
	if (disk->request.salvage)
		return QCOW2_DISK_MISSING;
	(void)fail(err, QCOW2_ERROR_UNSUPPORTED,
		   "part of the disk may be in another file, %s: add --chain to read that, too",
		   what);
	return refuse(disk, disk_path(disk, depth), err);
}

/* A file of which the name that led there says that nothing is below: as if nothing were in it. */
static int give_nothing(struct disk *disk, struct qcow2_source **source, struct qcow2_error *err)
{
	struct disk_file file = {
		.path = (char *)(uintptr_t) "", .depth = UINT32_MAX, .role = QCOW2_DISK_BACKING};

	if (qcow2_source_from_memory(NULL, 0, &file.source, err) || add_file(disk, &file, err))
		return refuse(disk, disk->chain->link.file, err);
	*source = file.source;
	return QCOW2_DISK_GIVEN_RAW;
}

/* Keeps the file that the chain has come to. */
static int give_link(struct disk *disk, uint32_t depth, struct qcow2_source **source,
		     struct qcow2_error *err)
{
	const struct chain_link *link = &disk->chain->link;
	const struct disk_file file = {.path = (char *)(uintptr_t)link->file,
				       .source = link->source,
				       .depth = depth,
				       .role = QCOW2_DISK_BACKING,
				       .is_image = link->image != NULL};

	/* The library opens an image of its own; the chain needs its one for the next step. */
	qcow2_image_close(disk->above);
	disk->above = link->image;
	if (add_file(disk, &file, err))
		return refuse(disk, link->file, err);
	if (!link->image && strcmp(link->format, "raw") != 0) {
		(void)fail(err, QCOW2_ERROR_UNSUPPORTED,
			   "its format is %.15s: only qcow2 and raw files can be read",
			   link->format);
		return lose(disk, link->file, err);
	}
	*source = link->source;
	return link->image ? QCOW2_DISK_GIVEN_QCOW2 : QCOW2_DISK_GIVEN_RAW;
}

static int give_backing(struct disk *disk, const struct qcow2_disk_wanted *wanted,
			struct qcow2_source **source, struct qcow2_error *err)
{
	int more;

	if (!disk->request.chain)
		return lose_unasked(disk, wanted->depth, "its backing file", err);
	more = chain_next(disk->chain, err);
	if (more < 0)
		return lose(disk, disk->chain->link.file, err);
	return more == 0 ? give_nothing(disk, source, err)
			 : give_link(disk, wanted->depth + 1, source, err);
}

/* The path of a data file; NULL with *err filled. */
static char *data_path(const struct disk *disk, const struct qcow2_disk_wanted *wanted,
		       struct qcow2_error *err)
{
	char *path;

	/* It is one of the server's machine, which may be another file here. */
	if (wanted->depth == 0 && qcow2_source_is_nbd(disk->request.file)) {
		(void)fail(err, QCOW2_ERROR_UNSUPPORTED,
			   "the image is read over NBD: its data file was not opened");
		return NULL;
	}
	if (wanted->name.size == 0 || memchr(wanted->name.data, 0, wanted->name.size)) {
		(void)fail(err, QCOW2_ERROR_UNSUPPORTED, "its data file's name %s",
			   wanted->name.size == 0 ? "is not in the image" : "holds a NUL");
		return NULL;
	}
	path = chain_full_name(disk_path(disk, wanted->depth), wanted->name);
	if (!path)
		(void)fail_memory(err);
	return path;
}

static int give_data_file(struct disk *disk, const struct qcow2_disk_wanted *wanted,
			  struct qcow2_source **source, struct qcow2_error *err)
{
	struct disk_file file = {.depth = wanted->depth, .role = QCOW2_DISK_DATA_FILE};
	int answer;

	if (!disk->request.chain)
		return lose_unasked(disk, wanted->depth, "its data file", err);
	file.path = data_path(disk, wanted, err);
	if (!file.path)
		return lose(disk, disk_path(disk, wanted->depth), err);
	if (limits_open_file(disk->command->common, file.path, &file.source, err)) {
		answer = lose(disk, file.path, err);
	} else if (add_file(disk, &file, err)) {
		answer = refuse(disk, file.path, err);
	} else {
		*source = file.source;
		answer = QCOW2_DISK_GIVEN_RAW;
	}
	free(file.path);
	return answer;
}

static int gate(void *opaque, const struct qcow2_disk_wanted *wanted, struct qcow2_source **source,
		struct qcow2_error *err)
{
	return (wanted->role == QCOW2_DISK_BACKING ? give_backing : give_data_file)(opaque, wanted,
										    source, err);
}

/* ---- passphrases ---- */

static int give_key(void *opaque, const struct qcow2_image *image, uint32_t depth, uint8_t *key,
		    size_t *key_bytes, struct qcow2_error *err)
{
	struct disk *disk = opaque;
	const struct disk_key *given = disk_keys_take(&disk->keys);

	(void)image;
	(void)depth;
	if (!given)
		return fail(err, QCOW2_ERROR_ARGUMENT,
			    "it is encrypted: --key-file names the file with its passphrase");
	memcpy(key, given->bytes, given->size);
	*key_bytes = given->size;
	return 0;
}

/* ---- files that cannot be opened ---- */

/* The file that an error of the library is about: where it names a depth, that is the last opened. */
static const char *at_fault(const struct disk *disk, const struct qcow2_error *err)
{
	const uint32_t depth = disk->files[disk->file_count - 1].depth;
	char text[48];

	snprintf(text, sizeof(text), "this is file %" PRIu32 " of the chain", depth);
	return strstr(err->text, text) ? disk_path(disk, depth) : disk->request.file;
}

static int hear_lost(void *opaque, uint32_t depth, const struct qcow2_error *err)
{
	struct disk *disk = opaque;

	(void)depth;
	report_error(disk->command, at_fault(disk, err), err);
	disk->is_cut = true;
	return 0;
}

/* ---- opening ---- */

static int take(const struct command *command, const struct disk_request *request,
		struct disk *disks, size_t index)
{
	struct disk *disk = &disks[index];
	struct disk_file file = {.path = (char *)(uintptr_t)request->file,
				 .role = QCOW2_DISK_BACKING};
	struct qcow2_error err;

	disk->command = command;
	disk->request = *request;
	disk->keys.before = index > 0 ? &disks[index - 1].keys : NULL;
	if (disk_keys_read(&disk->keys, &request->key_files, &err))
		return report_error(command, "--key-file", &err);
	if (limits_open(command->common, request->file, &file.source, &err) ||
	    add_file(disk, &file, &err))
		return report_error(command, request->file, &err);
	return EXIT_FINE;
}

int disks_take(const struct command *command, const struct disk_request *requests,
	       struct disk *disks, size_t count)
{
	int code = EXIT_FINE;

	memset(disks, 0, count * sizeof(*disks));
	served_readers(command, crew_threads());
	for (size_t i = 0; i < count && code == EXIT_FINE; i++)
		code = take(command, &requests[i], disks, i);
	return code;
}

/* Whether the file that was named is an image. 1, 0, or -1 with *err filled. */
static int find_format(const struct disk *disk, struct qcow2_error *err)
{
	const char *format = disk->request.format;
	const struct qcow2_file_kind *kind;

	if (!format) {
		if (qcow2_probe(disk->files[0].source, &kind, err))
			return -1;
		format = kind->qemu_format;
	}
	if (strcmp(format, "qcow2") != 0 && strcmp(format, "raw") != 0)
		return fail(
			err, QCOW2_ERROR_UNSUPPORTED,
			"its format seems to be %.15s, and only qcow2 and raw files can be read; "
			"--help has the option that says it is raw",
			format);
	return strcmp(format, "qcow2") == 0;
}

static int open_raw(struct disk *disk, struct qcow2_error *err)
{
	if (disk->request.snapshot)
		return fail(err, QCOW2_ERROR_NOT_FOUND, "a raw file has no snapshots");
	return qcow2_disk_open_raw(disk->files[0].source, &disk->disk, err);
}

/* Adds which option raises a limit of memory that the library tells of. */
static void name_memory_option(struct qcow2_error *err)
{
	static const char option[] = " (--memory-limit)";
	const size_t length = strlen(err->text);

	if (err->code == QCOW2_ERROR_LIMIT && strstr(err->text, "memory limit") &&
	    length + sizeof(option) <= sizeof(err->text))
		memcpy(err->text + length, option, sizeof(option));
}

static int open_image(struct disk *disk, uint64_t memory_bytes, struct qcow2_error *err)
{
	const struct disk_request *request = &disk->request;
	struct qcow2_disk_options options = {
		.size = sizeof(options),
		.gate = gate,
		.key = give_key,
		.opaque = disk,
		.has_snapshot = request->snapshot != NULL,
		.vm_state = request->vm_state,
		.memory_limit_bytes = memory_bytes,
		.key_memory_limit_bytes = limits_memory(disk->command),
		.lost = request->salvage ? hear_lost : NULL,
	};

	disk->chain = malloc(sizeof(*disk->chain));
	if (!disk->chain)
		return fail_memory(err);
	chain_begin(disk->chain, request->file);
	disk->chain->keep = true;
	disk->chain->common = disk->command->common;
	disk->chain->first = disk->files[0].source;
	if (chain_next(disk->chain, err) < 0)
		return -1;
	disk->image = disk->chain->link.image;
	if (request->snapshot &&
	    find_snapshot(disk->image, request->snapshot, &disk->snapshot_index, err))
		return -1;
	options.snapshot_index = disk->snapshot_index;
	if (qcow2_disk_open(disk->image, &options, &disk->disk, err) == 0)
		return 0;
	name_memory_option(err);
	return -1;
}

static int open_one(struct disk *disk, uint64_t memory_bytes)
{
	struct qcow2_error err;
	int is_image = find_format(disk, &err), failed = -1;

	if (is_image >= 0)
		failed = is_image ? open_image(disk, memory_bytes, &err) : open_raw(disk, &err);
	/* Nobody needs the passphrases any more. */
	disk_keys_forget(&disk->keys);
	if (!failed)
		return EXIT_FINE;
	if (disk->blamed)
		return report_error(disk->command, disk->blamed, &disk->blame);
	return report_error(disk->command, at_fault(disk, &err), &err);
}

int disks_open(struct disk *disks, size_t count)
{
	int code = EXIT_FINE;

	for (size_t i = 0; i < count && code == EXIT_FINE; i++)
		code = open_one(&disks[i], limits_memory(disks[i].command) / count);
	return code;
}

int disks_open_sealed(const struct command *command, const struct disk_request *requests,
		      struct disk *disks, size_t count)
{
	int code = disks_take(command, requests, disks, count);
	bool chain = false;

	for (size_t i = 0; i < count; i++)
		chain = chain || requests[i].chain;
	if (code == EXIT_FINE)
		code = (chain ? sandbox_read_any : sandbox_seal)(command);
	if (code == EXIT_FINE)
		code = disks_open(disks, count);
	if (code == EXIT_FINE && chain)
		code = sandbox_seal(command);
	return code;
}

static void close_one(struct disk *disk)
{
	qcow2_disk_close(disk->disk);
	qcow2_image_close(disk->above);
	qcow2_image_close(disk->image);
	if (disk->chain)
		chain_end(disk->chain);
	free(disk->chain);
	for (size_t i = 0; i < disk->file_count; i++) {
		qcow2_source_close(disk->files[i].source);
		free(disk->files[i].path);
	}
	free(disk->files);
	disk_keys_forget(&disk->keys);
	free(disk->blamed);
	memset(disk, 0, sizeof(*disk));
}

void disks_close(struct disk *disks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close_one(&disks[i]);
}
