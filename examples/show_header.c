/* SPDX-License-Identifier: MIT */
/*
 * Prints the header of an image by walking the table of its fields over the first bytes of the
 * file. Needs no successful open, so it also shows a header that is too broken for one.
 */
#include <inttypes.h>
#include <stdio.h>

#include <qcow2/format.h>
#include <qcow2/source.h>

static void print_field(const struct qcow2_field *field, const uint8_t *raw, size_t size)
{
	/* Only entries of tables have bits that move with the cluster size; the header has none. */
	const uint64_t value = qcow2_field_load(field, raw, size, 16);
	const char *name;

	switch (field->style) {
	case QCOW2_STYLE_HEX:
	case QCOW2_STYLE_HEX_SIZE:
	case QCOW2_STYLE_MAGIC:
	case QCOW2_STYLE_FLAGS:
		printf("%4u %-25s 0x%" PRIx64, (unsigned)field->offset_bytes, field->name, value);
		break;
	default:
		printf("%4u %-25s %" PRIu64, (unsigned)field->offset_bytes, field->name, value);
		break;
	}
	name = field->names && !field->names->bits ? qcow2_names_find(field->names, value) : NULL;
	if (name)
		printf(" (%s)", name);
	printf("\n");
}

static int show(struct qcow2_source *source, struct qcow2_error *err)
{
	const struct qcow2_structure *header = &qcow2_header_structure;
	const uint64_t file_size = qcow2_source_size_bytes(source);
	uint8_t raw[512] = {0};
	size_t size = sizeof(raw);

	if (size > file_size)
		size = (size_t)file_size;
	if (qcow2_source_read(source, 0, raw, size, err) != 0)
		return -1;
	for (size_t i = 0; i < header->field_count; i++) {
		const struct qcow2_field *field = &header->fields[i];

		/* What the file does not have is not shown as zeros. */
		if ((size_t)field->offset_bytes + field->width_bytes <= size)
			print_field(field, raw, size);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct qcow2_source *source = NULL;
	struct qcow2_error err;
	int status = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: show_header FILE\n");
		return 1;
	}
	if (qcow2_source_open(argv[1], &source, &err) == 0 && show(source, &err) == 0)
		status = 0;
	else
		fprintf(stderr, "show_header: %s: %s\n", argv[1], err.text);
	qcow2_source_close(source);
	return status;
}
