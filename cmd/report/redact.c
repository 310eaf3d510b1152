/* SPDX-License-Identifier: MIT */
/* See redact.h. */
#include "report/redact.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/text.h>
#include <qcow2/walk.h>

/* Structures that enclose each other. */
#define DEPTH_MOST 32
/* Room for a stand-in before it is filled up. */
#define WORD_MAX 64
/* Shorter names may have no room for the number of their structure: they get numbers of their own. */
#define SHORT_MOST 16

/* One place on disk that holds a name. The name itself is read again: there may be gigabytes of them. */
struct place {
	uint64_t offset_bytes;
	size_t size;
	uint64_t hash;   /* of its bytes */
	size_t readable; /* bytes of it, which are replaced */
	bool is_text;
	const char *field; /* static */
	char word[WORD_MAX];
	size_t order;
};

struct level {
	char title[40]; /* empty: that of the structure around it */
	uint64_t index;
};

/* A walk that gathers the places. */
struct gathering {
	struct place *places;
	size_t count, capacity;
	struct level levels[DEPTH_MOST];
	unsigned depth;
	uint64_t magic; /* the type of the header extension that is told */
	bool short_of_memory;
};

/* ---- what stays ---- */

static bool is_word_of(const struct qcow2_names *names, struct qcow2_bytes text)
{
	for (size_t i = 0; i < names->count; i++)
		if (strlen(names->list[i].name) == text.size &&
		    memcmp(names->list[i].name, text.data, text.size) == 0)
			return true;
	return false;
}

/* Names of features as QEMU and this library write them. */
static bool is_feature(struct qcow2_bytes text)
{
	static const char *const others[] = {
		"dirty bit",        "corrupt bit",         "external data file",
		"compression type", "extended L2 entries", "lazy refcounts",
		"bitmaps",          "raw external data",
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strlen(others[i]) == text.size && memcmp(others[i], text.data, text.size) == 0)
			return true;
	return is_word_of(&qcow2_incompatible_features, text) ||
	       is_word_of(&qcow2_compatible_features, text) ||
	       is_word_of(&qcow2_autoclear_features, text);
}

/* "qcow2", "raw": what a format could be called. */
static bool is_format(struct qcow2_bytes text)
{
	for (size_t i = 0; i < text.size; i++)
		if (!islower(text.data[i]) && !isdigit(text.data[i]) && text.data[i] != '-')
			return false;
	return text.size <= 16;
}

static bool stays(const struct gathering *gathering, const struct qcow2_value *value)
{
	static const char *const fields[] = {"magic", "cipher_name", "cipher_mode", "hash_spec",
					     "csum_alg"};
	/* Nothing may hide behind the word in the same bytes. */
	const bool is_whole = value->raw.size == value->bytes.size;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strcmp(value->name, fields[i]) == 0)
			return true;
	if (strcmp(value->name, "text") == 0)
		return gathering->magic == QCOW2_EXTENSION_BACKING_FORMAT && is_whole &&
		       is_format(value->bytes);
	for (size_t i = value->bytes.size; i < value->raw.size; i++)
		if (value->raw.data[i] != 0)
			return false;
	return value->kind == QCOW2_VALUE_TEXT && is_feature(value->bytes);
}

/* ---- gathering ---- */

/* Tells names apart (FNV-1a); of some that somebody made for it, two may get one stand-in. */
static uint64_t hash(struct qcow2_bytes bytes)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < bytes.size; i++)
		sum = (sum ^ bytes.data[i]) * UINT64_C(0x100000001b3);
	return sum;
}

/* How many bytes of a name people can read. */
static size_t readable(struct qcow2_bytes bytes)
{
	size_t count = 0;
	uint32_t codepoint;
	bool valid;

	for (size_t at = 0, used; at < bytes.size; at += used) {
		used = qcow2_text_next((struct qcow2_bytes){bytes.data + at, bytes.size - at},
				       &codepoint, &valid);
		if (valid && qcow2_text_is_printable(codepoint))
			count += used;
	}
	return count;
}

static bool add_place(struct gathering *gathering, const struct qcow2_value *value)
{
	struct place *places = gathering->places;

	if (gathering->count == gathering->capacity) {
		gathering->capacity = gathering->capacity ? 2 * gathering->capacity : 64;
		places = realloc(places, gathering->capacity * sizeof(*places));
		if (!places)
			return false;
		gathering->places = places;
	}
	places[gathering->count] = (struct place){.offset_bytes = value->offset_bytes,
						  .size = value->raw.size,
						  .hash = hash(value->raw),
						  .readable = readable(value->raw),
						  .is_text = value->kind == QCOW2_VALUE_TEXT,
						  .field = value->name,
						  .order = gathering->count};
	gathering->count++;
	return true;
}

/* "bitmap-3", "backing-file", or the name of the field where that says more. */
static void set_word(const struct gathering *gathering, struct place *place)
{
	const struct level *level = NULL;
	const bool is_name = strcmp(place->field, "name") == 0 || strcmp(place->field, "text") == 0;
	size_t used;

	for (unsigned i = gathering->depth; i-- > 0 && !level;)
		if (gathering->levels[i].title[0])
			level = &gathering->levels[i];
	used = (size_t)snprintf(place->word, sizeof(place->word), "%.40s",
				is_name && level ? level->title : place->field);
	for (char *c = place->word; *c; c++)
		*c = (char)(isalnum((unsigned char)*c) ? tolower((unsigned char)*c) : '-');
	if (level && level->index != QCOW2_NO_INDEX)
		snprintf(place->word + used, sizeof(place->word) - used, "-%" PRIu64, level->index);
}

static int enter(void *opaque, const struct qcow2_node *node)
{
	struct gathering *gathering = opaque;
	struct level *level = &gathering->levels[gathering->depth];

	if (gathering->depth + 1 == DEPTH_MOST)
		return -1;
	level->title[0] = '\0';
	level->index = node->index;
	if (node->title)
		snprintf(level->title, sizeof(level->title), "%s", node->title);
	gathering->depth++;
	return 0;
}

static int leave(void *opaque, const struct qcow2_node *node)
{
	(void)node;
	((struct gathering *)opaque)->depth--;
	return 0;
}

static int field(void *opaque, const struct qcow2_value *value)
{
	struct gathering *gathering = opaque;

	if (value->kind == QCOW2_VALUE_NUMBER && strcmp(value->name, "magic") == 0)
		gathering->magic = value->number;
	if ((value->kind != QCOW2_VALUE_TEXT && value->kind != QCOW2_VALUE_BYTES) ||
	    value->raw.size == 0 || value->offset_bytes == QCOW2_NO_OFFSET ||
	    stays(gathering, value))
		return 0;
	gathering->short_of_memory = !add_place(gathering, value);
	if (gathering->short_of_memory)
		return -1;
	set_word(gathering, &gathering->places[gathering->count - 1]);
	return 0;
}

static int gather(struct gathering *gathering, const struct qcow2_image *image,
		  struct qcow2_error *err)
{
	static const struct qcow2_visitor visitor = {.size = sizeof(visitor),
						     .begin_struct = enter,
						     .end_struct = leave,
						     .begin_list = enter,
						     .end_list = leave,
						     .field = field};
	const int failed = qcow2_walk(image, NULL, QCOW2_WALK_NO_TABLES, &visitor, gathering, err);

	if (gathering->short_of_memory)
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
	return failed;
}

/* ---- stand-ins ---- */

/* Places of one name follow each other, in the order in which the walk found them. */
static int compare(const void *a, const void *b)
{
	const struct place *one = a, *other = b;
	int order = strcmp(one->field, other->field);

	if (order == 0 && one->size != other->size)
		order = one->size < other->size ? -1 : 1;
	if (order == 0)
		order = (one->hash > other->hash) - (one->hash < other->hash);
	if (order == 0)
		order = one->order < other->order ? -1 : 1;
	return order;
}

static bool is_same(const struct place *one, const struct place *other)
{
	return strcmp(one->field, other->field) == 0 && one->size == other->size &&
	       one->hash == other->hash;
}

/* Digits that tell short names apart. */
static void number_word(char *word, size_t size, uint64_t number)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

	word[size] = '\0';
	while (size > 0) {
		word[--size] = digits[number % 36];
		number /= 36;
	}
}

/* Gives all places of a name the word of the first one, or a number if there is no room for it. */
static void share_words(struct gathering *gathering)
{
	uint64_t numbers[SHORT_MOST] = {0};

	for (size_t i = 0; i < gathering->count; i++) {
		struct place *place = &gathering->places[i];
		const size_t room = place->readable;

		if (i > 0 && is_same(place, place - 1))
			memcpy(place->word, (place - 1)->word, sizeof(place->word));
		else if (strlen(place->word) > room && room < SHORT_MOST)
			number_word(place->word, room, numbers[room]++);
	}
}

/* Replaces what can be read, and bytes that are no text; what makes a name a problem stays. */
static void replace(const struct place *place, uint8_t *bytes)
{
	const size_t length = strlen(place->word);
	size_t taken = 0;
	uint32_t codepoint;
	bool valid;

	for (size_t at = 0, used; at < place->size; at += used) {
		used = 1;
		valid = false;
		if (place->is_text)
			used = qcow2_text_next((struct qcow2_bytes){bytes + at, place->size - at},
					       &codepoint, &valid);
		if (place->is_text && !valid)
			memset(bytes + at, 0xff, used);
		else if (place->is_text && qcow2_text_is_printable(codepoint))
			for (size_t i = 0; i < used; i++, taken++)
				bytes[at + i] =
					(uint8_t)(taken < length ? place->word[taken] : '-');
		else if (!place->is_text && bytes[at] != 0)
			bytes[at] = 'x';
	}
}

static int write_place(struct redaction *redaction, struct qcow2_source *source,
		       const struct place *place, struct qcow2_error *err)
{
	uint8_t *bytes = malloc(place->size);
	int failed;

	if (!bytes) {
		*err = (struct qcow2_error){.code = QCOW2_ERROR_MEMORY,
					    .offset_bytes = QCOW2_NO_OFFSET,
					    .text = "out of memory"};
		return -1;
	}
	failed = qcow2_source_read(source, place->offset_bytes, bytes, place->size, err);
	if (!failed) {
		replace(place, bytes);
		failed = qcow2_plan_write(redaction->plan, QCOW2_PHASE_NEW, place->offset_bytes,
					  (struct qcow2_bytes){bytes, place->size}, "a stand-in",
					  err);
	}
	free(bytes);
	return failed ? -1 : 0;
}

static int write_places(struct redaction *redaction, struct qcow2_source *source,
			struct gathering *gathering, struct qcow2_error *err)
{
	if (gathering->count > 0)
		qsort(gathering->places, gathering->count, sizeof(*gathering->places), compare);
	share_words(gathering);
	for (size_t i = 0; i < gathering->count; i++)
		if (write_place(redaction, source, &gathering->places[i], err))
			return -1;
	redaction->count = gathering->count;
	return 0;
}

int redact(struct redaction *redaction, const struct qcow2_image *image,
	   struct qcow2_source *source, struct qcow2_error *err)
{
	struct gathering gathering = {.count = 0};
	int failed = gather(&gathering, image, err) ||
		     qcow2_plan_open(source, &redaction->plan, err) ||
		     write_places(redaction, source, &gathering, err) ||
		     qcow2_plan_view(redaction->plan, &redaction->view, err) ||
		     qcow2_image_open(redaction->view, &redaction->image, err);

	free(gathering.places);
	return failed ? -1 : 0;
}

void redaction_release(struct redaction *redaction)
{
	qcow2_image_close(redaction->image);
	qcow2_source_close(redaction->view);
	qcow2_plan_close(redaction->plan);
	*redaction = (struct redaction){0};
}
