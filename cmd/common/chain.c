/* SPDX-License-Identifier: MIT */
/* See chain.h. Names are resolved as QEMU does it, so that the same files are found. */
#include "common/chain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_name.h"
#include "common/limits.h"

#include <qcow2/text.h>

/* How much of a name is quoted in the text of an error. */
#define QUOTED_MAX 100

static int fail(struct qcow2_error *err, enum qcow2_error_code code, const char *text)
{
	*err = (struct qcow2_error){.code = code, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", text);
	return -1;
}

static int fail_memory(struct qcow2_error *err)
{
	return fail(err, QCOW2_ERROR_MEMORY, "out of memory");
}

/* Whether a name leads through a protocol ("nbd:…", "json:…") instead of to a file. */
static bool is_protocol(struct qcow2_bytes name)
{
	for (size_t i = 0; i < name.size && name.data[i] != '/'; i++)
		if (name.data[i] == ':')
			return true;
	return false;
}

static bool starts_with(struct qcow2_bytes name, const char *start)
{
	return name.size >= strlen(start) && memcmp(name.data, start, strlen(start)) == 0;
}

char *chain_full_name(const char *file, struct qcow2_bytes name)
{
	const char *slash = strrchr(file, '/');
	size_t directory = slash ? (size_t)(slash - file) + 1 : 0;
	char *full;

	if (name.size > 0 && (name.data[0] == '/' || is_protocol(name)))
		directory = 0;
	full = malloc(directory + name.size + 1);
	if (!full)
		return NULL;
	memcpy(full, file, directory);
	if (name.size)
		memcpy(full + directory, name.data, name.size);
	full[directory + name.size] = '\0';
	return full;
}

void chain_begin(struct chain *chain, const char *file)
{
	memset(chain, 0, sizeof(*chain));
	chain->link.file = file;
}

/* Puts who names the file in front of the text of an error. */
static int blame(const struct chain_link *link, struct qcow2_error *err)
{
	char text[sizeof(err->text)], name[QUOTED_MAX + 1];
	const char *shown = link->named_by, *slash;

	if (!shown)
		return -1;
	slash = strrchr(shown, '/');
	if (strlen(shown) > QUOTED_MAX && slash)
		shown = slash + 1;
	qcow2_text_escape((struct qcow2_bytes){(const uint8_t *)shown, strlen(shown)}, name,
			  sizeof(name));
	snprintf(text, sizeof(text), "named as the backing file of %s: %.120s", name, err->text);
	memcpy(err->text, text, sizeof(err->text));
	return -1;
}

/* Notes the file; fails if the chain was here before or is too long. */
static int extend(struct chain *chain, struct qcow2_error *err)
{
	struct stat st;

	if (chain->length == CHAIN_MAX)
		return fail(err, QCOW2_ERROR_LIMIT,
			    "the chain of backing files is over 256 images long");
	if (stat(chain->link.file, &st) != 0)
		return 0; /* opening it will say why */
	for (size_t i = 0; i < chain->length; i++)
		if (chain->devices[i] == st.st_dev && chain->inodes[i] == st.st_ino)
			return fail(err, QCOW2_ERROR_BROKEN,
				    "the chain of backing files is a loop: this file was there "
				    "before");
	chain->devices[chain->length] = st.st_dev;
	chain->inodes[chain->length++] = st.st_ino;
	return 0;
}

/* Decides the format. The first file is an image, whatever it holds. */
static int find_format(struct chain *chain, struct qcow2_error *err)
{
	struct chain_link *link = &chain->link;
	const char *format = "qcow2";

	if (link->named_by && chain->stated[0]) {
		format = chain->stated;
		if (strcmp(format, "file") == 0 || strcmp(format, "host_device") == 0)
			format = "raw";
	} else if (link->named_by) {
		if (qcow2_probe(link->source, &link->probed, err))
			return -1;
		format = link->probed->qemu_format;
	}
	snprintf(link->format, sizeof(link->format), "%s", format);
	return 0;
}

/* Only the first file is one that the user names. What images name is a file, whatever its name is. */
static int open_source(struct chain *chain, struct qcow2_error *err)
{
	struct chain_link *link = &chain->link;

	return (link->named_by ? limits_open_file : limits_open)(chain->common, link->file,
								 &link->source, err);
}

static int open_link(struct chain *chain, struct qcow2_error *err)
{
	struct chain_link *link = &chain->link;
	const bool is_open = chain->first && !link->named_by;

	if (is_open)
		link->source = chain->first;
	if ((!is_open && open_source(chain, err)) || find_format(chain, err) ||
	    (strcmp(link->format, "qcow2") == 0 &&
	     qcow2_image_open(link->source, &link->image, err)))
		return blame(link, err);
	return 0;
}

static void forget_link(struct chain_link *link)
{
	link->image = NULL;
	link->source = NULL;
	link->probed = NULL;
}

static void close_link(struct chain_link *link)
{
	qcow2_image_close(link->image);
	qcow2_source_close(link->source);
	forget_link(link);
}

/* The path that a json: name means; NULL with *err filled. */
static char *read_json_name(struct chain *chain, struct qcow2_bytes name, struct qcow2_error *err)
{
	struct json_name *read = malloc(sizeof(*read));
	const char *why = read ? json_name_read(name, read) : NULL;
	char *path = NULL, text[128];

	if (!why && read)
		path = strdup(read->path);
	if (why) {
		snprintf(text, sizeof(text), "its backing file's json: name was not followed: %s",
			 why);
		(void)fail(err, QCOW2_ERROR_UNSUPPORTED, text);
	} else if (!path) {
		(void)fail_memory(err);
	} else {
		chain->last = read->no_backing;
		if (!chain->stated[0])
			memcpy(chain->stated, read->format, sizeof(chain->stated));
	}
	free(read);
	return path;
}

/* The path that a name in an image means; NULL with *err filled. */
static char *follow(struct chain *chain, struct qcow2_bytes name, struct qcow2_error *err)
{
	char *path;

	/* It is one of the server's machine, which may be another file here. */
	if (!chain->link.named_by && qcow2_source_is_nbd(chain->link.file)) {
		(void)fail(err, QCOW2_ERROR_UNSUPPORTED,
			   "the image is read over NBD: its backing file was not followed");
		return NULL;
	}
	if (memchr(name.data, 0, name.size)) {
		(void)fail(err, QCOW2_ERROR_UNSUPPORTED, "its backing file's name holds a NUL");
		return NULL;
	}
	if (starts_with(name, "json:"))
		return read_json_name(chain, name, err);
	if (starts_with(name, "file:")) {
		/* Relative to the current directory. */
		path = strndup((const char *)name.data + 5, name.size - 5);
	} else if (is_protocol(name)) {
		(void)fail(err, QCOW2_ERROR_UNSUPPORTED,
			   "its backing file is not a local file, and was not followed: only files "
			   "are read");
		return NULL;
	} else {
		path = chain_full_name(chain->link.file, name);
	}
	if (!path)
		(void)fail_memory(err);
	return path;
}

/* Leaves the file for its backing file. Returns 0 if there is none. */
static int descend(struct chain *chain, struct qcow2_error *err)
{
	struct qcow2_image *image = chain->link.image;
	struct qcow2_bytes name, format = {NULL, 0};
	char *path;

	if (!image || chain->last)
		return 0;
	name = qcow2_image_backing_name(image);
	if (name.size == 0)
		return 0;
	qcow2_image_find_extension(image, QCOW2_EXTENSION_BACKING_FORMAT, &format);
	if (format.size >= sizeof(chain->stated))
		format.size = sizeof(chain->stated) - 1;
	memset(chain->stated, 0, sizeof(chain->stated));
	if (format.size > 0)
		memcpy(chain->stated, format.data, format.size);
	path = follow(chain, name, err);
	if (!path)
		return -1;
	if (!chain->keep)
		close_link(&chain->link);
	forget_link(&chain->link);
	free(chain->named_by);
	/* The first path is the caller's. */
	chain->named_by = chain->file;
	chain->link.named_by = chain->link.file;
	chain->file = path;
	chain->link.file = path;
	return 1;
}

int chain_next(struct chain *chain, struct qcow2_error *err)
{
	int more = chain->link.source ? descend(chain, err) : 1;

	if (more <= 0)
		return more;
	if (extend(chain, err))
		return blame(&chain->link, err);
	if (open_link(chain, err)) {
		/* A caller that closes files itself never sees this one. */
		if (chain->keep && chain->link.source == chain->first)
			forget_link(&chain->link);
		else if (chain->keep)
			close_link(&chain->link);
		return -1;
	}
	return 1;
}

void chain_end(struct chain *chain)
{
	if (!chain->keep)
		close_link(&chain->link);
	free(chain->file);
	free(chain->named_by);
	chain->file = NULL;
	chain->named_by = NULL;
}
