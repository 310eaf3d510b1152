/* SPDX-License-Identifier: MIT */
/*
 * Makes the headers of this system look like those of another one, for tests/run portable: what is
 * declared here is declared before all others, and then taken away. THEIRS_FREEBSD or THEIRS_MACOS says
 * which.
 * The check adds a folder of headers that those systems lack.
 *
 * From the manual pages of FreeBSD 14 and macOS 14. It shows which names are missing there; it does not
 * show that a name means the same.
 */
#ifdef THEIRS_MACOS
#define st_atim st_atimespec
#define st_ctim st_ctimespec
#define st_mtim st_mtimespec
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* A call of a name that is not declared is an error. */
#define IS_NOT_THERE(name) name##_is_not_there

/* ---- what Linux alone has ---- */

#undef __gnu_linux__
#undef __linux
#undef __linux__
#undef linux

#undef F_OFD_GETLK
#undef F_OFD_SETLK
#undef F_OFD_SETLKW
#undef FALLOC_FL_KEEP_SIZE
#undef FALLOC_FL_PUNCH_HOLE
#undef FALLOC_FL_ZERO_RANGE
#undef CLOCK_BOOTTIME
#undef CLOCK_MONOTONIC_COARSE
#undef CLOCK_REALTIME_COARSE
#undef EBADFD
#undef EHWPOISON
#undef EKEYEXPIRED
#undef EMEDIUMTYPE
#undef ENOKEY
#undef ENOMEDIUM
#undef EREMOTEIO
#undef EUCLEAN
#undef MADV_HUGEPAGE
#undef MAP_HUGETLB
#undef MAP_POPULATE
#undef O_DIRECT
#undef O_LARGEFILE
#undef O_NOATIME
#undef O_TMPFILE
#undef RENAME_EXCHANGE
#undef RENAME_NOREPLACE
#undef RWF_HIPRI
#undef RWF_NOWAIT
#undef SCHED_BATCH
#undef SCHED_IDLE
#undef STATX_BASIC_STATS
#undef STATX_BTIME
#define fallocate                     IS_NOT_THERE(fallocate)
#define fgetc_unlocked                IS_NOT_THERE(fgetc_unlocked)
#define fputs_unlocked                IS_NOT_THERE(fputs_unlocked)
#define fwrite_unlocked               IS_NOT_THERE(fwrite_unlocked)
#define gettid                        IS_NOT_THERE(gettid)
#define mempcpy                       IS_NOT_THERE(mempcpy)
#define mremap                        IS_NOT_THERE(mremap)
#define preadv2                       IS_NOT_THERE(preadv2)
#define pwritev2                      IS_NOT_THERE(pwritev2)
#define readahead                     IS_NOT_THERE(readahead)
#define renameat2                     IS_NOT_THERE(renameat2)
#define splice                        IS_NOT_THERE(splice)
#define statx                         IS_NOT_THERE(statx)
#define strverscmp                    IS_NOT_THERE(strverscmp)
#define sync_file_range               IS_NOT_THERE(sync_file_range)
#define syncfs                        IS_NOT_THERE(syncfs)
#define versionsort                   IS_NOT_THERE(versionsort)
#define canonicalize_file_name        IS_NOT_THERE(canonicalize_file_name)
#define program_invocation_name       IS_NOT_THERE(program_invocation_name)
#define program_invocation_short_name IS_NOT_THERE(program_invocation_short_name)
/* Their order of arguments is another one. */
#define qsort_r IS_NOT_THERE(qsort_r)

#ifdef THEIRS_FREEBSD
#define __FreeBSD__ 14
#undef ENODATA
#undef O_PATH /* since 13.1 */
#endif

#ifdef THEIRS_MACOS
#define __APPLE__ 1
#define __MACH__  1
#undef CPU_COUNT
#undef GRND_NONBLOCK
#undef GRND_RANDOM
#undef O_PATH
#undef O_RSYNC
#undef POSIX_FADV_DONTNEED
#undef POSIX_FADV_NORMAL
#undef POSIX_FADV_SEQUENTIAL
#undef POSIX_FADV_WILLNEED
#undef st_atim
#undef st_ctim
#undef st_mtim
#undef st_mtime
#define st_mtime    st_mtimespec.tv_sec
#define F_FULLFSYNC 51
#define RENAME_EXCL 4
int renamex_np(const char *from, const char *to, unsigned flags);
#define clock_nanosleep           IS_NOT_THERE(clock_nanosleep)
#define copy_file_range           IS_NOT_THERE(copy_file_range)
#define dup3                      IS_NOT_THERE(dup3)
#define execvpe                   IS_NOT_THERE(execvpe)
#define explicit_bzero            IS_NOT_THERE(explicit_bzero)
#define fdatasync                 IS_NOT_THERE(fdatasync)
#define fexecve                   IS_NOT_THERE(fexecve)
#define getrandom                 IS_NOT_THERE(getrandom)
#define memfd_create              IS_NOT_THERE(memfd_create)
#define memrchr                   IS_NOT_THERE(memrchr)
#define pipe2                     IS_NOT_THERE(pipe2)
#define posix_fadvise             IS_NOT_THERE(posix_fadvise)
#define posix_fallocate           IS_NOT_THERE(posix_fallocate)
#define ppoll                     IS_NOT_THERE(ppoll)
#define sched_getaffinity         IS_NOT_THERE(sched_getaffinity)
#define secure_getenv             IS_NOT_THERE(secure_getenv)
#define strchrnul                 IS_NOT_THERE(strchrnul)
#define timer_create              IS_NOT_THERE(timer_create)
#define timer_delete              IS_NOT_THERE(timer_delete)
#define timer_settime             IS_NOT_THERE(timer_settime)
#define pthread_condattr_setclock IS_NOT_THERE(pthread_condattr_setclock)
#define timer_t                   IS_NOT_THERE(timer_t)
#define itimerspec                IS_NOT_THERE(itimerspec)
#endif

/* From here on, headers that they lack are errors. */
#define THEIRS
