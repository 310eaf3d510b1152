/* SPDX-License-Identifier: MIT */
/* Writing: the checks before a backend sees it, and the files that an edit makes. See write.h. */
#include "source/write.h"

#include "base/checked.h"
#include "base/error.h"
#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

bool qcow2_source_is_writable(const struct qcow2_source *source)
{
	return source->backend->write != NULL;
}

bool qcow2_source_has_fixed_size(const struct qcow2_source *source)
{
	return source->backend->fixed_size;
}

static int check_range(const struct qcow2_source *source, uint64_t end, struct qcow2_error *err)
{
	if (!source->backend->write)
		return qcow2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				  "it was opened for reading only");
	if (end > INT64_MAX || (source->backend->fixed_size && end > source->size_bytes))
		return qcow2_fail(err, QCOW2_ERROR_ARGUMENT, QCOW2_NO_OFFSET,
				  "its size of %" PRIu64 " bytes cannot become %" PRIu64,
				  source->size_bytes, end);
	return 0;
}

int qcow2_source_write(struct qcow2_source *source, uint64_t offset_bytes, const void *bytes,
		       size_t size, struct qcow2_error *err)
{
	uint64_t end;
	int errnum;

	if (qcow2_add_u64(offset_bytes, size, &end))
		end = UINT64_MAX;
	if (check_range(source, end, err))
		return -1;
	errnum = source->backend->write(source, offset_bytes, bytes, size);
	if (errnum != 0)
		return qcow2_fail_errno(err, errnum, offset_bytes,
					"cannot write %zu bytes at 0x%" PRIx64, size, offset_bytes);
	if (end > source->size_bytes)
		source->size_bytes = end;
	return 0;
}

int qcow2_source_resize(struct qcow2_source *source, uint64_t size_bytes, struct qcow2_error *err)
{
	int errnum;

	if (check_range(source, size_bytes, err))
		return -1;
	errnum = source->backend->resize ? source->backend->resize(source, size_bytes) : 0;
	if (errnum != 0)
		return qcow2_fail_errno(err, errnum, QCOW2_NO_OFFSET,
					"cannot change the size to %" PRIu64 " bytes", size_bytes);
	if (source->backend->resize)
		source->size_bytes = size_bytes;
	return 0;
}

int qcow2_source_sync(struct qcow2_source *source, struct qcow2_error *err)
{
	int errnum;

	if (check_range(source, 0, err))
		return -1;
	errnum = source->backend->sync(source);
	return errnum == 0 ? 0
			   : qcow2_fail_errno(err, errnum, QCOW2_NO_OFFSET, "cannot write it out");
}

void qcow2_source_identify(const struct qcow2_source *source,
			   struct qcow2_source_identity *identity)
{
	struct stat st;

	*identity = (struct qcow2_source_identity){0, 0};
	if (!source->is_file || fstat(source->fd, &st) < 0)
		return;
	identity->device = (uint64_t)st.st_dev;
	identity->inode = (uint64_t)st.st_ino;
}

int qcow2_source_create(const char *path, struct qcow2_source **out, struct qcow2_error *err)
{
	return qcow2_source_open_file(path, O_RDWR | O_CREAT | O_EXCL, out, err);
}

int qcow2_source_reopen(const char *path, struct qcow2_source **out, struct qcow2_error *err)
{
	return qcow2_source_open_file(path, O_RDWR, out, err);
}

/* The folder that a path is in. False if the path is too long. */
static bool folder_of(const char *path, char *folder)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;

	if (length >= PATH_BYTES) {
		errno = ENAMETOOLONG;
		return false;
	}
	memcpy(folder, path, length);
	folder[length] = '\0';
	if (length == 0)
		memcpy(folder, slash ? "/" : ".", 2);
	return true;
}

int qcow2_source_sync_name(const char *path, struct qcow2_error *err)
{
	char folder[PATH_BYTES];
	int fd = folder_of(path, folder) ? qcow2_descriptor_open(folder, O_RDONLY | O_DIRECTORY)
					 : -1;
	int errnum = fd < 0 || fsync(fd) < 0 ? errno : 0;

	if (fd >= 0)
		(void)close(fd);
	/* Some file systems cannot sync a folder, and need not. */
	if (errnum == 0 || (fd >= 0 && errnum == EINVAL))
		return 0;
	return qcow2_fail_errno(err, errnum, QCOW2_NO_OFFSET, "cannot write out the folder");
}

bool qcow2_source_remove(const char *path)
{
	return unlink(path) == 0;
}
