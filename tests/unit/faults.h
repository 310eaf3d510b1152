/* SPDX-License-Identifier: MIT */
/*
 * Makes allocations and reads fail on demand. Include it in exactly one file of a test program
 * whose name ends in _faults.c: those are linked with --wrap for malloc, calloc, realloc and pread.
 */
#ifndef TESTS_UNIT_FAULTS_H
#define TESTS_UNIT_FAULTS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
ssize_t __real_pread64(int fd, void *buffer, size_t size, off_t offset);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset);

/* The allocation that fails, counted from 1 since it was set; 0 for none. */
static unsigned long faults_fail_allocation;
/* Allocations asked for since the program began or since a test set it to 0. */
static unsigned long faults_allocations;
/* Called instead of pread() if not NULL. */
static ssize_t (*faults_pread)(int fd, void *buffer, size_t size, off_t offset);

/* Counts one allocation; true if it is the one to fail. */
static bool faults_allocation_fails(void)
{
	faults_allocations++;
	if (faults_fail_allocation == 0 || --faults_fail_allocation > 0)
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return faults_allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return faults_allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	return faults_allocation_fails() ? NULL : __real_realloc(memory, size);
}

/* With 64-bit file offsets, glibc's pread() is this symbol. */
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset)
{
	return faults_pread ? faults_pread(fd, buffer, size, offset)
			    : __real_pread64(fd, buffer, size, offset);
}

#endif
