/* SPDX-License-Identifier: MIT */
/* See classify.h. Widths below a byte are least significant bit first, those above big-endian. */
#include "check/classify.h"

#include <string.h>

#include "base/bytes.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_AVX2 1
#endif

/* 64 bits whose bit i is bit i % 8 of byte i / 8. */
static uint64_t load_bits(const uint8_t *bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)bytes[i] << (i * 8);
	return value;
}

static struct q2_refcount_classes classify_1(const uint8_t *bytes)
{
	uint64_t ones = load_bits(bytes);

	return (struct q2_refcount_classes){~ones, ones};
}

/* Refcounts of bits each, which a byte holds several of. */
static inline struct q2_refcount_classes classify_narrow(const uint8_t *bytes, unsigned bits)
{
	struct q2_refcount_classes classes = {0, 0};
	unsigned per_byte = 8 / bits, mask = (1U << bits) - 1;

	for (unsigned i = 0; i < 64; i++) {
		unsigned value = (unsigned)bytes[i / per_byte] >> (i % per_byte * bits) & mask;

		classes.zero |= (uint64_t)(value == 0) << i;
		classes.one |= (uint64_t)(value == 1) << i;
	}
	return classes;
}

static struct q2_refcount_classes classify_2(const uint8_t *bytes)
{
	return classify_narrow(bytes, 2);
}

static struct q2_refcount_classes classify_4(const uint8_t *bytes)
{
	return classify_narrow(bytes, 4);
}

/* Refcounts of width bytes each. */
static inline struct q2_refcount_classes classify_wide(const uint8_t *bytes, unsigned width)
{
	struct q2_refcount_classes classes = {0, 0};

	for (unsigned i = 0; i < 64; i++) {
		uint64_t value = q2_load_be(bytes + (size_t)i * width, width);

		classes.zero |= (uint64_t)(value == 0) << i;
		classes.one |= (uint64_t)(value == 1) << i;
	}
	return classes;
}

static struct q2_refcount_classes classify_8(const uint8_t *bytes)
{
	return classify_wide(bytes, 1);
}

static struct q2_refcount_classes classify_16(const uint8_t *bytes)
{
	return classify_wide(bytes, 2);
}

static struct q2_refcount_classes classify_32(const uint8_t *bytes)
{
	return classify_wide(bytes, 4);
}

static struct q2_refcount_classes classify_64(const uint8_t *bytes)
{
	return classify_wide(bytes, 8);
}

#ifdef HAVE_AVX2
/* Which of 32 refcounts of 16 bits equal value, which is in the byte order of the file. */
__attribute__((target("avx2"))) static uint32_t equal_16(const uint8_t *bytes, int16_t value)
{
	const __m256i wanted = _mm256_set1_epi16(value);
	__m256i low = _mm256_loadu_si256((const __m256i *)(const void *)bytes);
	__m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + 32));
	__m256i packed = _mm256_packs_epi16(_mm256_cmpeq_epi16(low, wanted),
					    _mm256_cmpeq_epi16(high, wanted));

	/* Packing works within halves: put the quarters back in order. */
	return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(packed, 0xd8));
}

__attribute__((target("avx2"))) static struct q2_refcount_classes
classify_16_avx2(const uint8_t *bytes)
{
	const int16_t one = 0x0100; /* 1, read as little-endian */

	return (struct q2_refcount_classes){
		equal_16(bytes, 0) | (uint64_t)equal_16(bytes + 64, 0) << 32,
		equal_16(bytes, one) | (uint64_t)equal_16(bytes + 64, one) << 32,
	};
}
#endif

q2_classify q2_classify_portable(unsigned order)
{
	static const q2_classify by_order[] = {classify_1,  classify_2,  classify_4, classify_8,
					       classify_16, classify_32, classify_64};

	return by_order[order];
}

q2_classify q2_classify_choose(unsigned order)
{
#ifdef HAVE_AVX2
	if (order == 4 && __builtin_cpu_supports("avx2"))
		return classify_16_avx2;
#endif
	return q2_classify_portable(order);
}
