/* SPDX-License-Identifier: MIT */
/* See keys.h. */
#include "nbdkit/keys.h"

#include <stdlib.h>
#include <string.h>

#include "nbdkit/report.h"

#include <qcow2/guest.h>
#include <qcow2/source.h>

static void forget(struct key *key)
{
	/* Volatile, or the compiler leaves out what nobody reads. */
	volatile uint8_t *each = key->bytes;

	for (size_t i = 0; each && i < key->size; i++)
		each[i] = 0;
	free(key->bytes);
}

/* Takes the key over, also if this fails. */
static int add(struct keys *keys, struct key key)
{
	struct key *grown = realloc(keys->list, (keys->count + 1) * sizeof(*grown));

	if (!grown) {
		forget(&key);
		return report_text("out of memory");
	}
	keys->list = grown;
	grown[keys->count++] = key;
	return 0;
}

int keys_add_password(struct keys *keys, const char *value)
{
	char *password = NULL;
	struct key key;

	if (nbdkit_read_password(value, &password) != 0)
		return -1;
	key = (struct key){(uint8_t *)password, strlen(password)};
	if (key.size > QCOW2_DISK_KEY_BYTES) {
		forget(&key);
		return report_text("password: it is longer than %d bytes", QCOW2_DISK_KEY_BYTES);
	}
	return add(keys, key);
}

static int read_key(struct key *key, struct qcow2_source *source, struct qcow2_error *err)
{
	const uint64_t size = qcow2_source_size_bytes(source);

	if (size > QCOW2_DISK_KEY_BYTES)
		return report_fail(err, QCOW2_ERROR_LIMIT, "it is longer than %d bytes",
				   QCOW2_DISK_KEY_BYTES);
	key->bytes = malloc((size_t)size + 1);
	if (!key->bytes)
		return report_fail(err, QCOW2_ERROR_MEMORY, "out of memory");
	key->size = (size_t)size;
	return qcow2_source_read(source, 0, key->bytes, key->size, err);
}

int keys_add_file(struct keys *keys, const char *value)
{
	struct qcow2_source *source = NULL;
	struct key key = {.size = 0};
	struct qcow2_error err;
	int failed = qcow2_source_open(value, &source, &err);

	if (!failed) {
		failed = read_key(&key, source, &err);
		qcow2_source_close(source);
	}
	if (!failed)
		return add(keys, key);
	forget(&key);
	return report_error(value, &err);
}

const struct key *keys_take(struct keys *keys)
{
	const struct key *key = &keys->list[keys->next];

	if (keys->count == 0)
		return NULL;
	if (keys->next + 1 < keys->count)
		keys->next++;
	return key;
}

void keys_forget(struct keys *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		forget(&keys->list[i]);
	free(keys->list);
	*keys = (struct keys){0};
}
