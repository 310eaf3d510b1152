/* SPDX-License-Identifier: MIT */
/* See disk_keys.h. */
#include "common/disk_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/read_file.h"
#include "common/report.h"
#include "common/system.h"

#include <qcow2/guest.h>

bool disk_key_files_add(const struct command *command, const char *option,
			struct disk_key_files *files, const char *name)
{
	if (files->count == DISK_KEYS_MOST) {
		usage_error(command, "--%s: there are more than %d of them", option,
			    DISK_KEYS_MOST);
		return false;
	}
	files->names[files->count++] = name;
	return true;
}

/* A file that was read already. */
static const struct disk_key *find(const struct disk_keys *keys, const char *file)
{
	for (; keys; keys = keys->before)
		for (size_t i = 0; i < keys->count; i++)
			if (strcmp(keys->list[i].file, file) == 0)
				return &keys->list[i];
	return NULL;
}

static int copy_key(struct disk_key *key, const struct disk_key *from, struct qcow2_error *err)
{
	key->bytes = malloc(from->size + 1);
	if (!key->bytes) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return -1;
	}
	memcpy(key->bytes, from->bytes, from->size);
	key->size = from->size;
	return 0;
}

int disk_keys_read(struct disk_keys *keys, const struct disk_key_files *files,
		   struct qcow2_error *err)
{
	for (size_t i = 0; i < files->count; i++) {
		struct disk_key key = {.file = files->names[i]};
		const struct disk_key *known = find(keys, key.file);

		if (known ? copy_key(&key, known, err)
			  : read_whole_file(key.file, QCOW2_DISK_KEY_BYTES, &key.bytes, &key.size,
					    err))
			return -1;
		keys->list[keys->count++] = key;
	}
	return 0;
}

const struct disk_key *disk_keys_take(struct disk_keys *keys)
{
	const struct disk_key *key = &keys->list[keys->next];

	if (keys->count == 0)
		return NULL;
	if (keys->next + 1 < keys->count)
		keys->next++;
	return key;
}

void disk_keys_forget(struct disk_keys *keys)
{
	for (size_t i = 0; i < keys->count; i++) {
		system_wipe(keys->list[i].bytes, keys->list[i].size);
		free(keys->list[i].bytes);
	}
	*keys = (struct disk_keys){.count = 0};
}
