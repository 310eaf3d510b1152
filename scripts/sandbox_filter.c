/* SPDX-License-Identifier: MIT */
/*
 * Makes the system call filters of the command at build time, so that starting it costs no more
 * than handing one to the kernel. `sandbox_filter CPU` prints a header with programs for seccomp:
 * filter_sealed for commands that have opened all they need, filter_reading for those that open more
 * files for reading, filter_writing for those that make a file, too; filter_naming and
 * filter_reading_naming for those that give an open file its name. See cmd/common/sandbox_system.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Reading, printing, memory, threads and time. */
static const int always[] = {
	SCMP_SYS(read),
	SCMP_SYS(pread64),
	SCMP_SYS(readv),
	SCMP_SYS(preadv),
	SCMP_SYS(preadv2),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(pwrite64),
	SCMP_SYS(lseek),
	SCMP_SYS(close),
	SCMP_SYS(close_range),
	SCMP_SYS(ftruncate),
	SCMP_SYS(fsync),
	SCMP_SYS(fadvise64),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),
	SCMP_SYS(getdents64),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(get_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(membarrier),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getrandom),
	SCMP_SYS(getrusage),
	SCMP_SYS(getrlimit),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
};

/* These only ever take rights away. */
static const int lessening[] = {
	SCMP_SYS(seccomp),
	SCMP_SYS(landlock_create_ruleset),
	SCMP_SYS(landlock_add_rule),
	SCMP_SYS(landlock_restrict_self),
};

/* Making a file, and taking it back. */
static const int making[] = {
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
};

/* Giving a file its name or taking it back, and space of what is open. */
static const int naming[] = {
	SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2),
	SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(fallocate),
};

static const unsigned long requests[] = {
	TCGETS, TIOCGWINSZ, BLKGETSIZE64, BLKSSZGET, BLKROGET, FS_IOC_GETFLAGS,
};

static const int descriptor_commands[] = {
	F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_GETLK, F_OFD_GETLK, F_OFD_SETLK,
};

/* Flags without which an opened file can only be read, and none is made or cut. */
#define FLAGS_WRITING (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND)

/* What glibc answers if the kernel is too old for these: it takes the call before them. */
static const int newer[] = {SCMP_SYS(clone3), SCMP_SYS(openat2)};

static int allow_all(scmp_filter_ctx filter, const int *calls, size_t count)
{
	int failed = 0;

	for (size_t i = 0; i < count; i++)
		failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return failed;
}

static int allow_some(scmp_filter_ctx filter)
{
	const uint64_t running = PROT_EXEC;
	int failed = 0;

	for (size_t i = 0; i < COUNT(requests); i++)
		failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
					   SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, requests[i]));
	for (size_t i = 0; i < COUNT(descriptor_commands); i++)
		failed |= seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint64_t)descriptor_commands[i]));
	/* Threads, no processes; no code that was not there before. */
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				   SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				   SCMP_A2(SCMP_CMP_MASKED_EQ, running, 0));
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				   SCMP_A2(SCMP_CMP_MASKED_EQ, running, 0));
	/* With a server that is connected already: no addresses. */
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sendto), 1,
				   SCMP_A4(SCMP_CMP_MASKED_EQ, UINT64_MAX, 0));
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(recvfrom), 1,
				   SCMP_A4(SCMP_CMP_MASKED_EQ, UINT64_MAX, 0));
	/* Limits are asked for, not set. */
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2,
				   SCMP_A0(SCMP_CMP_MASKED_EQ, UINT64_MAX, 0),
				   SCMP_A2(SCMP_CMP_MASKED_EQ, UINT64_MAX, 0));
	for (size_t i = 0; i < COUNT(newer); i++)
		failed |= seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), newer[i], 0);
	return failed;
}

static int allow_reading(scmp_filter_ctx filter)
{
	int failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
				      SCMP_A1(SCMP_CMP_MASKED_EQ, FLAGS_WRITING, O_RDONLY));

	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				   SCMP_A2(SCMP_CMP_MASKED_EQ, FLAGS_WRITING, O_RDONLY));
	/* What will seal the process later. */
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				   SCMP_A0(SCMP_CMP_MASKED_EQ, UINT64_MAX, PR_SET_NO_NEW_PRIVS));
	failed |= seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				   SCMP_A0(SCMP_CMP_MASKED_EQ, UINT64_MAX, PR_SET_SECCOMP));
	return failed | allow_all(filter, lessening, COUNT(lessening));
}

static int allow_naming(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, FICLONERANGE)) |
	       allow_all(filter, naming, COUNT(naming));
}

static bool print(scmp_filter_ctx filter, const char *name)
{
	int file = memfd_create(name, MFD_CLOEXEC);
	struct sock_filter line;
	bool done =
		file >= 0 && seccomp_export_bpf(filter, file) == 0 && lseek(file, 0, SEEK_SET) == 0;

	printf("\nstatic const struct sock_filter %s[] = {\n", name);
	while (done && read(file, &line, sizeof(line)) == sizeof(line))
		printf("\t{0x%04x, %u, %u, 0x%08x},\n", (unsigned)line.code, (unsigned)line.jt,
		       (unsigned)line.jf, (unsigned)line.k);
	printf("};\n");
	if (file >= 0)
		close(file);
	return done;
}

enum kind { SEALED, READING, WRITING, NAMING, READING_NAMING };

static bool make(const char *name, uint32_t machine, enum kind kind)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	bool done;

	if (!filter)
		return false;
	done = seccomp_arch_exist(filter, machine) == 0 || seccomp_arch_add(filter, machine) == 0;
	if (machine != seccomp_arch_native())
		done = done && seccomp_arch_remove(filter, SCMP_ARCH_NATIVE) == 0;
	/* A sorted tree instead of a list: a few comparisons a call. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	done = done && allow_all(filter, always, COUNT(always)) == 0 && allow_some(filter) == 0 &&
	       (kind == SEALED || kind == NAMING || allow_reading(filter) == 0) &&
	       ((kind != NAMING && kind != READING_NAMING) || allow_naming(filter) == 0) &&
	       (kind != WRITING || allow_all(filter, making, COUNT(making)) == 0) &&
	       print(filter, name);
	seccomp_release(filter);
	return done;
}

int main(int argc, char **argv)
{
	uint32_t machine = argc == 2 ? seccomp_arch_resolve_name(argv[1]) : 0;

	if (machine == 0) {
		fprintf(stderr, "usage: sandbox_filter CPU\n");
		return 1;
	}
	printf("/* Made by scripts/sandbox_filter.c for %s. */\n#include <linux/filter.h>\n",
	       argv[1]);
	if (make("filter_sealed", machine, SEALED) && make("filter_reading", machine, READING) &&
	    make("filter_writing", machine, WRITING) && make("filter_naming", machine, NAMING) &&
	    make("filter_reading_naming", machine, READING_NAMING))
		return fflush(stdout) ? 1 : 0;
	fprintf(stderr, "sandbox_filter: libseccomp could not make a filter for %s\n", argv[1]);
	return 1;
}
