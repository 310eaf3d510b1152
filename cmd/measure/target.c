/* SPDX-License-Identifier: MIT */
/* See target.h. Options that do not change any size are taken, so that a line can be copied. */
#include "measure/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "out/suggest.h"

#include <qcow2/number.h>

/* Texts of the line stand in errors as they are: usage_error() makes them safe. */
static int refuse(struct qcow2_error *err, const char *key, const char *value, const char *wanted)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s is %s, not '%.80s'", key, wanted, value);
	return -1;
}

/* Finds a value among words; the index of it, or -1 with *err filled. */
static int choose(const char *key, const char *value, const char *const *words, const char *wanted,
		  struct qcow2_error *err)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], value) == 0)
			return i;
	return refuse(err, key, value, wanted);
}

static int take_flag(const char *key, const char *value, struct qcow2_error *err)
{
	static const char *const words[] = {"off",  "on", "no", "yes", "false",
					    "true", "n",  "y",  NULL};
	const int found = choose(key, value, words, "on or off", err);

	return found < 0 ? -1 : found & 1;
}

/* ---- each option ---- */

static int take_compat(struct measure_target *target, const char *key, const char *value,
		       struct qcow2_error *err)
{
	static const char *const words[] = {"0.10", "v2", "1.1", "v3", NULL};
	const int found = choose(key, value, words, "0.10, v2, 1.1 or v3", err);

	target->numbers.version = found < 2 ? 2 : 3;
	return found < 0 ? -1 : 0;
}

static int take_cluster_size(struct measure_target *target, const char *key, const char *value,
			     struct qcow2_error *err)
{
	uint64_t number;

	if (qcow2_number_parse(value, UINT64_MAX, &number, err))
		return -1;
	if (number < 512 || number > 2 << 20 || (number & (number - 1)) != 0)
		return refuse(err, key, value, "a power of two, 512 to 2M");
	target->numbers.cluster_bits = (unsigned)__builtin_ctzll(number);
	return 0;
}

static int take_refcount_bits(struct measure_target *target, const char *key, const char *value,
			      struct qcow2_error *err)
{
	uint64_t number;

	if (qcow2_number_parse(value, UINT64_MAX, &number, err))
		return -1;
	if (number < 1 || number > 64 || (number & (number - 1)) != 0)
		return refuse(err, key, value, "a power of two, 1 to 64");
	target->numbers.refcount_bits = (unsigned)number;
	return 0;
}

static int take_extended_l2(struct measure_target *target, const char *key, const char *value,
			    struct qcow2_error *err)
{
	const int found = take_flag(key, value, err);

	target->numbers.extended_l2 = found > 0;
	return found < 0 ? -1 : 0;
}

static int take_preallocation(struct measure_target *target, const char *key, const char *value,
			      struct qcow2_error *err)
{
	static const char *const words[] = {"off", "metadata", "falloc", "full", NULL};
	const int found = choose(key, value, words, "off, metadata, falloc or full", err);

	target->full = found >= 2;
	return found < 0 ? -1 : 0;
}

static int take_backing(struct measure_target *target, const char *key, const char *value,
			struct qcow2_error *err)
{
	(void)key, (void)err;
	target->backing = value[0] != '\0';
	return 0;
}

static int take_data_file(struct measure_target *target, const char *key, const char *value,
			  struct qcow2_error *err)
{
	(void)key, (void)err;
	target->numbers.data_file = value[0] != '\0';
	return 0;
}

static int take_format(struct measure_target *target, const char *key, const char *value,
		       struct qcow2_error *err)
{
	static const char *const words[] = {"aes", "luks", NULL};
	const int found = choose(key, value, words, "aes or luks", err);

	target->luks = found == 1;
	return found < 0 ? -1 : 0;
}

static int take_cipher(struct measure_target *target, const char *key, const char *value,
		       struct qcow2_error *err)
{
	static const char *const words[] = {"aes-128",     "aes-192",     "aes-256",
					    "serpent-128", "serpent-192", "serpent-256",
					    "twofish-128", "twofish-192", "twofish-256",
					    "cast5-128",   "sm4",         NULL};
	static const unsigned bytes[] = {16, 24, 32, 16, 24, 32, 16, 24, 32, 16, 16};
	const int found = choose(key, value, words, "a cipher of QEMU such as aes-256", err);

	if (found < 0)
		return -1;
	target->key_bytes = bytes[found];
	return 0;
}

static int take_mode(struct measure_target *target, const char *key, const char *value,
		     struct qcow2_error *err)
{
	static const char *const words[] = {"xts", "cbc", "ctr", "ecb", NULL};
	const int found = choose(key, value, words, "xts, cbc, ctr or ecb", err);

	target->double_key = found == 0;
	return found < 0 ? -1 : 0;
}

static int take_any(struct measure_target *target, const char *key, const char *value,
		    struct qcow2_error *err)
{
	(void)target, (void)key, (void)value, (void)err;
	return 0;
}

static const struct {
	const char *key;
	int (*take)(struct measure_target *target, const char *key, const char *value,
		    struct qcow2_error *err);
} rows[] = {
	{"compat", take_compat},
	{"cluster_size", take_cluster_size},
	{"refcount_bits", take_refcount_bits},
	{"extended_l2", take_extended_l2},
	{"preallocation", take_preallocation},
	{"backing_file", take_backing},
	{"data_file", take_data_file},
	{"encrypt.format", take_format},
	{"encrypt.cipher-alg", take_cipher},
	{"encrypt.cipher-mode", take_mode},
	/* Of no effect on sizes. */
	{"backing_fmt", take_any},
	{"compression_type", take_any},
	{"data_file_raw", take_any},
	{"encrypt.hash-alg", take_any},
	{"encrypt.iter-time", take_any},
	{"encrypt.ivgen-alg", take_any},
	{"encrypt.ivgen-hash-alg", take_any},
	{"encrypt.key-secret", take_any},
	{"encryption", take_any},
	{"lazy_refcounts", take_any},
	{"nocow", take_any},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* ---- a line of options ---- */

static int refuse_key(struct qcow2_error *err, const char *key)
{
	struct suggestion near;
	char text[SUGGEST_TEXT_MAX];

	suggest_begin(&near, key);
	for (size_t i = 0; i < ROWS; i++)
		suggest_offer(&near, rows[i].key);
	*err = (struct qcow2_error){.code = QCOW2_ERROR_ARGUMENT, .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "there is no option '%.60s'%s", key,
		 suggest_text(&near, "", text, sizeof(text)));
	return -1;
}

static int take_pair(struct measure_target *target, char *pair, struct qcow2_error *err)
{
	char *equals = strchr(pair, '=');
	/* As QEMU has it: a name alone is a flag that is on. */
	const char *value = equals ? equals + 1 : "on";

	if (equals)
		*equals = '\0';
	for (size_t i = 0; i < ROWS; i++)
		if (strcmp(rows[i].key, pair) == 0)
			return rows[i].take(target, pair, value, err);
	return refuse_key(err, pair);
}

/* Cuts the first option off a line, in place: ",," stands for a comma. Returns what follows. */
static char *cut(char *line)
{
	char *to = line;

	for (; *line; line++) {
		if (*line == ',' && line[1] != ',') {
			*to = '\0';
			return line + 1;
		}
		if (*line == ',')
			line++;
		*to++ = *line;
	}
	*to = '\0';
	return line;
}

int measure_target_take(struct measure_target *target, const char *options, struct qcow2_error *err)
{
	char *line = strdup(options), *pair = line, *next;
	int failed = 0;

	if (!line) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return -1;
	}
	for (; *pair && !failed; pair = next) {
		next = cut(pair);
		failed = take_pair(target, pair, err);
	}
	free(line);
	return failed;
}

void measure_target_init(struct measure_target *target)
{
	*target = (struct measure_target){
		.double_key = true,
		.key_bytes = 32,
		.numbers = {.size = sizeof(target->numbers),
			    .version = 3,
			    .cluster_bits = 16,
			    .refcount_bits = 16},
	};
}

void measure_target_end(struct measure_target *target)
{
	const unsigned keys = target->double_key ? 2 : 1;

	if (target->luks)
		target->numbers.luks_bytes =
			qcow2_measure_luks_bytes(&target->numbers, keys * target->key_bytes);
	target->numbers.every_cluster = target->full;
}
