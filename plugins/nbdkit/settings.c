/* SPDX-License-Identifier: MIT */
/* See settings.h. */
#include "nbdkit/settings.h"

#include <stdlib.h>
#include <string.h>

#include "nbdkit/report.h"

/* The least memory that makes sense: a few clusters of the largest size that QEMU knows. */
#define MEMORY_LEAST (INT64_C(1) << 20)

const char settings_help[] =
	"[file=]FILE      (required) the image that is served, read-only\n"
	"format=raw       the file is a raw disk; without this it must be a qcow2 image\n"
	"snapshot=NAME    serve the disk of the snapshot with this ID or name\n"
	"chain=yes        open backing files and data files that the image names\n"
	"bitmap=NAME,...  call data what is dirty in one of these bitmaps, and holes the rest\n"
	"password=TEXT    passphrase of an encrypted image; also -, +FILE and -FD;\n"
	"                 may be repeated for files below it\n"
	"key-file=FILE    the file is the passphrase, byte for byte\n"
	"memory=SIZE      what the disk may take of memory (default 64M)";

static int take_text(char **where, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return report_text("out of memory");
	free(*where);
	*where = copy;
	return 0;
}

static int take_bool(bool *where, const char *value)
{
	int parsed = nbdkit_parse_bool(value);

	if (parsed < 0)
		return -1;
	*where = parsed != 0;
	return 0;
}

static int take_format(struct settings *settings, const char *value)
{
	settings->raw = strcmp(value, "raw") == 0;
	if (!settings->raw && strcmp(value, "qcow2") != 0)
		return report_text("format=%s: only qcow2 and raw are known", value);
	return 0;
}

static int take_memory(struct settings *settings, const char *value)
{
	int64_t parsed = nbdkit_parse_size(value);

	if (parsed < 0)
		return -1;
	if (parsed < MEMORY_LEAST)
		return report_text("memory=%s: this is less than 1M", value);
	settings->memory_bytes = (uint64_t)parsed;
	return 0;
}

/* ---- bitmaps ---- */

static int add_bitmap(struct settings *settings, char *name)
{
	char **grown = realloc(settings->bitmaps, (settings->bitmap_count + 1) * sizeof(*grown));

	if (!grown) {
		free(name);
		return report_text("out of memory");
	}
	settings->bitmaps = grown;
	grown[settings->bitmap_count++] = name;
	return 0;
}

/*
 * Takes one name off the front of a list. A comma within a name is doubled, as QEMU does it.
 * *list: set to what follows, or to NULL at the end. Returns the name, or NULL without memory.
 */
static char *take_name(const char **list)
{
	const char *from = *list;
	char *name = malloc(strlen(from) + 1), *to = name;

	if (!name)
		return NULL;
	while (*from && (*from != ',' || from[1] == ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*to = '\0';
	*list = *from ? from + 1 : NULL;
	return name;
}

static int take_bitmaps(struct settings *settings, const char *value)
{
	while (value) {
		char *name = take_name(&value);

		if (!name)
			return report_text("out of memory");
		if (add_bitmap(settings, name))
			return -1;
	}
	return 0;
}

/* ---- all ---- */

int settings_take(struct settings *settings, const char *key, const char *value)
{
	if (strcmp(key, "file") == 0)
		return take_text(&settings->file, value);
	if (strcmp(key, "snapshot") == 0)
		return take_text(&settings->snapshot, value);
	if (strcmp(key, "format") == 0)
		return take_format(settings, value);
	if (strcmp(key, "chain") == 0)
		return take_bool(&settings->chain, value);
	if (strcmp(key, "bitmap") == 0)
		return take_bitmaps(settings, value);
	if (strcmp(key, "password") == 0)
		return keys_add_password(&settings->keys, value);
	if (strcmp(key, "key-file") == 0)
		return keys_add_file(&settings->keys, value);
	if (strcmp(key, "memory") == 0)
		return take_memory(settings, value);
	return report_text("there is no parameter '%s'", key);
}

int settings_check(const struct settings *settings)
{
	if (!settings->file)
		return report_text("file=FILE is missing: it names the image");
	if (settings->raw && (settings->snapshot || settings->chain || settings->bitmap_count > 0))
		return report_text("a raw disk has no snapshot=, chain= or bitmap=");
	if (settings->snapshot && settings->bitmap_count > 0)
		return report_text("bitmaps are about the active disk: not with snapshot=");
	return 0;
}

void settings_release(struct settings *settings)
{
	keys_forget(&settings->keys);
	for (size_t i = 0; i < settings->bitmap_count; i++)
		free(settings->bitmaps[i]);
	free(settings->bitmaps);
	free(settings->file);
	free(settings->snapshot);
	*settings = (struct settings){0};
}
