/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the guest's bytes: an image, over itself as a backing or data file, as the last bytes of the
 * input say. Extents must cover the disk without gaps; what they say is in a file must be what is read;
 * a range read in one piece, in halves, and past what is damaged must give the same.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2/guest.h>

#define IMAGE_MOST    ((size_t)1 << 18)
#define EXTENTS_MOST  2000
#define COMPARED_MOST 64
#define PLACES        3
#define READ_MOST     ((size_t)1 << 18)
#define DEPTH_MOST    4
#define COMMAND_BYTES 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const size_t fuzz_command_bytes;
const size_t fuzz_command_bytes = COMMAND_BYTES;

static uint8_t first[READ_MOST], second[READ_MOST], third[READ_MOST];

struct input {
	struct qcow2_source *source; /* of the image */
	struct qcow2_source *files[DEPTH_MOST * 2];
	unsigned count;
	struct qcow2_bytes bytes;
	const uint8_t *commands;
};

static void demand(bool truth)
{
	if (!truth)
		abort();
}

/* ---- opening ---- */

/* A file that begins within the image, so that raw files are not all alike. */
static int gate(void *opaque, const struct qcow2_disk_wanted *wanted, struct qcow2_source **source,
		struct qcow2_error *err)
{
	struct input *input = opaque;
	const bool data = wanted->role == QCOW2_DISK_DATA_FILE;
	const unsigned command = input->commands[data ? 4 : wanted->depth % 4];
	const bool last = wanted->depth + 1 >= DEPTH_MOST;
	size_t from = 0;

	(void)err;
	demand(wanted->size == sizeof(*wanted) && wanted->image);
	if (command % 8 == 0 || input->count == sizeof(input->files) / sizeof(input->files[0]))
		return QCOW2_DISK_REFUSED;
	if (command % 8 == 1)
		return QCOW2_DISK_MISSING;
	if (data || last || command % 8 < 4)
		from = (command >> 3) * (size_t)77 % (input->bytes.size + 1);
	demand(qcow2_source_from_memory(input->bytes.data + from, input->bytes.size - from, source,
					NULL) == 0);
	input->files[input->count++] = *source;
	return data || last || command % 8 < 4 ? QCOW2_DISK_GIVEN_RAW : QCOW2_DISK_GIVEN_QCOW2;
}

/* Files that cannot be opened are missing. */
static int lose(void *opaque, uint32_t depth, const struct qcow2_error *err)
{
	(void)opaque;
	demand(depth > 0 && depth <= DEPTH_MOST);
	demand(err->code != QCOW2_ERROR_NONE && err->text[0] != '\0');
	return 0;
}

static bool open_disk(struct input *input, const struct qcow2_image *image, struct qcow2_disk **out)
{
	struct qcow2_disk_options options = {.size = sizeof(options),
					     .gate = gate,
					     .opaque = input,
					     .has_snapshot = input->commands[5] & 1,
					     .vm_state = (input->commands[5] & 3) == 3,
					     .snapshot_index = input->commands[6] % 4,
					     .memory_limit_bytes = (uint64_t)input->commands[7]
								   << 12,
					     .lost = input->commands[5] & 4 ? lose : NULL};
	struct qcow2_error err = {.code = QCOW2_ERROR_NONE};
	const int failed = qcow2_disk_open(image, &options, out, &err);

	demand(!failed || (err.code != QCOW2_ERROR_NONE && err.code != QCOW2_ERROR_MEMORY &&
			   err.code != QCOW2_ERROR_ARGUMENT && err.code != QCOW2_ERROR_IO));
	return !failed;
}

/* ---- reading ---- */

/* What read_past() told of a range. */
struct faults {
	uint64_t at, end; /* the next one is not before `at` and ends at `end` at the latest */
	unsigned count;
	uint64_t first_byte;
	struct qcow2_error error; /* of the first one */
	const uint8_t *buffer;
	uint64_t start; /* of the buffer */
};

static int hear(void *opaque, const struct qcow2_disk_fault *fault)
{
	struct faults *faults = opaque;

	demand(fault->size == sizeof(*fault) && fault->length_bytes > 0);
	demand(fault->start.byte >= faults->at && fault->start.byte < faults->end);
	demand(fault->length_bytes <= faults->end - fault->start.byte);
	demand(fault->error.code == QCOW2_ERROR_BROKEN ||
	       fault->error.code == QCOW2_ERROR_NOT_FOUND);
	faults->at = fault->start.byte + fault->length_bytes;
	for (uint64_t i = 0; i < fault->length_bytes; i++)
		demand(faults->buffer[fault->start.byte - faults->start + i] == 0);
	if (faults->count++ == 0) {
		faults->first_byte = fault->start.byte;
		faults->error = fault->error;
	}
	return 0;
}

/* Reads, and judges the error. */
static enum qcow2_error_code read_at(struct qcow2_disk *disk, uint64_t at, uint8_t *buffer,
				     size_t size)
{
	struct qcow2_error err;

	if (qcow2_disk_read(disk, (struct qcow2_guest){at}, buffer, size, &err) == 0)
		return QCOW2_ERROR_NONE;
	demand(err.code == QCOW2_ERROR_BROKEN || err.code == QCOW2_ERROR_NOT_FOUND ||
	       err.code == QCOW2_ERROR_LIMIT);
	demand(!strstr(err.text, "pass the end"));
	return err.code;
}

static void judge_range(struct qcow2_disk *disk, uint64_t at, size_t size)
{
	struct faults faults = {.at = at, .end = at + size, .buffer = second, .start = at};
	const enum qcow2_error_code whole = read_at(disk, at, first, size);
	enum qcow2_error_code left, right;
	struct qcow2_error err;

	memset(second, 0xa5, size);
	if (qcow2_disk_read_past(disk, (struct qcow2_guest){at}, second, size, hear, &faults,
				 &err)) {
		demand(err.code == QCOW2_ERROR_LIMIT && whole != QCOW2_ERROR_NONE);
		return;
	}
	demand((whole == QCOW2_ERROR_NONE) == (faults.count == 0));
	demand(faults.count == 0 || faults.error.code == whole);
	left = read_at(disk, at, third, size / 2);
	right = read_at(disk, at + size / 2, third + size / 2, size - size / 2);
	demand((left || right) == (whole != QCOW2_ERROR_NONE));
	if (faults.count == 0)
		demand(memcmp(first, second, size) == 0 && memcmp(first, third, size) == 0);
	else if (faults.first_byte > at)
		/* What was read before the first fault is good. */
		demand(read_at(disk, at, first, (size_t)(faults.first_byte - at)) ==
			       QCOW2_ERROR_NONE &&
		       memcmp(first, second, (size_t)(faults.first_byte - at)) == 0);
}

/* ---- extents ---- */

static bool alike(const struct qcow2_disk_extent *a, const struct qcow2_disk_extent *b)
{
	if (a->kind != b->kind || a->depth != b->depth || a->problem != b->problem ||
	    a->source != b->source || a->compressed || b->compressed)
		return false;
	return !a->source || a->host.byte + a->length_bytes == b->host.byte;
}

static void judge_extent(struct qcow2_disk *disk, const struct qcow2_disk_extent *e)
{
	const bool is_data = e->kind == QCOW2_DISK_DATA;

	demand(e->size == sizeof(*e) && e->length_bytes > 0);
	demand(qcow2_disk_kind_name(e->kind) != NULL && e->depth < qcow2_disk_depth(disk));
	demand(is_data == (e->source != NULL) && is_data == (e->host.byte != QCOW2_NO_OFFSET));
	demand(is_data || (!e->compressed && !e->encrypted));
	demand(e->problem == QCOW2_PROBLEM_NONE || e->kind == QCOW2_DISK_UNREADABLE);
}

/* Reads where an extent begins, and compares with what the extent says. */
static void judge_bytes(struct qcow2_disk *disk, const struct qcow2_disk_extent *e)
{
	const size_t size =
		e->length_bytes < READ_MOST / 4 ? (size_t)e->length_bytes : READ_MOST / 4;
	const enum qcow2_error_code code = read_at(disk, e->start.byte, first, size);
	uint64_t there = 0;

	if (e->kind == QCOW2_DISK_UNREADABLE) {
		demand(code == QCOW2_ERROR_BROKEN || code == QCOW2_ERROR_NOT_FOUND);
		return;
	}
	if (e->compressed || code == QCOW2_ERROR_LIMIT)
		return;
	demand(code == QCOW2_ERROR_NONE);
	memset(second, 0, size);
	if (e->source && qcow2_source_size_bytes(e->source) > e->host.byte)
		there = qcow2_source_size_bytes(e->source) - e->host.byte;
	if (there > size)
		there = size;
	demand(there == 0 ||
	       qcow2_source_read(e->source, e->host.byte, second, (size_t)there, NULL) == 0);
	demand(memcmp(first, second, size) == 0);
}

static void judge_extents(struct qcow2_disk *disk)
{
	struct qcow2_disk_extents *extents;
	const struct qcow2_disk_extent *e;
	struct qcow2_disk_extent last = {0}, some[COMPARED_MOST];
	struct qcow2_error err;
	unsigned count = 0;
	uint64_t at = 0;
	int more;

	demand(qcow2_disk_extents_open(disk, &extents, &err) == 0);
	while ((more = qcow2_disk_extents_next(extents, &e, &err)) > 0 && count < EXTENTS_MOST) {
		demand(e->start.byte == at && (count == 0 || !alike(&last, e)));
		judge_extent(disk, e);
		at += e->length_bytes;
		last = some[count++ % COMPARED_MOST] = *e;
	}
	demand(more != 0 || at == qcow2_disk_size_bytes(disk));
	demand(more >= 0 || err.code == QCOW2_ERROR_LIMIT);
	for (unsigned i = 0; i < count && i < COMPARED_MOST; i++)
		judge_bytes(disk, &some[i]);
	qcow2_disk_extents_close(extents);
}

/* ---- the input ---- */

static uint64_t number_of(const uint8_t *bytes, unsigned width)
{
	uint64_t number = 0;

	while (width-- > 0)
		number = number << 8 | *bytes++;
	return number;
}

static void judge_disk(struct qcow2_disk *disk, const uint8_t *commands)
{
	const uint64_t disk_bytes = qcow2_disk_size_bytes(disk);

	judge_extents(disk);
	for (unsigned i = 0; i < PLACES && disk_bytes > 0; i++) {
		const uint8_t *place = commands + 8 + i * 8;
		const uint64_t at = number_of(place, 5) % disk_bytes;
		uint64_t size = number_of(place + 5, 3) % READ_MOST;

		if (size > disk_bytes - at)
			size = disk_bytes - at;
		judge_range(disk, at, (size_t)size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {.count = 0};
	struct qcow2_disk *disk;
	struct qcow2_image *image;

	if (size < COMMAND_BYTES || size > IMAGE_MOST)
		return 0;
	input.bytes = (struct qcow2_bytes){data, size - COMMAND_BYTES};
	input.commands = data + input.bytes.size;
	demand(qcow2_source_from_memory(data, input.bytes.size, &input.source, NULL) == 0);
	if (qcow2_image_open(input.source, &image, NULL) == 0) {
		if (open_disk(&input, image, &disk)) {
			judge_disk(disk, input.commands);
			qcow2_disk_close(disk);
		}
		qcow2_image_close(image);
	}
	while (input.count > 0)
		qcow2_source_close(input.files[--input.count]);
	qcow2_source_close(input.source);
	return 0;
}
