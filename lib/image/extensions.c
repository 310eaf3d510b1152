/* SPDX-License-Identifier: MIT */
/* Iterates over header extensions inside the first cluster; needs no I/O. */
#include "image/extensions.h"

#include "base/alloc.h"
#include "base/error.h"
#include "image/internal.h"

#define HEAD_BYTES sizeof(struct qcow2_extension_header)

struct qcow2_extensions {
	struct q2_extensions it;
	struct qcow2_extension current; /* what the caller sees */
};

void q2_extensions_begin(const struct qcow2_image *image, struct q2_extensions *it)
{
	uint64_t backing = image->header.backing_file_offset;
	uint64_t end = image->first_size;

	if (backing != 0 && backing < end)
		end = backing;
	*it = (struct q2_extensions){
		.image = image, .at_bytes = image->header.header_length, .end_bytes = end};
}

/* Views size bytes at host offset `offset`, cut where the extension area ends. */
static struct qcow2_bytes within(const struct q2_extensions *it, uint64_t offset, uint64_t size)
{
	uint64_t left = offset < it->end_bytes ? it->end_bytes - offset : 0;

	if (left == 0)
		return (struct qcow2_bytes){NULL, 0};
	return (struct qcow2_bytes){it->image->first + offset, (size_t)(size < left ? size : left)};
}

bool q2_extensions_next(struct q2_extensions *it, struct qcow2_extension *out)
{
	uint64_t data_at, padded;

	if (it->ended || it->end_bytes < HEAD_BYTES || it->at_bytes > it->end_bytes - HEAD_BYTES) {
		it->ended = true;
		return false;
	}
	*out = (struct qcow2_extension){
		.size = sizeof(*out), .offset_bytes = it->at_bytes, .index = it->next_index};
	out->raw = within(it, it->at_bytes, HEAD_BYTES);
	qcow2_extension_header_decode(&out->header, out->raw.data, out->raw.size);
	if (out->header.magic == QCOW2_EXTENSION_END) {
		it->ended = true;
		it->terminated = true;
		return false;
	}
	data_at = it->at_bytes + HEAD_BYTES;
	padded = ((uint64_t)out->header.length + 7) & ~UINT64_C(7);
	out->data = within(it, data_at, out->header.length);
	out->padding = within(it, data_at + out->header.length, padded - out->header.length);
	out->cut = out->data.size < out->header.length;
	it->at_bytes = data_at + padded;
	it->ended = out->cut;
	it->next_index++;
	return true;
}

bool q2_find_extension(const struct qcow2_image *image, uint32_t magic, struct qcow2_extension *out)
{
	struct q2_extensions it;

	q2_extensions_begin(image, &it);
	while (q2_extensions_next(&it, out))
		if (out->header.magic == magic)
			return true;
	return false;
}

int qcow2_extensions_open(const struct qcow2_image *image, struct qcow2_extensions **out,
			  struct qcow2_error *err)
{
	struct qcow2_extensions *extensions = q2_alloc(sizeof(*extensions));

	if (!extensions)
		return q2_fail_memory(err);
	q2_extensions_begin(image, &extensions->it);
	*out = extensions;
	return 0;
}

bool qcow2_extensions_next(struct qcow2_extensions *extensions, const struct qcow2_extension **out)
{
	/* What is read of an end mark must not show in an extension that was handed out. */
	struct qcow2_extension next;

	if (!q2_extensions_next(&extensions->it, &next))
		return false;
	extensions->current = next;
	*out = &extensions->current;
	return true;
}

bool qcow2_extensions_terminated(const struct qcow2_extensions *extensions)
{
	return extensions->it.terminated;
}

uint64_t qcow2_extensions_at_bytes(const struct qcow2_extensions *extensions)
{
	return extensions->it.at_bytes;
}

void qcow2_extensions_close(struct qcow2_extensions *extensions)
{
	q2_free(extensions);
}

bool qcow2_image_find_extension(const struct qcow2_image *image, uint32_t magic,
				struct qcow2_bytes *data)
{
	struct qcow2_extension extension;

	if (!q2_find_extension(image, magic, &extension))
		return false;
	*data = extension.data;
	return true;
}
