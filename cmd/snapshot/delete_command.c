/* SPDX-License-Identifier: MIT */
/* The line for a shell that deletes a snapshot. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot/space.h"

#include <qcow2/text.h>

char *space_command(const struct space *space, const struct table_row *row)
{
	const struct snapshot_run *run = space->run;
	static const char start[] = "qemu-img snapshot -d ";
	struct qcow2_bytes name = table_read_text(row->snapshot.name);
	size_t used = sizeof(start) - 1, name_size, file_size;
	char *line;

	if (!table_deletes_by_name(&run->table, row))
		return NULL;
	name_size = qcow2_text_shell(name, NULL, 0);
	file_size = qcow2_text_shell_file(run->file, NULL, 0);
	line = malloc(used + name_size + 1 + file_size + 1);
	if (!line) {
		space->run->out.errnum = ENOMEM;
		return NULL;
	}
	memcpy(line, start, used);
	qcow2_text_shell(name, line + used, name_size + 1);
	used += name_size;
	line[used++] = ' ';
	qcow2_text_shell_file(run->file, line + used, file_size + 1);
	return line;
}
