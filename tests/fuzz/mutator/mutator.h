/* SPDX-License-Identifier: MIT */
/*
 * The mutator of all targets whose input is an image: it knows the structures from the field tables
 * of the library. Finding a structure and choosing a value need no sound image; whatever is not
 * there is left out.
 */
#ifndef TESTS_FUZZ_MUTATOR_H
#define TESTS_FUZZ_MUTATOR_H

#include <qcow2/qcow2.h>

/* The bytes at the end of the input that are commands and no image; 0 where a target says nothing. */
extern const size_t fuzz_command_bytes __attribute__((weak));

/* Numbers that look random, and depend on the seed alone. */
struct dice {
	uint64_t state;
};

uint64_t dice_roll(struct dice *dice);

/* A number below count, which is not 0. */
size_t dice_below(struct dice *dice, size_t count);

/* True once in so many times. */
bool dice_once_in(struct dice *dice, size_t times);

/* An image that is being changed: size of capacity bytes are in use. */
struct mutant {
	uint8_t *bytes;
	size_t size, capacity;
	unsigned cluster_bits; /* 9 to 21, whatever the header says */
	struct qcow2_header header;
	struct dice dice;
};

/* Structures of one kind that lie one after another. */
struct place {
	const struct qcow2_structure *structure; /* NULL: bytes without fields */
	size_t offset_bytes;                     /* of the first one */
	size_t count;
	size_t stride_bytes; /* from one to the next */
};

#define PLACES_MOST 96

struct places {
	struct place list[PLACES_MOST];
	size_t count;
};

/* Finds what the image has, following its pointers; the header is always the first place. */
void places_find(struct places *places, const struct mutant *mutant);

/* A new value for a field of a structure at some place. */
uint64_t value_choose(struct mutant *mutant, const struct places *places,
		      const struct qcow2_field *field, uint64_t old);

/* Changes the image in one way. Its size may change up to its capacity. */
void mutate_once(struct mutant *mutant);

/* Changes an input of size bytes, the last command_bytes of which are commands. Returns its size. */
size_t mutate(uint8_t *bytes, size_t size, size_t capacity, size_t command_bytes, uint64_t seed);

/* Makes an input of two. Returns its size, at most capacity. */
size_t mutate_cross(struct qcow2_bytes first, struct qcow2_bytes second, uint8_t *out,
		    size_t capacity, uint64_t seed);

#endif
