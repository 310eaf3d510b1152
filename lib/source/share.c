/* SPDX-License-Identifier: MIT */
/*
 * Shares blocks of a file with another one. Copying in the kernel (copy_file_range()) is not done
 * here: where blocks cannot be shared it takes as long as reading and writing, and nobody sees the
 * zeros that need not be written.
 */
#include "source/source.h"

#include "base/checked.h"

#include <errno.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

bool qcow2_source_share(const struct qcow2_source *source, uint64_t offset_bytes, uint64_t size,
			int fd, uint64_t fd_offset_bytes)
{
#ifdef FICLONERANGE
	struct file_clone_range range = {
		.src_offset = offset_bytes, .src_length = size, .dest_offset = fd_offset_bytes};
	int result;

	/* The system takes a length of 0 for all that follows. */
	if (!source->is_file || size == 0 || !q2_range_fits(offset_bytes, size, source->size_bytes))
		return false;
	range.src_fd = source->fd;
	do {
		result = ioctl(fd, FICLONERANGE, &range);
	} while (result < 0 && errno == EINTR);
	return result == 0;
#else
	(void)source, (void)offset_bytes, (void)size, (void)fd, (void)fd_offset_bytes;
	return false;
#endif
}
