/* SPDX-License-Identifier: MIT */
/*
 * Loaded before libc: an image that has taken the process over. At each read of the image it tries to
 * get out: to read the file ESCAPE_READ, to write the file ESCAPE_WRITE, to connect to the port
 * ESCAPE_PORT and to the socket ESCAPE_SOCKET, to start the program ESCAPE_RUN, to make a process, to
 * make memory executable, and to send its parent a signal. Each time the letters of what it could do
 * go to the file descriptor ESCAPE_REPORT, and a line feed.
 *
 * NO_FILTER and NO_LANDLOCK make a kernel that has none, NO_PRIVILEGES one that knows no way to give
 * up new privileges.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES_MOST 100

static long (*real_syscall)(long, ...);

static int can_open(const char *path, int flags)
{
	int fd = path ? (int)real_syscall(SYS_openat, AT_FDCWD, path, flags, 0600) : -1;

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int can_connect(int family, const void *address, socklen_t size)
{
	int fd = socket(family, SOCK_STREAM, 0);
	int done = fd >= 0 && connect(fd, address, size) == 0;

	if (fd >= 0)
		close(fd);
	return done;
}

static int can_reach_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};

	address.sin_port = htons((unsigned short)atoi(getenv("ESCAPE_PORT")));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return can_connect(AF_INET, &address, sizeof(address));
}

static int can_reach_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strncpy(address.sun_path, getenv("ESCAPE_SOCKET"), sizeof(address.sun_path) - 1);
	return can_connect(AF_UNIX, &address, sizeof(address));
}

/* Where no child can be made but programs can be started, this process becomes the program. */
static int can_run(void)
{
	char *words[] = {getenv("ESCAPE_RUN"), NULL}, *none[] = {NULL};
	int child = vfork(), status;

	if (child < 0) {
		execve(words[0], words, none);
		return 0;
	}
	if (child == 0) {
		execve(words[0], words, none);
		_exit(111);
	}
	return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int can_fork(void)
{
	long child = real_syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);

	if (child == 0)
		_exit(0);
	if (child > 0)
		(void)waitpid((pid_t)child, NULL, 0);
	return child > 0;
}

static int can_make_code(void)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code != MAP_FAILED)
		munmap(code, 4096);
	return code != MAP_FAILED;
}

static void try_all(void)
{
	char could[16] = "";
	size_t size = 0;

	if (can_open(getenv("ESCAPE_READ"), O_RDONLY))
		could[size++] = 'r';
	if (can_open(getenv("ESCAPE_WRITE"), O_WRONLY | O_CREAT))
		could[size++] = 'w';
	if (can_reach_port())
		could[size++] = 'p';
	if (can_reach_socket())
		could[size++] = 's';
	if (can_run())
		could[size++] = 'x';
	if (can_fork())
		could[size++] = 'f';
	if (can_make_code())
		could[size++] = 'c';
	if (kill(getppid(), 0) == 0)
		could[size++] = 'k';
	could[size++] = '\n';
	(void)!write(atoi(getenv("ESCAPE_REPORT")), could, size);
}

long syscall(long number, ...)
{
	va_list arguments;
	long a, b, c, d;

	if (!real_syscall)
		real_syscall = dlsym(RTLD_NEXT, "syscall");
	va_start(arguments, number);
	a = va_arg(arguments, long);
	b = va_arg(arguments, long);
	c = va_arg(arguments, long);
	d = va_arg(arguments, long);
	va_end(arguments);
	if (number >= 444 && number <= 446 && getenv("NO_LANDLOCK")) {
		errno = ENOSYS;
		return -1;
	}
	return real_syscall(number, a, b, c, d);
}

int prctl(int option, ...)
{
	va_list arguments;
	long a, b, c, d;

	va_start(arguments, option);
	a = va_arg(arguments, long);
	b = va_arg(arguments, long);
	c = va_arg(arguments, long);
	d = va_arg(arguments, long);
	va_end(arguments);
	if (!real_syscall)
		real_syscall = dlsym(RTLD_NEXT, "syscall");
	if ((option == PR_SET_SECCOMP && getenv("NO_FILTER")) ||
	    (option == PR_SET_NO_NEW_PRIVS && getenv("NO_PRIVILEGES"))) {
		errno = EINVAL;
		return -1;
	}
	return (int)real_syscall(SYS_prctl, (long)option, a, b, c, d);
}

ssize_t pread64(int fd, void *buffer, size_t size, off64_t offset)
{
	static int tries;

	if (!real_syscall)
		real_syscall = dlsym(RTLD_NEXT, "syscall");
	if (tries++ < TRIES_MOST)
		try_all();
	return real_syscall(SYS_pread64, fd, buffer, size, offset);
}
