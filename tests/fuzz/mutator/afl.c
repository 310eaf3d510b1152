/* SPDX-License-Identifier: MIT */
/*
 * The mutator as AFL++ loads it: a shared library, named by AFL_CUSTOM_MUTATOR_LIBRARY. It cannot see
 * what the target says of itself; QCOW2_FUZZ_COMMAND_BYTES in the environment has its number.
 */
#include <stdlib.h>
#include <string.h>

#include "mutator.h"

#define BYTES_MOST ((size_t)1 << 20)

void *afl_custom_init(void *afl, unsigned seed);
size_t afl_custom_fuzz(void *opaque, uint8_t *bytes, size_t size, uint8_t **out, uint8_t *other,
		       size_t other_size, size_t most);
void afl_custom_deinit(void *opaque);

struct state {
	struct dice dice;
	size_t command_bytes;
	uint8_t bytes[BYTES_MOST];
};

void *afl_custom_init(void *afl, unsigned seed)
{
	struct state *state = calloc(1, sizeof(*state));
	const char *number = getenv("QCOW2_FUZZ_COMMAND_BYTES");

	(void)afl;
	if (!state)
		return NULL;
	state->dice.state = seed * 2 + UINT64_C(1);
	state->command_bytes = number ? strtoul(number, NULL, 10) : 0;
	return state;
}

size_t afl_custom_fuzz(void *opaque, uint8_t *bytes, size_t size, uint8_t **out, uint8_t *other,
		       size_t other_size, size_t most)
{
	struct state *state = opaque;
	const uint64_t seed = dice_roll(&state->dice) >> 1;

	*out = state->bytes;
	if (most > BYTES_MOST)
		most = BYTES_MOST;
	if (other && dice_once_in(&state->dice, 16))
		return mutate_cross((struct qcow2_bytes){bytes, size},
				    (struct qcow2_bytes){other, other_size}, *out, most, seed);
	memcpy(*out, bytes, size < most ? size : most);
	return mutate(*out, size < most ? size : most, most, state->command_bytes, seed);
}

void afl_custom_deinit(void *opaque)
{
	free(opaque);
}
