/* SPDX-License-Identifier: MIT */
/* See files.h. */
#include "nbdkit/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "nbdkit/report.h"

#include <qcow2/probe.h>

/* ---- names ---- */

static bool is(struct qcow2_bytes bytes, const char *text)
{
	return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

static bool starts_with(struct qcow2_bytes bytes, const char *start)
{
	return bytes.size >= strlen(start) && memcmp(bytes.data, start, strlen(start)) == 0;
}

/* Whether a name leads through a protocol ("nbd:…", "json:…") instead of to a file. */
static bool is_protocol(struct qcow2_bytes name)
{
	for (size_t i = 0; i < name.size && name.data[i] != '/'; i++)
		if (name.data[i] == ':')
			return true;
	return false;
}

/* Puts the folder of a file in front of a name that begins in that folder. NULL without memory. */
static char *join(const char *beside, struct qcow2_bytes name)
{
	const char *slash = strrchr(beside, '/');
	size_t folder = slash && name.data[0] != '/' ? (size_t)(slash - beside) + 1 : 0;
	char *path = malloc(folder + name.size + 1);

	if (!path)
		return NULL;
	memcpy(path, beside, folder);
	memcpy(path + folder, name.data, name.size);
	path[folder + name.size] = '\0';
	return path;
}

/* The path that a name in the image `beside` means; NULL with *err filled. */
static char *resolve(const char *beside, const struct qcow2_disk_wanted *wanted,
		     struct qcow2_error *err)
{
	const char *what = wanted->role == QCOW2_DISK_BACKING ? "backing" : "data";
	struct qcow2_bytes name = wanted->name;
	char *path;

	if (name.size == 0 || memchr(name.data, 0, name.size)) {
		(void)report_fail(err, QCOW2_ERROR_UNSUPPORTED, "the name of its %s file %s", what,
				  name.size == 0 ? "is not in the image" : "holds a NUL");
		return NULL;
	}
	/* These are relative to the current directory. */
	if (starts_with(name, "file:")) {
		path = strndup((const char *)name.data + 5, name.size - 5);
	} else if (is_protocol(name)) {
		(void)report_fail(err, QCOW2_ERROR_UNSUPPORTED,
				  "its %s file '%.*s' is not a local file, and is not opened", what,
				  name.size > 100 ? 100 : (int)name.size, (const char *)name.data);
		return NULL;
	} else {
		path = join(beside, name);
	}
	if (!path)
		(void)report_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	return path;
}

/* ---- files ---- */

/* Fails if another program writes the file: what a client would read then is neither old nor new. */
static int check_unused(const struct qcow2_source *source, struct qcow2_error *err)
{
	if (qcow2_source_in_use(source) == QCOW2_IN_USE_YES)
		return report_fail(err, QCOW2_ERROR_IN_USE,
				   "in use: another program has it open for writing");
	return 0;
}

/* Learns which file it is, and fails if the chain was there before. */
static int identify(const struct files *files, struct file *file, struct qcow2_error *err)
{
	struct stat st;

	if (stat(file->path, &st) != 0)
		return report_fail(err, QCOW2_ERROR_IO, "it is gone");
	file->device = st.st_dev;
	file->inode = st.st_ino;
	for (size_t i = 0; i < files->count; i++)
		if (files->files[i].device == st.st_dev && files->files[i].inode == st.st_ino)
			return report_fail(
				err, QCOW2_ERROR_BROKEN,
				"the chain of files is a loop: this one was there before");
	return 0;
}

/* Opens a file and keeps it. *file: its path is taken over, also if this fails. */
static int keep(struct files *files, struct file *file, struct qcow2_error *err)
{
	struct file *grown;

	if (qcow2_source_open(file->path, &file->source, err) || identify(files, file, err) ||
	    check_unused(file->source, err))
		goto failed;
	grown = realloc(files->files, (files->count + 1) * sizeof(*grown));
	if (!grown) {
		(void)report_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
		goto failed;
	}
	files->files = grown;
	grown[files->count++] = *file;
	return 0;
failed:
	qcow2_source_close(file->source);
	free(files->blamed);
	files->blamed = file->path;
	return -1;
}

struct qcow2_source *files_open(struct files *files, const char *path, struct qcow2_error *err)
{
	struct file file = {.path = strdup(path), .role = QCOW2_DISK_BACKING};

	if (!file.path) {
		(void)report_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
		return NULL;
	}
	return keep(files, &file, err) ? NULL : file.source;
}

void files_close(struct files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		qcow2_source_close(files->files[i].source);
		free(files->files[i].path);
	}
	free(files->files);
	free(files->blamed);
	*files = (struct files){0};
}

/* ---- the gate ---- */

/* The path of the image that names a file. */
static const char *named_by(const struct files *files, uint32_t depth)
{
	for (size_t i = 0; i < files->count; i++)
		if (files->files[i].depth == depth && files->files[i].role == QCOW2_DISK_BACKING)
			return files->files[i].path;
	return files->files[0].path;
}

const char *files_at_fault(const struct files *files, const char *path,
			   const struct qcow2_error *err)
{
	char text[48];
	uint32_t depth;

	if (files->blamed || files->count == 0)
		return files->blamed ? files->blamed : path;
	/* The library knows numbers of files alone; where it names one, that is the last opened. */
	depth = files->files[files->count - 1].depth;
	snprintf(text, sizeof(text), "this is file %" PRIu32 " of the chain", depth);
	return strstr(err->text, text) ? named_by(files, depth) : path;
}

static int refuse(struct files *files, const struct qcow2_disk_wanted *wanted,
		  struct qcow2_error *err)
{
	const char *path = named_by(files, wanted->depth);

	(void)report_fail(err, QCOW2_ERROR_UNSUPPORTED,
			  "part of the disk is in another file, its %s file: chain=yes opens it",
			  wanted->role == QCOW2_DISK_BACKING ? "backing" : "data");
	free(files->blamed);
	files->blamed = strdup(path);
	return QCOW2_DISK_REFUSED;
}

/* Chooses the format of a backing file: what the image states, else what QEMU would take it for. */
static int choose_format(struct files *files, const struct qcow2_disk_wanted *wanted,
			 struct qcow2_source *source, struct qcow2_error *err)
{
	const struct qcow2_file_kind *kind;
	struct qcow2_bytes format = wanted->format;

	if (format.size == 0) {
		if (qcow2_probe(source, &kind, err))
			return QCOW2_DISK_REFUSED;
		format = (struct qcow2_bytes){(const uint8_t *)kind->qemu_format,
					      strlen(kind->qemu_format)};
	}
	if (is(format, "qcow2"))
		return QCOW2_DISK_GIVEN_QCOW2;
	if (is(format, "raw") || is(format, "file") || is(format, "host_device"))
		return QCOW2_DISK_GIVEN_RAW;
	(void)report_fail(err, QCOW2_ERROR_UNSUPPORTED,
			  "its format is %.*s: only qcow2 and raw files can be read",
			  format.size > 16 ? 16 : (int)format.size, (const char *)format.data);
	free(files->blamed);
	files->blamed = strdup(files->files[files->count - 1].path);
	return QCOW2_DISK_REFUSED;
}

int files_gate(void *opaque, const struct qcow2_disk_wanted *wanted, struct qcow2_source **source,
	       struct qcow2_error *err)
{
	struct files *files = opaque;
	const bool backing = wanted->role == QCOW2_DISK_BACKING;
	struct file file = {.depth = wanted->depth + backing, .role = wanted->role};

	if (!files->chain)
		return refuse(files, wanted, err);
	file.path = resolve(named_by(files, wanted->depth), wanted, err);
	if (!file.path) {
		free(files->blamed);
		files->blamed = strdup(named_by(files, wanted->depth));
		return QCOW2_DISK_REFUSED;
	}
	if (keep(files, &file, err))
		return QCOW2_DISK_REFUSED;
	*source = file.source;
	return backing ? choose_format(files, wanted, file.source, err) : QCOW2_DISK_GIVEN_RAW;
}
