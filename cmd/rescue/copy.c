/* SPDX-License-Identifier: MIT */
/* Copies an image: see files.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/open_image.h"
#include "common/report.h"
#include "rescue/files.h"
#include "rescue/new_file.h"

#define PIECE_BYTES ((size_t)1 << 20)

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Copies all that is no hole and no piece of zeros. */
static int copy_data(struct rescue_run *run, struct qcow2_source *from, struct new_file *to,
		     uint8_t *piece)
{
	uint64_t end = qcow2_source_size_bytes(from);
	struct qcow2_error err;

	for (uint64_t at = 0; at < end;) {
		uint64_t hole = qcow2_source_hole_end(from, at);
		size_t size = PIECE_BYTES;

		if (hole > at) {
			at = hole;
			continue;
		}
		if (size > end - at)
			size = (size_t)(end - at);
		if (qcow2_source_read(from, at, piece, size, &err))
			return report_error(run->command, run->change.report.file, &err);
		if (!is_zero(piece, size) && !new_file_write(to, at, piece, size))
			break;
		at += size;
	}
	new_file_resize(to, end);
	return EXIT_FINE;
}

int rescue_copy(struct rescue_run *run)
{
	const char *file = run->change.report.file;
	struct qcow2_source *from;
	struct qcow2_error err;
	struct new_file to;
	uint8_t *piece = NULL;
	int code;

	if (limits_open(run->command->common, file, &from, &err))
		return report_error(run->command, file, &err);
	warn_in_use(run->command, file, from);
	code = new_file_open(&to, run->command, run->target, 0666);
	if (code == EXIT_FINE) {
		if (!qcow2_source_share(from, 0, qcow2_source_size_bytes(from), to.fd, 0)) {
			piece = malloc(PIECE_BYTES);
			code = piece ? copy_data(run, from, &to, piece)
				     : report_text(run->command, file, "out of memory");
		}
		code = new_file_close(&to, code);
	}
	free(piece);
	qcow2_source_close(from);
	return code;
}
