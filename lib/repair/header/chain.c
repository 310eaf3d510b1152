/* SPDX-License-Identifier: MIT */
/*
 * Finds out where header extensions are, when the numbers that say so are damaged: a chain of
 * extensions that ends with its end mark, and has known types with the lengths that these demand,
 * does not come about by accident ("Header extensions").
 */
#include "repair/header/header.h"

#include "base/bytes.h"
#include "base/utf8.h"
#include "format/extension_kind.h"

#include <qcow2/limits.h>

#define HEAD_BYTES   sizeof(struct qcow2_extension_header)
#define NAME_BYTES   sizeof(struct qcow2_feature_name)
#define STARTS_END   4096 /* no header is longer, as far as a start is searched */
#define LINKS_MOST   4096 /* followed from one start */
#define LENGTHS_MOST 512  /* that are tried for one extension */

static uint64_t padded(uint64_t length)
{
	return (length + 7) & ~UINT64_C(7);
}

/* Whether a known extension may have that length. */
static bool fits(const struct q2_extension_kind *kind, uint32_t length)
{
	if (kind->shape == Q2_EXTENSION_IS_FIELDS)
		return length == kind->structure->size_bytes;
	if (kind->shape == Q2_EXTENSION_IS_FEATURE_NAMES)
		return length % NAME_BYTES == 0;
	return length > 0;
}

struct q2_chain q2_chain_follow(struct qcow2_bytes first, uint64_t at, uint64_t end)
{
	struct q2_chain chain = {.at = at};

	for (unsigned links = 0; links < LINKS_MOST; links++) {
		const struct q2_extension_kind *kind;
		struct qcow2_extension_header head;
		uint64_t room;

		if (chain.at == end && links > 0)
			chain.whole = true;
		if (end < HEAD_BYTES || chain.at > end - HEAD_BYTES)
			break;
		qcow2_extension_header_decode(&head, first.data + chain.at, HEAD_BYTES);
		room = end - chain.at - HEAD_BYTES;
		if (head.length > room)
			break;
		chain.at += HEAD_BYTES;
		if (head.magic == QCOW2_EXTENSION_END) {
			chain.whole = true;
			break;
		}
		kind = q2_extension_kind(head.magic);
		chain.known += kind && fits(kind, head.length);
		chain.score += kind && fits(kind, head.length) ? 8 : -1;
		chain.at += padded(head.length);
	}
	return chain;
}

/* Whether the bytes 104 to 111 can be the fields of a header of 112 bytes. */
static bool has_compression_field(struct qcow2_bytes first)
{
	const size_t at = offsetof(struct qcow2_header, compression_type);

	return first.size >= at + 8 && (q2_load_be64(first.data + at) & ~(UINT64_C(1) << 56)) == 0;
}

uint64_t q2_chain_start(struct qcow2_bytes first, uint64_t claimed, uint64_t end)
{
	const uint64_t usual =
		has_compression_field(first) ? sizeof(struct qcow2_header) : QCOW2_HEADER_V3_BYTES;
	const uint64_t last = end < STARTS_END ? end : STARTS_END;
	uint64_t best = usual;
	int score = 0;

	if (claimed >= QCOW2_HEADER_V3_BYTES && claimed < end) {
		const struct q2_chain chain = q2_chain_follow(first, claimed, end);

		if (chain.whole && chain.known > 0) {
			best = claimed;
			score = chain.score;
		}
	}
	for (uint64_t at = QCOW2_HEADER_V3_BYTES; at + HEAD_BYTES <= last; at += 8) {
		const struct q2_chain chain = q2_chain_follow(first, at, end);

		if (!chain.whole || chain.known == 0 || chain.score <= score)
			continue;
		best = at;
		score = chain.score;
	}
	return best;
}

uint64_t q2_text_run(struct qcow2_bytes first, uint64_t at, uint64_t end)
{
	const uint64_t start = at;

	if (end > first.size)
		end = first.size;
	while (at < end) {
		uint32_t codepoint;
		bool valid;
		size_t step = q2_utf8_next(first.data + at, (size_t)(end - at), &codepoint, &valid);

		if (!valid || !q2_codepoint_printable(codepoint))
			break;
		at += step;
	}
	return at > start ? at - start : 0;
}

/* Lengths that are tried for one extension, the best so far, and what speaks for it. */
struct search {
	struct qcow2_bytes first;
	uint64_t data_at, end;
	uint32_t best;
	struct q2_chain chain;
	bool found;
};

static void try_length(struct search *search, uint64_t length)
{
	struct q2_chain chain;

	if (length > search->end - search->data_at)
		return;
	chain = q2_chain_follow(search->first, search->data_at + padded(length), search->end);
	if (!chain.whole || (search->found && chain.score <= search->chain.score))
		return;
	search->found = true;
	search->chain = chain;
	search->best = (uint32_t)length;
}

static void try_text(struct search *search)
{
	uint64_t run = q2_text_run(search->first, search->data_at, search->end);

	if (run > QCOW2_LIMIT_BACKING_NAME_BYTES)
		run = QCOW2_LIMIT_BACKING_NAME_BYTES;
	if (run > 0)
		try_length(search, run);
	/* The next extension may follow at once, and its type may read as text, too. */
	for (uint64_t length = run & ~UINT64_C(7); length > 0; length -= 8)
		try_length(search, length);
}

/* Nobody knows an unknown type: all is its own up to what is surely not. */
static void try_unknown(struct search *search)
{
	for (uint64_t i = 0; i < LENGTHS_MOST; i++)
		try_length(search, i * 8);
	if (search->found && search->chain.known > 0)
		return;
	for (search->best = (uint32_t)(search->end - search->data_at); search->best > 0;
	     search->best--)
		if (search->first.data[search->data_at + search->best - 1] != 0)
			break;
	search->found = true;
}

bool q2_chain_length(struct qcow2_bytes first, uint64_t at, uint64_t end, uint32_t *length)
{
	struct search search = {.first = first, .data_at = at + HEAD_BYTES, .end = end};
	const struct q2_extension_kind *kind = q2_extension_kind(q2_load_be32(first.data + at));

	if (search.data_at > end)
		return false;
	if (!kind) {
		try_unknown(&search);
	} else if (kind->shape == Q2_EXTENSION_IS_FIELDS) {
		search.best = (uint32_t)kind->structure->size_bytes;
		search.found = search.best <= end - search.data_at;
	} else if (kind->shape == Q2_EXTENSION_IS_FEATURE_NAMES) {
		for (uint64_t i = 0; i < LENGTHS_MOST; i++)
			try_length(&search, i * NAME_BYTES);
	} else {
		try_text(&search);
	}
	*length = search.best;
	return search.found;
}
