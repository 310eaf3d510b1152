/* SPDX-License-Identifier: MIT */
/* The mutator as libFuzzer calls it. Once in eight times libFuzzer's own one has a try. */
#include "mutator.h"

#define OWN_ONCE_IN 8

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second,
				 size_t second_size, uint8_t *out, size_t most, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
	if (seed % OWN_ONCE_IN == 0)
		return LLVMFuzzerMutate(data, size, most);
	return mutate(data, size, most, &fuzz_command_bytes ? fuzz_command_bytes : 0, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size, const uint8_t *second,
				 size_t second_size, uint8_t *out, size_t most, unsigned seed)
{
	return mutate_cross((struct qcow2_bytes){first, first_size},
			    (struct qcow2_bytes){second, second_size}, out, most, seed);
}
