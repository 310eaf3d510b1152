/* SPDX-License-Identifier: MIT */
/*
 * Writes bytes of an image's virtual disk to standard output, and reads past what is damaged. Shows
 * how to open a disk with a gate, which here allows only files in the image's own folder, and how to
 * learn what cannot be read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2/guest.h>
#include <qcow2/image.h>
#include <qcow2/source.h>

#define PIECE_BYTES ((size_t)1 << 20)
/* Each file of a chain may have a data file. */
#define FILES_MOST (2 * QCOW2_DISK_DEPTH_MAX)

/* What the gate knows: the folder, and what it has opened, which is ours to close. */
struct gate {
	const char *image_path;
	struct qcow2_source *opened[FILES_MOST];
	size_t count;
};

/* ---- the gate ---- */

/*
 * Makes the path of a file in the folder of the image. A name with a slash may lead anywhere, and one
 * with a colon may be a protocol of QEMU; a program for images of strangers should also refuse
 * symbolic links. Returns NULL if the name is not allowed; else the caller frees the path.
 */
static char *path_of(const struct gate *gate, struct qcow2_bytes name)
{
	const char *slash = strrchr(gate->image_path, '/');
	const size_t folder = slash ? (size_t)(slash - gate->image_path) + 1 : 0;
	char *path;

	if (name.size == 0 || memchr(name.data, '/', name.size) ||
	    memchr(name.data, ':', name.size) || memchr(name.data, '\0', name.size))
		return NULL;
	path = malloc(folder + name.size + 1);
	if (!path)
		return NULL;
	memcpy(path, gate->image_path, folder);
	memcpy(path + folder, name.data, name.size);
	path[folder + name.size] = '\0';
	return path;
}

static bool says(struct qcow2_bytes bytes, const char *word)
{
	return bytes.size == strlen(word) && memcmp(bytes.data, word, bytes.size) == 0;
}

/* The format has to be stated: who guesses takes a disk that looks like an image for one. */
static int format_of(const struct qcow2_disk_wanted *wanted)
{
	if (wanted->role == QCOW2_DISK_DATA_FILE || says(wanted->format, "raw"))
		return QCOW2_DISK_GIVEN_RAW;
	return says(wanted->format, "qcow2") ? QCOW2_DISK_GIVEN_QCOW2 : QCOW2_DISK_REFUSED;
}

static int refuse(struct qcow2_error *err, const char *why)
{
	*err = (struct qcow2_error){.code = QCOW2_ERROR_UNSUPPORTED,
				    .offset_bytes = QCOW2_NO_OFFSET};
	snprintf(err->text, sizeof(err->text), "%s", why);
	return QCOW2_DISK_REFUSED;
}

static int open_gate(void *opaque, const struct qcow2_disk_wanted *wanted,
		     struct qcow2_source **source, struct qcow2_error *err)
{
	struct gate *gate = opaque;
	const int answer = format_of(wanted);
	char *path;
	int failed;

	if (answer == QCOW2_DISK_REFUSED)
		return refuse(err, "the format of the backing file is not raw or qcow2");
	if (gate->count == FILES_MOST)
		return refuse(err, "there are too many files");
	path = path_of(gate, wanted->name);
	if (!path)
		return refuse(err, "only files in the folder of the image are read");
	failed = qcow2_source_open(path, source, err);
	free(path);
	if (failed)
		return QCOW2_DISK_REFUSED; /* QCOW2_DISK_MISSING would read what there is */
	gate->opened[gate->count++] = *source;
	return answer;
}

/* ---- reading ---- */

static int tell_fault(void *opaque, const struct qcow2_disk_fault *fault)
{
	uint64_t *faults = opaque;

	++*faults;
	fprintf(stderr, "0x%" PRIx64 ", %" PRIu64 " bytes: %s\n", fault->start.byte,
		fault->length_bytes, fault->error.text);
	return 0;
}

/* Writes a range; *faults: how many ranges of it are zeros as they cannot be read. */
static int write_range(struct qcow2_disk *disk, uint64_t at, uint64_t length, uint64_t *faults,
		       struct qcow2_error *err)
{
	uint8_t *buffer = malloc(PIECE_BYTES);
	int result = buffer ? 0 : refuse(err, "memory is short");

	while (result == 0 && length > 0) {
		const size_t piece = length < PIECE_BYTES ? (size_t)length : PIECE_BYTES;

		result = qcow2_disk_read_past(disk, (struct qcow2_guest){at}, buffer, piece,
					      tell_fault, faults, err);
		if (result == 0 && fwrite(buffer, 1, piece, stdout) != piece)
			result = refuse(err, "cannot write to standard output");
		at += piece;
		length -= piece;
	}
	free(buffer);
	return result;
}

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 0);
}

int main(int argc, char **argv)
{
	struct gate gate = {.count = 0};
	struct qcow2_disk_options options = {
		.size = sizeof(options), .gate = open_gate, .opaque = &gate};
	struct qcow2_source *source = NULL;
	struct qcow2_image *image = NULL;
	struct qcow2_disk *disk = NULL;
	struct qcow2_error err;
	uint64_t faults = 0;
	int result = -1;

	if (argc != 2 && argc != 4 && argc != 5) {
		fprintf(stderr, "usage: read_disk IMAGE [OFFSET LENGTH [INDEX-OF-SNAPSHOT]]\n");
		return 1;
	}
	gate.image_path = argv[1];
	options.has_snapshot = argc == 5;
	options.snapshot_index = argc == 5 ? number(argv[4]) : 0;
	if (qcow2_source_open(argv[1], &source, &err) == 0 &&
	    qcow2_image_open(source, &image, &err) == 0 &&
	    qcow2_disk_open(image, &options, &disk, &err) == 0)
		result = argc == 2
				 ? write_range(disk, 0, qcow2_disk_size_bytes(disk), &faults, &err)
				 : write_range(disk, number(argv[2]), number(argv[3]), &faults,
					       &err);
	if (result)
		fprintf(stderr, "read_disk: %s: %s\n", argv[1], err.text);
	/* The disk goes before the files that the gate gave it. */
	qcow2_disk_close(disk);
	while (gate.count > 0)
		qcow2_source_close(gate.opened[--gate.count]);
	qcow2_image_close(image);
	qcow2_source_close(source);
	return result ? 1 : faults > 0 ? 2 : 0;
}
